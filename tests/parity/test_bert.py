"""BERT against transformers: outputs and every gradient in float64, and folders both ways."""

import numpy as np
import pytest

from npgpt.gradients.suite import shake
from npgpt.hub.architectures.bert import BERT
from npgpt.models import (
    Bert,
    BertConfig,
    BertForClassification,
    BertForTokenClassification,
)

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CONFIG = BertConfig(23, 16, n_layers=3, n_heads=4, d_model=16, d_ff=40)
RNG = np.random.default_rng(0)
LENGTHS = np.array([9, 4, 1, 7])
IDS = np.where(np.arange(9) < LENGTHS[:, None], RNG.integers(1, 23, (4, 9)), 0)
SEGMENTS = np.where(IDS > 0, RNG.integers(0, 2, (4, 9)), 0)
TARGETS = np.where((RNG.random((4, 9)) < 0.4) & (IDS > 0), RNG.integers(0, 23, (4, 9)), -100)
TARGETS[2, 0] = 5
LABELS = np.array([2, 0, 1, 2])
TOKEN_LABELS = np.where(TARGETS < 0, -100, TARGETS % 3)
THERE = IDS > 0


def shaken(model, seed=3):
    shake(model, np.random.default_rng(seed))
    return model.eval()


def theirs_of(folder, name):
    """Open a folder with a class of transformers, in float64, with attention as it is written."""
    return (
        getattr(transformers, name)
        .from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
        .eval()
    )


def call(theirs, **labels):
    return theirs(
        input_ids=torch.tensor(IDS),
        attention_mask=torch.tensor(THERE.astype(int)),
        token_type_ids=torch.tensor(SEGMENTS),
        **{name: torch.tensor(array) for name, array in labels.items()},
    )


def compare_gradients(model, theirs, **more):
    """Hold every gradient against theirs, under the names that `BERT` gives them."""
    grads = {name: p.grad.numpy() for name, p in theirs.named_parameters() if p.grad is not None}
    body = getattr(model, "body", model)
    weights = {w.ours: w for w in BERT().weights({**body.config.to_dict(), **more})}
    compared = set()
    for name, parameter in model.named_parameters():
        for key, part in weights[name].parts(parameter.grad):
            np.testing.assert_allclose(part, grads[key], rtol=0, atol=1e-10, err_msg=name)
            compared.add(key)
    assert compared == grads.keys()


@pytest.mark.parametrize("changes", [{}, {"tie_embeddings": False, "activation": "relu"}])
def test_masked_words(tmp_path, changes):
    model = shaken(Bert(BertConfig(**{**CONFIG.to_dict(), **changes}), seed=1, dtype=np.float64))
    model.save_pretrained(tmp_path / "m")
    theirs = theirs_of(tmp_path / "m", "BertForMaskedLM")
    out = call(theirs, labels=TARGETS)
    out.loss.backward()
    logits = model.forward(IDS, SEGMENTS, LENGTHS)
    np.testing.assert_allclose(logits[THERE], out.logits.detach().numpy()[THERE], atol=1e-10)
    loss = model.loss_and_backward(IDS, TARGETS, SEGMENTS, LENGTHS)
    assert loss == pytest.approx(out.loss.item(), abs=1e-10)
    compare_gradients(model, theirs)


def test_classes_of_texts(tmp_path):
    body = Bert(CONFIG, seed=1, dtype=np.float64)
    model = shaken(BertForClassification(body, 3, seed=2))
    model.save_pretrained(tmp_path / "m")
    theirs = theirs_of(tmp_path / "m", "BertForSequenceClassification")
    out = call(theirs, labels=LABELS)
    out.loss.backward()
    logits = model.forward(IDS, LENGTHS, SEGMENTS)
    np.testing.assert_allclose(logits, out.logits.detach().numpy(), atol=1e-10)
    loss = model.loss_and_backward(IDS, LENGTHS, LABELS, SEGMENTS)
    assert loss == pytest.approx(out.loss.item(), abs=1e-10)
    compare_gradients(model, theirs, num_classes=3, of_tokens=False)


def test_classes_of_tokens(tmp_path):
    body = Bert(CONFIG, seed=1, dtype=np.float64)
    model = shaken(BertForTokenClassification(body, 3, seed=2))
    model.save_pretrained(tmp_path / "m")
    theirs = theirs_of(tmp_path / "m", "BertForTokenClassification")
    out = call(theirs, labels=TOKEN_LABELS)
    out.loss.backward()
    loss = model.loss_and_backward(IDS, LENGTHS, TOKEN_LABELS, SEGMENTS)
    assert loss == pytest.approx(out.loss.item(), abs=1e-10)
    compare_gradients(model, theirs, num_classes=3, of_tokens=True)


def their_model(name, **changes):
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=23, hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=24, max_position_embeddings=16, hidden_act="gelu_new", **changes,
    )  # fmt: skip
    model = getattr(transformers, name)(config).double().eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize(
    "name", ["BertModel", "BertForPreTraining", "BertForNextSentencePrediction"]
)
def test_their_folders_are_read(tmp_path, name, recwarn):
    theirs = their_model(name)
    theirs.save_pretrained(tmp_path / "m")
    model = Bert.from_pretrained(tmp_path / "m", np.float64)
    assert not [w for w in recwarn if "though its config" in str(w.message)]
    out = call(theirs)
    if name == "BertModel":
        x = model.hidden_states(IDS, SEGMENTS, LENGTHS)
        expected = out.last_hidden_state.detach().numpy()
        np.testing.assert_allclose(x[THERE], expected[THERE], atol=1e-10)
        pooled = model.pooler.forward(x)
        np.testing.assert_allclose(pooled, out.pooler_output.detach().numpy(), atol=1e-10)
        return
    following = out.seq_relationship_logits if name == "BertForPreTraining" else out.logits
    np.testing.assert_allclose(
        model.next_sentence_logits(IDS, SEGMENTS, LENGTHS), following.detach().numpy(), atol=1e-10
    )
    if name == "BertForPreTraining":
        logits, expected = model.forward(IDS, SEGMENTS, LENGTHS), out.prediction_logits
        np.testing.assert_allclose(logits[THERE], expected.detach().numpy()[THERE], atol=1e-10)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("BertForSequenceClassification", BertForClassification),
        ("BertForTokenClassification", BertForTokenClassification),
    ],
)
def test_their_classifiers_are_read(tmp_path, name, made):
    theirs = their_model(name, num_labels=5)
    theirs.save_pretrained(tmp_path / "m")
    model = made.from_pretrained(tmp_path / "m", np.float64)
    assert model.num_classes == 5
    logits = model.forward(IDS, LENGTHS, SEGMENTS)
    expected = call(theirs).logits.detach().numpy()
    rows = THERE if logits.ndim == 3 else slice(None)
    np.testing.assert_allclose(logits[rows], expected[rows], atol=1e-10)
    body = Bert.from_pretrained(tmp_path / "m", np.float64)  # without the classifier
    assert (body.head, body.next_sentence_head) == (None, None)
