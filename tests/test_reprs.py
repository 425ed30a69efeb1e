"""What an interpreter shows: kinds and sizes, never whole arrays."""

import dataclasses
import importlib
import pkgutil
import re

import numpy as np
import pytest
from hypothesis import given

import npgpt
from npgpt import layers, testing
from npgpt.gradients import (
    Hessian,
    gradient_moments,
    gradient_times_input,
    integrated_gradients,
    per_example_gradient_norms,
    record,
)
from npgpt.html_table import heat_map
from npgpt.layers import BlockConfig
from tests.models.tiny import CONFIGS, shaken_model
from tests.trace.trace_pages import Page

IDS = np.array([[1, 2, 3, 4]])
GPT_SHOWN = """\
GPT(
  1,928 parameters, float64
  (token_embedding): Embedding(vocab_size=13, d_model=8)
  (position_embedding): PositionEmbedding(context_length=8, d_model=8)
  (embedding_dropout): Dropout()
  (blocks): 2 x TransformerBlock(
"""


def model():
    return shaken_model(CONFIGS["tied"])


def test_a_gpt_shows_its_parts_their_sizes_and_how_many_parameters_there_are():
    shown = repr(model())
    assert shown.startswith(GPT_SHOWN)
    assert "      (up): Linear(d_in=8, d_out=32)\n" in shown
    assert shown.endswith("\n)")


@pytest.mark.parametrize(
    ("layer", "shown"),
    [
        (layers.Linear(3, 2), "Linear(d_in=3, d_out=2)"),
        (layers.Linear(3, 2, bias=False), "Linear(d_in=3, d_out=2, bias=False)"),
        (layers.LayerNorm(5, eps=1e-6), "LayerNorm(d_model=5, eps=1e-06)"),
        (layers.Dropout(0.1, seed=3), "Dropout(p=0.1)"),
        (layers.GELU(), "GELU(approximate='tanh')"),
        (layers.ReLU(), "ReLU()"),
        (layers.RotaryEmbedding(4), "RotaryEmbedding(head_size=4)"),
    ],
)
def test_a_layer_shows_the_numbers_that_it_was_made_with(layer, shown):
    assert repr(layer) == shown


def test_an_attention_shows_what_it_took_from_its_config():
    shown = repr(layers.MultiHeadAttention(BlockConfig(1, 4, 8, n_kv_heads=2, window=3)))
    assert "d_model=8, head_size=2, n_heads=4, n_kv_heads=2, causal=True, window=3" in shown


@given(testing.layers())
def test_every_layer_shows_its_kind_and_no_array(drawn):
    layer, inputs = drawn
    layer.forward(*inputs)
    shown = repr(layer)
    assert shown.startswith(f"{type(layer).__name__}(")
    assert "array" not in shown
    assert "object at" not in shown
    cells = [cell.text for cell in Page(layer._repr_html_()).all("td")]
    assert cells[1] == type(layer).__name__
    assert cells[3] == f"{layer.num_parameters():,}"


