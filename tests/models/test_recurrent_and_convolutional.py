"""Language models of recurrent and convolutional layers: reading, writing, training."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npgpt
from npgpt.models import MODELS, ConvolutionalConfig, LSTMConfig, RecurrentLM
from npgpt.optim import AdamW
from tests.strategies import backends, seeds

KINDS = ["rnn", "gru", "lstm", "conv"]
VOCAB, CONTEXT = 13, 6


def make(kind, seed=0, dtype=np.float64, **choices):
    family = MODELS[kind]
    shape = {"n_layers": 2, "d_model": 8, **choices}
    model = family(family.Config(VOCAB, CONTEXT, **shape), seed=seed, dtype=dtype)
    for parameter in model.parameters():
        parameter.value *= 2.0  # away from even chances
    return model.eval()


def ids_of(seed, *shape):
    return np.random.default_rng(seed).integers(0, VOCAB, shape)


@settings(max_examples=12)
@given(st.sampled_from(KINDS), st.lists(st.integers(1, 9), min_size=1, max_size=3), seeds, backends)
def test_step_by_step_gives_what_the_whole_text_gives(kind, lengths, seed, backend):
    """Prompts of several lengths, and more tokens than a context of training has."""
    model = make(kind)
    text = ids_of(seed, len(lengths), 20)
    prompts = [row[:length] for row, length in zip(text, lengths, strict=True)]
    with npgpt.ops.use(backend):
        decoder = model.decoder(20)
        logits = [decoder.start(prompts)]
        for t in range(10):
            tokens = [row[length + t] for row, length in zip(text, lengths, strict=True)]
            logits.append(decoder.step(np.array(tokens)))
        for row, length in enumerate(lengths):
            whole = model.forward(text[row : row + 1, : length + 10])[0, length - 1 :]
            np.testing.assert_allclose([step[row] for step in logits], whole, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_does_not_grow(kind):
    """Whatever has been read: so the next token costs the same."""
    model = make(kind)
    sizes = [
        [array.shape for state in model.new_states(2, capacity) for array in state.arrays]
        for capacity in (10, 10_000)
    ]
    assert sizes[0] == sizes[1]


def test_a_step_of_convolutions_reads_no_more_than_their_kernels(monkeypatch):
    model = make("conv", n_layers=4, kernel=3)
    decoder = model.decoder(10)
    decoder.start([np.arange(9)])
    monkeypatch.setattr(npgpt.layers.CausalConv1d, "forward", None)  # which reads whole windows
    read = []
    last = npgpt.layers.CausalConv1d.forward_last
    monkeypatch.setattr(
        npgpt.layers.CausalConv1d,
        "forward_last",
        lambda conv, x: read.append(x.shape) or last(conv, x),
    )
    decoder.step(np.array([1]))
    assert read == [(1, 3, 8)] * 4


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_of_what_the_head_reads_reaches_generation(kind):
    model = make(kind)
    with model.edit("hidden", forward=np.negative):
        changed, every_time = (
            model.generate([1, 2, 3], 8, temperature=0, use_cache=cache) for cache in (True, False)
        )
    np.testing.assert_array_equal(changed, every_time)
    assert (changed != model.generate([1, 2, 3], 8, temperature=0)).any()


class Halved(npgpt.layers.GatedConv1d):
    """A layer of which nothing but forward and backward is known."""

    def forward(self, x):
        return 0.5 * super().forward(x)

    def backward(self, dy):
        return super().backward(0.5 * dy)


def test_with_a_layer_that_cannot_be_read_in_steps_everything_is_read_again():
    model = make("conv")
    assert model.reads_in_steps
    halved = Halved(8, 8, 4, dtype=np.float64, rng=0)
    model.replace(model.convolutions[1], halved)
    assert not model.reads_in_steps
    whole = model.forward(model.generate([1, 2, 3], 4, temperature=0)[None])
    np.testing.assert_array_equal(
        whole[0, 2:-1].argmax(-1), model.generate([1, 2, 3], 4, temperature=0)[3:]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_beams_are_reordered_with_their_states(kind):
    model = make(kind)
    beams = [model.beam_search([1, 2, 3], 8, 3, use_cache=cache) for cache in (True, False)]
    np.testing.assert_array_equal(*beams)


@pytest.mark.parametrize("kind", KINDS)
def test_generation_outgrows_the_context_of_training_without_a_word(kind, recwarn):
    prompts = [[1, 2, 3], [4]]
    ours = make(kind).generate(prompts, 3 * CONTEXT, seed=1)
    every_time = make(kind).generate(prompts, 3 * CONTEXT, seed=1, use_cache=False)
    for row, other in zip(ours, every_time, strict=True):
        np.testing.assert_array_equal(row, other)
    assert not recwarn.list


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_step_makes_the_gradients_of_loss_and_backward(kind, backend):
    batch = ids_of(0, 3, CONTEXT), ids_of(1, 3, CONTEXT)
    batch[1][0, 2:] = -100
    model, other = make(kind).train(), make(kind).train()
    loss = model.loss(*batch)
    model.backward(0.5)
    assert other.loss_and_backward(*batch, dloss=0.5) == pytest.approx(loss)
    assert other.evaluation_loss(*batch) == pytest.approx(loss)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad, atol=1e-13)
    assert model.num_targets(*batch) == 3 * CONTEXT - (CONTEXT - 2)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_to_count(kind):
    model = make(kind, dtype=np.float32, d_model=16, dropout=0.1).train()
    optimizer = AdamW(model.parameters(), lr=2e-2)
    token_ids = (np.arange(8)[:, None] + np.arange(CONTEXT + 1)) % VOCAB
    for _ in range(80):
        optimizer.zero_grad()
        loss = model.loss_and_backward(token_ids[:, :-1], token_ids[:, 1:])
        optimizer.step()
    assert loss < 0.5
    counted = model.eval().generate([3, 4], 5, temperature=0)
    np.testing.assert_array_equal(counted, np.arange(3, 10))


@pytest.mark.parametrize("kind", KINDS)
def test_no_position_sees_a_later_one(kind, backend):
    model, token_ids = make(kind), ids_of(0, 1, 9)
    before = model.forward(token_ids)
    token_ids[0, 5] = (token_ids[0, 5] + 1) % VOCAB
    after = model.forward(token_ids)
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert (before[:, 5] != after[:, 5]).any()


def test_a_convolutional_model_sees_its_receptive_field():
    model = make("conv", n_layers=2, kernel=2)
    assert model.config.receptive_field == 4
    token_ids = ids_of(0, 1, 9)
    before = model.forward(token_ids)
    token_ids[0, 2] = (token_ids[0, 2] + 1) % VOCAB
    seen = (before != model.forward(token_ids)).any(axis=(0, 2))
    np.testing.assert_array_equal(np.flatnonzero(seen), [2, 3, 4, 5])


def test_embeddings_are_tied_unless_asked_otherwise():
    model, untied = make("lstm"), make("lstm", tie_embeddings=False)
    assert model.head.weight is model.token_embedding.weight
    assert untied.head.weight is not untied.token_embedding.weight
    assert untied.num_parameters() == model.num_parameters() + VOCAB * 8


def test_choices_reach_the_layers():
    model = make("lstm", forget_bias=3.0, dropout=0.25, bias=True)
    np.testing.assert_array_equal(model.network.bias_ih_l1.value[8:16], 6.0)  # twice, by `make`
    assert [layer.p for layer in model.layers() if isinstance(layer, npgpt.layers.Dropout)] == [
        0.25
    ] * 3
    assert make("rnn", nonlinearity="relu").network.nonlinearity == "relu"
    assert make("gru", bias=False).network.bias_ih_l0 is None


@pytest.mark.parametrize("kind", KINDS)
def test_every_choice_of_a_config_survives_json(kind):
    config = MODELS[kind].Config(VOCAB, CONTEXT, n_layers=1, d_model=4, dropout=0.5, bias=False)
    assert type(config).from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (
            lambda: LSTMConfig(5, 4, n_layers=0, d_model=3),
            "n_layers must be a positive integer, got 0",
        ),
        (lambda: LSTMConfig(5, 4, n_layers=1, d_model=3, dropout=1.0), "LSTMConfig: dropout must"),
        (lambda: ConvolutionalConfig(5, 4, n_layers=1, d_model=3, kernel=0), "kernel must be"),
        (lambda: make("rnn", nonlinearity="gelu"), "nonlinearity must be one of tanh, relu"),
        (lambda: make("gru").forward([[99]]), "token id 99 at index"),
        (lambda: make("gru").forward([1, 2]), r"GRULM: token ids must have shape \(batch, time\)"),
    ],
)
def test_what_cannot_be_is_refused(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()


def test_a_config_of_another_family_is_refused():
    config = npgpt.GPTConfig(5, 4, n_layers=1, n_heads=1, d_model=4)
    with pytest.raises(TypeError, match="LSTMLM: expected a LSTMConfig"):
        MODELS["lstm"](config)


def test_the_base_of_the_families_says_which_there_are():
    with pytest.raises(TypeError, match="RNNLM, GRULM and LSTMLM share: make one of these"):
        RecurrentLM(MODELS["gru"].Config(5, 4, n_layers=1, d_model=4))


def test_families_are_recurrent_models_of_their_own_config():
    for kind in KINDS[:3]:
        assert issubclass(MODELS[kind], RecurrentLM)
        assert dataclasses.is_dataclass(MODELS[kind].Config)
