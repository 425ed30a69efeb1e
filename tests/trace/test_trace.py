"""A trace: one text through a model and back, as data."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import npgpt
from npgpt.gradients import record
from npgpt.models import MODELS
from npgpt.tokenizers import BPETokenizer, CharTokenizer
from npgpt.trace import trace
from npgpt.trace.array_views import ArrayView, Statistics, downsample
from npgpt.trace.boxes import Views, boxes_of
from npgpt.trace.token_text import TokenText, visible
from tests.models.tiny import CONFIGS, shaken_model
from tests.trace.trace_pages import KINDS

TEXT = "abcabd"
TOKENIZER = CharTokenizer("abcdefghijkl")  # and <|endoftext|>: 13 tokens


@pytest.fixture(scope="module")
def model():
    return shaken_model(CONFIGS["tied"])


@pytest.fixture(scope="module")
def traced(model):
    return trace(model, TOKENIZER, TEXT, steps=8)


def arrays_of(traced):
    """Map dotted names to the arrays of all boxes."""
    return {
        f"{instance.name}.{array.name}".lstrip("."): array
        for box in traced.boxes
        for instance in box.instances
        for array in instance.arrays
    }


# --- numbers ---------------------------------------------------------------------------------


def test_losses_are_those_of_the_model_and_their_mean_is_its_loss(model, traced):
    ids = TOKENIZER.encode(TEXT)
    losses = [prediction.loss for prediction in traced.predictions]
    assert losses[-1] is None
    assert traced.loss == pytest.approx(np.mean(losses[:-1]), rel=1e-12)
    assert traced.loss == pytest.approx(float(model.loss(ids[None, :-1], ids[None, 1:])), rel=1e-12)
    for position, prediction in enumerate(traced.predictions[:-1]):
        logits = model.forward(ids[None])[0, position]
        target = ids[position + 1]
        probabilities = np.exp(logits) / np.exp(logits).sum()
        assert prediction.probability == pytest.approx(probabilities[target], rel=1e-12)
        assert prediction.rank == 1 + sum(probabilities > probabilities[target])
        assert prediction.likeliest[0][0].id == np.argmax(logits)


def test_ids_without_a_token_are_never_expected_next():
    size = TOKENIZER.vocab_size
    model = npgpt.GPT(npgpt.GPTConfig(size + 20, 32, n_layers=1, n_heads=2, d_model=8), seed=0)
    model.token_embedding.weight.value[size:] *= 100
    traced = npgpt.trace.trace(model, TOKENIZER, TEXT, steps=2)
    ids = TOKENIZER.encode(TEXT)
    logits = model.forward(ids[None])[0]
    assert (logits.argmax(axis=-1) >= size).any()
    assert traced.explanation.token.id < size
    for prediction, row, target in zip(traced.predictions, logits, [*ids[1:], None], strict=True):
        shown = [text.id for text, _ in prediction.likeliest]
        assert shown[0] == row[:size].argmax()
        assert max(shown) < size
        if target is not None:
            assert prediction.rank == 1 + sum(row[:size] > row[target])


def model_of(kind):
    if kind == "gpt":
        return shaken_model(CONFIGS["tied"])
    family = MODELS[kind]
    return family(family.Config(TOKENIZER.vocab_size, 4, n_layers=2, d_model=6), dtype=np.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_every_activation_and_gradient_is_the_recorded_one(kind):
    ids, model = TOKENIZER.encode(TEXT), model_of(kind)
    traced = trace(model, TOKENIZER, TEXT, steps=1)
    with record(model) as tape:
        model.zero_grad()
        model.loss(ids[None], np.append(ids[1:], -100)[None])
        model.backward()
    shown = arrays_of(traced)
    expected = {name: (recorded.value[0], recorded.grad[0]) for name, recorded in tape.items()}
    expected |= {p.name: (p.value, p.grad) for p in model.parameters()}
    assert set(expected) == {name for name, array in shown.items() if not array.same_as}
    for name, arrays_ in expected.items():
        for view, array in zip((shown[name].value, shown[name].grad), arrays_, strict=True):
            assert view.shape == array.shape
            # no axis is longer than a heat map: each cell is an entry
            cells = np.stack([m.cells for m in view.maps]).reshape(array.shape)
            finite = np.isfinite(array)
            np.testing.assert_allclose(cells[finite], array[finite], rtol=1e-6)
            assert np.isnan(cells[~finite]).all()


def test_the_tied_head_says_whose_parameter_it_has(traced):
    weight = arrays_of(traced)["head.weight"]
    assert weight.same_as == "token_embedding.weight"
    assert weight.value.maps == ()


def test_attributions_are_those_of_the_attribution_functions(model, traced):
    ids = TOKENIZER.encode(TEXT)
    token = int(np.argmax(model.forward(ids[None])[0, -1]))
    explanation = traced.explanation
    assert (explanation.position, explanation.token.id) == (5, token)
    expected = npgpt.gradients.integrated_gradients(model, ids, token=token, steps=8)
    np.testing.assert_array_equal(explanation.integrated_gradients.values, expected.values)
    assert explanation.parts.logit == pytest.approx(explanation.integrated_gradients.logit)
    other = trace(model, TOKENIZER, TEXT, position=2, token=4, steps=2).explanation
    assert (other.position, other.token.shown) == (2, "e")


def test_integrated_gradients_are_the_same_in_batches_of_any_size(model, monkeypatch):
    ids, calls = TOKENIZER.encode(TEXT), []
    whole = npgpt.gradients.integrated_gradients(model, ids, steps=7)
    monkeypatch.setattr("npgpt.gradients.attribution.BATCH_BYTES", 1500)
    parts = npgpt.gradients.integrated_gradients(
        model, ids, steps=7, on_points=lambda *n: calls.append(n)
    )
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-13)
    assert parts.gap == pytest.approx(whole.gap, abs=1e-12)
    assert len(calls) > 2
    assert calls[-1] == (9, 9)


def test_a_trace_leaves_the_model_as_it_was():
    model = shaken_model(CONFIGS["tied"]).train()
    ids = TOKENIZER.encode(TEXT)[None]
    model.loss(ids, ids)
    model.backward()
    before = [(p.value.copy(), p.grad.copy()) for p in model.parameters()]
    trace(model, TOKENIZER, TEXT, steps=1)
    assert model.training
    assert model.listener is None
    for parameter, (value, grad) in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)
        np.testing.assert_array_equal(parameter.grad, grad)


def test_deep_models_carry_heat_maps_of_three_layers_unless_told_otherwise():
    config = dataclasses.replace(CONFIGS["tied"], n_layers=7)
    model = shaken_model(config)
    for asked, expected in ((None, (0, 3, 6)), ([5, 1, 5], (1, 5)), ([], ())):
        traced = trace(model, TOKENIZER, TEXT, layers=asked, steps=1)
        assert traced.layers == expected
        with_maps = {
            instance.block
            for box in traced.boxes
            for instance in box.instances
            for array in instance.arrays
            if array.value.maps
        }
        assert with_maps == {None, *expected}


def test_a_diverged_model_is_shown_too():
    model = shaken_model(CONFIGS["tied"])
    model.blocks[1].feed_forward.down.weight.value[0, 0] = np.nan
    views = Views(model, set(model.tap_names()))
    ids = TOKENIZER.encode(TEXT)[None]
    with views, np.errstate(invalid="ignore"):
        model.loss(ids, ids)
    output = views.values["blocks.1.feed_forward.output"]
    assert output.statistics.wrong == len(TEXT)
    assert np.isnan(output.maps[0].cells[:, 0]).all()
    assert boxes_of(model, views)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": ""}, "the text is empty"),
        ({"text": "a"}, "'a' is a single token, so there is nothing to predict"),
        ({"text": "abcabcabc"}, "the text has 9 tokens, but the model's context is 8"),
        ({"text": "abz"}, "'z' at position 2 is not in the vocabulary"),
        ({"layers": [2]}, "there is no layer 2; they are 0 to 1"),
        ({"layers": [-1]}, "there is no layer -1"),
        ({"position": 6}, "position 6 is outside 0 to 5"),
        ({"token": 13}, "token 13 is outside 0 to 12"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"tokenizer": CharTokenizer("abcdefghijklm")}, "the tokenizer has 14 tokens, more than the model's 13"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        trace(model, **{"tokenizer": TOKENIZER, "text": TEXT, **arguments})


# --- smaller pictures ------------------------------------------------------------------------


@given(
    arrays(
        np.float64, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.floats(-9, 9)
    ),
    st.integers(1, 6),
    st.integers(1, 6),
)
def test_a_cell_is_the_entry_of_largest_magnitude_of_its_block(array, max_rows, max_columns):
    cells = downsample(array, max_rows, max_columns)
    assert cells.shape == (min(array.shape[0], max_rows), min(array.shape[1], max_columns))
    rows, columns = (
        [len(part) for part in np.array_split(np.arange(n), m)]
        for n, m in zip(array.shape, cells.shape, strict=True)
    )
    assert max(rows) - min(rows) <= 1 >= max(columns) - min(columns)
    view = ArrayView.of(array)
    assert view.maps[0].cells.shape == array.shape
    starts = [np.arange(m) * n // m for n, m in zip(array.shape, cells.shape, strict=True)]
    for i, top in enumerate(starts[0]):
        for j, left in enumerate(starts[1]):
            bottom = starts[0][i + 1] if i + 1 < len(starts[0]) else array.shape[0]
            right = starts[1][j + 1] if j + 1 < len(starts[1]) else array.shape[1]
            block = array[top:bottom, left:right].astype(np.float32)
            assert abs(cells[i, j]) == np.abs(block).max()
            assert cells[i, j] in block


def test_statistics_are_of_the_finite_entries_and_count_the_others():
    statistics = Statistics.of(np.array([3.0, -4.0, 0.0, -np.inf, np.nan, np.inf]))
    assert statistics.rms == pytest.approx(np.sqrt(25 / 3))
    assert (statistics.smallest, statistics.largest) == (-4.0, 3.0)
    assert (statistics.zeros, statistics.masked, statistics.wrong) == (1 / 6, 1, 2)
    assert np.isnan(Statistics.of(np.array([np.nan])).rms)


def test_heads_of_an_array_share_a_scale():
    view = ArrayView.of(np.stack([np.ones((3, 4)), 5 * np.ones((3, 4))]))
    assert [m.scale for m in view.maps] == [5.0, 5.0]


# --- tokens ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" a", "␣a"), ("\n\t\r\0\x7f", r"↵⇥\x0d\x00\x7f"), ("\u202egpj", "U+202Egpj"), ("\u200d", "U+200D"),
        ("\ud800", "U+D800"), ("\u0301", "◌\u0301"), ("🙂", "🙂"), ("<b>&\"'", "<b>&\"'"), ("", "∅"),
        ("\u2028\u00a0\ufeff", "U+2028U+00A0U+FEFF"),
    ],
)  # fmt: skip
def test_a_token_is_shown_with_signs_for_what_cannot_be_seen(text, shown):
    assert visible(text) == shown


@given(st.text())
def test_whatever_is_shown_can_be_printed_and_written(text):
    shown = visible(text)
    shown.encode("utf-8")
    assert shown.removeprefix("◌").isprintable()


def test_bytes_that_are_part_of_a_character_are_shown_as_bytes():
    tokenizer = BPETokenizer([])
    tokens = [TokenText.of(tokenizer, i) for i in tokenizer.encode("🙂a")]
    assert [token.shown for token in tokens] == [r"\xf0", r"\x9f", r"\x99", r"\x82", "a"]
    assert tokens[0].exact == r"b'\xf0'"
    assert TokenText.of(tokenizer, 300).shown == "#300"
    assert TokenText.of(tokenizer, tokenizer.end_of_text_id).shown == "<|endoftext|>"