TOKENIZERS = {
    "CharTokenizer": npgpt.tokenizers.CharTokenizer,
    "WordTokenizer": npgpt.tokenizers.WordTokenizer,
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_shows_its_kind_and_size_and_escapes_its_tokens(name):
    tokenizer = TOKENIZERS[name].train("<b>bold</b> & <script> text")
    assert repr(tokenizer).startswith(f"{name}(vocab_size={tokenizer.vocab_size}")
    html = tokenizer._repr_html_()
    assert name in html
    assert "<script" not in html
    assert "<b>" not in html
    bpe = npgpt.tokenizers.BPETokenizer.train("low lower lowest low", 258)
    assert repr(bpe).startswith("BPETokenizer(vocab_size=258")


def recorded():
    shown = model()
    with record(shown) as tape:
        shown.loss(IDS, IDS)
        shown.backward()
    return tape["blocks.0.attention.scores"]


BATCHES = [(IDS, IDS), (IDS[:, ::-1], IDS)]
WITH_ARRAYS = {
    "recorded": recorded,
    "attribution": lambda: gradient_times_input(model(), IDS[0]),
    "integrated": lambda: integrated_gradients(model(), IDS[0], steps=2),
    "norms": lambda: per_example_gradient_norms(model(), IDS, IDS),
    "moments": lambda: gradient_moments(model(), BATCHES),
}


@pytest.mark.parametrize("name", WITH_ARRAYS)
def test_a_dataclass_shows_shapes_and_dtypes_in_the_place_of_its_arrays(name):
    shown = repr(WITH_ARRAYS[name]())
    assert "float" in shown
    assert "array of (" in shown
    assert "array([" not in shown
    assert len(shown) < 1500


def named_tuples():
    for found in pkgutil.walk_packages(npgpt.__path__, "npgpt."):
        if found.name.startswith("npgpt.ops.") or found.name == "npgpt.__main__":
            continue  # those of kernels hold numbers
        for made in vars(importlib.import_module(found.name)).values():
            is_tuple = isinstance(made, type) and issubclass(made, tuple) and made is not tuple
            if is_tuple and made.__module__ == found.name and hasattr(made, "_fields"):
                yield made


@pytest.mark.parametrize(
    "made", list(named_tuples()), ids=lambda made: f"{made.__module__}.{made.__name__}"
)
def test_a_named_tuple_shows_shapes_and_dtypes_in_the_place_of_its_arrays(made):
    kinds = " ".join(map(str, made.__annotations__.values()))
    if not re.search("rray", kinds):
        pytest.skip("it holds no array")
    shown = repr(made(*[np.zeros((40, 50))] * len(made._fields)))
    assert shown.startswith(f"{made.__name__}(")
    assert "array of (40, 50), float64" in shown
    assert "array([" not in shown


def test_what_training_and_generation_are_made_of_shows_what_it_is():
    windows = npgpt.data.TokenWindows(np.arange(900) % 11, 8)
    loader = npgpt.data.DataLoader(windows, 4)
    shown = "TokenWindows(900 tokens, context_length=8, stride=8)"
    assert repr(windows) == shown
    assert repr(loader) == f"DataLoader({shown}, batch_size=4, in order)"
    assert shown in repr(npgpt.data.HeldOutBatches(windows, 4))
    assert repr(npgpt.data.StridedWindows(np.arange(900) % 11, 8)) == (
        "StridedWindows(900 tokens, context_length=8, stride=4, batch_size=1)"
    )
    assert repr(npgpt.Trainer(model(), loader, steps=3)).endswith("in order), 0 of 3 steps)")
    cache = npgpt.layers.KeyValueCache(1, 2, 30, 4, np.float32)
    assert repr(cache) == "KeyValueCache(keys=array of (1, 2, 30, 4), float32, lengths=[0])"


def test_a_hessian_shows_its_size_and_what_it_is_of():
    shown = repr(Hessian(model(), IDS, IDS))
    assert shown == (
        "<Hessian of a GPT's loss on a batch of (1, 4), (1, 4): 1,928 x 1,928, float64>"
    )


# --- notebooks ------------------------------------------------------------------------------------


def test_a_notebook_shows_a_config_with_what_its_fields_mean():
    page = Page(CONFIGS["tied"]._repr_html_())
    text = page.all("table")[0].text
    for field in dataclasses.fields(CONFIGS["tied"]):
        assert field.name in text
    assert "Longest sequence." in text
    assert CONFIGS["tied"]._repr_html_() in model()._repr_html_()


@pytest.mark.parametrize(
    "array",
    [
        np.ones(3), np.zeros((2, 3)), np.full((2, 2, 2), -np.inf), np.array([[np.nan, 1.0]]),
        np.ones((0, 3)), np.array(1.0), np.arange(6).reshape(2, 3), np.ones((2, 500)) * 1j,
    ],
    ids=lambda array: f"{array.shape} {array.dtype}",
)  # fmt: skip
def test_a_heat_map_shows_any_array(array):
    html = heat_map("<b>", array)
    assert "<b>" not in html
    assert str(array.dtype) in html
    assert ("data:image/png;base64," in html) == (array.size > 0)


def test_a_notebook_shows_recorded_arrays_as_pictures():
    html = recorded()._repr_html_()
    assert html.count("data:image/png;base64,") == 2
    assert "activation[0, 0], (1, 2, 4, 4), float64" in html


def test_an_attribution_with_tokens_shows_them_escaped_in_their_colours():
    attribution = gradient_times_input(model(), IDS[0])
    shown = attribution.with_tokens(["<script>", " &", "\n", "cat"])
    html = shown._repr_html_()
    assert "<script" not in html
    spans = Page(html).all("span")
    assert [span.text for span in spans] == ["<script>", " &", "\n", "cat"]
    with pytest.raises(ValueError, match="4 values need as many tokens, got 1"):
        attribution.with_tokens(["a"])
