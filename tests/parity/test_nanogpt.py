"""Checkpoints of nanoGPT, written by a model that is its own and not ours."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the parity tests need the extra 'reference'")
from safetensors.torch import save_file  # noqa: E402

from npgpt import GPT  # noqa: E402
from tests.parity.nanogpt import ARGUMENTS, drawn  # noqa: E402

IDS = np.random.default_rng(0).integers(0, 31, (2, 12))
PREFIXES = ["", "_orig_mod.", "module.", "module._orig_mod.", "model.", "_orig_mod.module.model."]


def written(folder, model, bias=True, prefix="", said=("bias",), tied=True, **more):
    """Write a state dict as one who trained with nanoGPT would."""
    arrays = {prefix + name: array.clone() for name, array in model.state_dict().items()}
    if not tied:  # safetensors' save_model keeps one of two that are the same
        del arrays[prefix + "transformer.wte.weight"]
    save_file(arrays, folder / "model.safetensors")
    config = {**ARGUMENTS, **({"bias": bias} if "bias" in said else {}), **more}
    (folder / "config.json").write_text(json.dumps(config))


def logits_of(model):
    with torch.no_grad():
        return model(torch.from_numpy(IDS)).numpy()


@given(st.integers(0, 9), st.booleans(), st.sampled_from(PREFIXES), st.booleans(), st.booleans())
def test_any_checkpoint_gives_nanogpts_logits(tmp_path_factory, seed, bias, prefix, tied, silent):
    folder = tmp_path_factory.mktemp("nanogpt")
    model = drawn(seed, bias=bias)
    written(folder, model, bias, prefix, () if bias and silent else ("bias",), tied)
    ours = GPT.from_pretrained(folder, np.float64)
    assert ours.config.activation == "gelu_exact"
    assert ours.config.tie_embeddings
    np.testing.assert_allclose(ours.forward(IDS), logits_of(model), rtol=0, atol=1e-10)


def test_the_caller_says_that_a_checkpoint_is_of_before_june_2023(tmp_path):
    model = drawn(approximate="tanh")
    written(tmp_path, model)
    expected = logits_of(model)
    taken_as_later = GPT.from_pretrained(tmp_path, np.float64).forward(IDS)
    assert abs(taken_as_later - expected).max() > 1e-4
    ours = GPT.from_pretrained(tmp_path, np.float64, activation="gelu")
    np.testing.assert_allclose(ours.forward(IDS), expected, rtol=0, atol=1e-10)
    written(tmp_path, model, activation_function="gelu_new")
    ours = GPT.from_pretrained(tmp_path, np.float64)
    np.testing.assert_allclose(ours.forward(IDS), expected, rtol=0, atol=1e-10)


def test_it_goes_on_to_transformers_with_the_same_logits(tmp_path):
    transformers = pytest.importorskip("transformers")
    model = drawn()
    written(tmp_path, model)
    GPT.from_pretrained(tmp_path, np.float64).save_pretrained(tmp_path / "again")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "again", dtype=torch.float64
    )
    np.testing.assert_allclose(logits_of_theirs(theirs), logits_of(model), rtol=0, atol=1e-10)


def logits_of_theirs(model):
    with torch.no_grad():
        return model.eval()(torch.from_numpy(IDS)).logits.numpy()
