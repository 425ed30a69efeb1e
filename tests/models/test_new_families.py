"""Families that are no GPT: public parts, the trainer, the gradient check and generation do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npgpt
from npgpt import ops
from npgpt.data import DataLoader
from npgpt.gradients import gradcheck
from npgpt.optim import AdamW
from tests.models.toys import Recurrent, RecurrentConfig, Translator, TranslatorConfig
from tests.mutations import mutated

VOCAB, LONGEST = 13, 7


def translator(seed=0, dtype=np.float32, **choices):
    shape = {"n_layers": 2, "n_heads": 2, "d_model": 8, "layer_norm_eps": 1e-2}
    config = TranslatorConfig(VOCAB, LONGEST, **{**shape, **choices})
    return Translator(config, seed=seed, dtype=dtype)


def recurrent(seed=0, dtype=np.float32):
    return Recurrent(RecurrentConfig(VOCAB, LONGEST), seed=seed, dtype=dtype)


class Reversals:
    """Sources of several lengths, and the task of writing them backwards."""

    def __len__(self):
        return 24

    def batch(self, indices):
        rng = np.random.default_rng(list(indices))
        lengths = rng.integers(2, LONGEST + 1, len(indices))
        sources = rng.integers(2, VOCAB, (len(indices), LONGEST))
        targets = np.full_like(sources, -100)
        for row, length in enumerate(lengths):
            targets[row, :length] = sources[row, :length][::-1]
        token_ids = np.concatenate([np.ones((len(indices), 1), int), targets[:, :-1]], axis=1)
        return sources, lengths, np.where(token_ids < 0, 0, token_ids), targets


class Counting:
    """Texts that count up from anywhere."""

    def __len__(self):
        return 24

    def batch(self, indices):
        token_ids = (np.asarray(indices)[:, None] + np.arange(LONGEST + 1)) % VOCAB
        return token_ids[:, :-1], token_ids[:, 1:]


FAMILIES = {"translator": (translator, Reversals()), "recurrent": (recurrent, Counting())}
families = pytest.mark.parametrize("name", FAMILIES)


@pytest.mark.parametrize("method", ["central", "complex"])
@families
def test_every_gradient_is_the_derivative_of_the_loss(name, method, backend):
    make, data = FAMILIES[name]
    gradcheck(make(), *data.batch([0, 1, 2]), method=method, max_coordinates=12).raise_if_failed()


@settings(max_examples=12)
@given(
    st.sampled_from(["pre", "post"]),
    st.sampled_from(["learned", "sinusoidal", "t5", "alibi", "rope", "none"]),
    st.sampled_from(["layer", "rms"]),
    st.sampled_from([None, 3]),
    st.sampled_from([0.0, 0.3]),
    st.integers(0, 99),
)
@pytest.mark.slow
def test_a_translator_of_any_choices_has_the_right_gradients(
    norm_position, position, norm, window, dropout, seed
):
    model = translator(
        seed, norm_position=norm_position, position=position, norm=norm, window=window,
        dropout=dropout, n_kv_heads=1, relative_attention_num_buckets=4,
        relative_attention_max_distance=6, d_model=12, n_heads=3,
    )  # fmt: skip
    batch = Reversals().batch([seed, seed + 1])
    gradcheck(model, *batch, method="complex", max_coordinates=3).raise_if_failed()


def test_what_is_padded_has_no_influence(backend):
    model = translator(dtype=np.float64)
    sources, lengths, token_ids, targets = Reversals().batch([0, 1, 2])
    assert lengths.min() < LONGEST
    changed = np.where(np.arange(LONGEST) < lengths[:, None], sources, 0)
    assert (changed != sources).any()
    losses = [model.loss(s, lengths, token_ids, targets) for s in (sources, changed)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        (Translator.backward, "self.encoder.backward(dmemory)", "self.encoder.backward(0 * dmemory)"),
        (Recurrent.backward, "dstates[:, t] + dh", "dstates[:, t]"),
        (Recurrent.hidden_states, "with self.linear.unrolled(), self.tanh.unrolled()", "if True"),
        (npgpt.layers.Stack.backward, "dmemory + dpart", "dpart"),
    ],
    ids=["no way to the encoder", "no way through time", "not unrolled", "one block's memory"],
)  # fmt: skip
def test_a_backward_without_one_of_its_ways_is_noticed(function, old, new):
    make, data = FAMILIES["recurrent" if function.__qualname__.startswith("Rec") else "translator"]
    with mutated(function, old, new):
        report = gradcheck(make(), *data.batch([0, 1, 2]), method="complex", max_coordinates=3)
        assert not report.passed


def trainer(name, folder, steps):
    make, data = FAMILIES[name]
    folder.mkdir(exist_ok=True)
    model = make(dropout=0.2) if name == "translator" else make()
    loader = DataLoader(data, 4, shuffle=True, seed=1)
    return npgpt.Trainer(
        model, loader, [data.batch([100, 101])], steps=steps, eval_every=5, folder=folder,
        optimizer=AdamW(model.parameters(), lr=1e-2), schedule=lambda step: 1e-2,
    )  # fmt: skip


@families
def test_a_run_that_stopped_goes_on_bit_for_bit(name, tmp_path):
    whole = trainer(name, tmp_path / "whole", 20)
    whole.fit()
    assert whole.history[-1].loss < whole.history[0].loss
    ends = []
    for again in ("first", "second"):
        part = trainer(name, tmp_path / again, 10)
        part.fit()
        rest = trainer(name, tmp_path / again, 20)
        rest.resume()
        rest.fit()
        ends.append((tmp_path / again / "last.safetensors").read_bytes())
        for ours, theirs in zip(
            rest.model.state_dict().values(), whole.model.state_dict().values(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    assert ends[0] == ends[1] == (tmp_path / "whole" / "last.safetensors").read_bytes()


def test_a_model_without_dropout_has_a_dropout_step_too():
    assert recurrent().dropout_step == 0


@pytest.mark.parametrize("lengths", [[3, 3], [2, 5]])
def test_a_recurrent_model_generates_step_by_step_what_it_does_from_the_whole(lengths, backend):
    model = recurrent(seed=3, dtype=np.float64)
    prompts = [np.arange(length) % VOCAB for length in lengths]
    kept = model.generate(prompts, LONGEST - max(lengths), seed=5)
    again = model.generate(prompts, LONGEST - max(lengths), seed=5, use_cache=False)
    for ours, theirs in zip(kept, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_recurrent_model_searches_with_beams_and_scores_texts():
    model = recurrent(seed=3)
    found = [model.beam_search(np.array([1, 2]), 4, use_cache=use) for use in (True, False)]
    np.testing.assert_array_equal(*found)
    assert model.log_likelihood([1, 2], [3]) < 0


def test_parameters_are_named_by_their_stack():
    names = list(translator().state_dict())
    assert "encoder.blocks.1.attention.qkv.weight" in names
    assert "decoder.blocks.0.cross_attention.kv.bias" in names
    assert "decoder.final_norm.gamma" in names
    assert ops.backend() == "compiled"
