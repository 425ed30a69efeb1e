"""Models of pairs: what padding and batches change (nothing), translation step by step, beams."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npgpt import ops
from npgpt.generation import LENGTH_PENALTIES, Encoded, search_beams
from npgpt.generation.decoders import EveryTime
from npgpt.gradients import per_example_gradient_norms, record
from npgpt.layers import MultiHeadAttention
from npgpt.layers.states import WithMemory
from npgpt.models import MODELS, RNNEncoderDecoder, translators
from npgpt.optim import AdamW
from tests.gradients.test_any_model import single_gradients
from tests.mutations import mutated
from tests.strategies import backends, seeds

VOCAB, START, END = 9, 1, 2
CHOICES = {
    "one vector": ("rnn-encoder-decoder", {"cell": "gru", "reverse_source": True}),
    "both directions": ("rnn-encoder-decoder", {"bidirectional": True, "n_layers": 2}),
    "additive": ("rnn-attention", {"cell": "lstm", "n_layers": 2}),
    "general": ("rnn-attention", {"cell": "gru", "score": "general", "bidirectional": False}),
    "post-norm": ("transformer", {"n_heads": 2}),
    "pre-norm": ("transformer", {"n_heads": 2, "norm_position": "pre", "position": "learned"}),
    "rope": ("transformer", {"n_heads": 3, "position": "rope", "n_kv_heads": 1, "n_layers": 2}),
    "t5": ("transformer", {"n_heads": 1, "position": "t5", "ends_with_norm": True}),
}
names = st.sampled_from(sorted(CHOICES))
every = pytest.mark.parametrize("name", CHOICES)
WITH_ATTENTION = [name for name in CHOICES if name not in ("one vector", "both directions")]


def make(name, seed=0, dtype=np.float64, **more):
    kind, choices = CHOICES[name]
    config = MODELS[kind].Config(VOCAB, 12, **{"n_layers": 1, "d_model": 6, **choices, **more})
    model = MODELS[kind](config, seed=seed, dtype=dtype)
    for parameter in model.parameters():
        parameter.value *= 2.0  # away from even chances
    return model.eval()


def batch_of(seed, batch=3, source=5, time=4):
    rng = np.random.default_rng(seed)
    source_ids = rng.integers(3, VOCAB, (batch, source))
    lengths = rng.integers(1, source + 1, batch)
    targets = rng.integers(2, VOCAB, (batch, time))
    targets[np.arange(time) > rng.integers(0, time, batch)[:, None]] = -100
    target_ids = np.concatenate([np.full((batch, 1), START), np.abs(targets[:, :-1]) % VOCAB], 1)
    return source_ids, lengths, target_ids, targets


def sources_of(seed, lengths):
    rng = np.random.default_rng(seed)
    return [rng.integers(3, VOCAB, length) for length in lengths]


def translate(model, sources, **choices):
    return model.translate(sources, start_id=START, end_id=END, max_new_tokens=6, **choices)


# --- the loss -------------------------------------------------------------------------------------


@settings(max_examples=16)
@given(names, seeds, backends)
def test_what_is_padded_has_no_influence(name, seed, backend):
    """Other ids behind a source's end, behind a target's, and rows filled up further."""
    model, (source_ids, lengths, target_ids, targets) = make(name), batch_of(seed)
    rng = np.random.default_rng(seed)
    other, longer = rng.integers(0, VOCAB, (3, 7)), rng.integers(0, VOCAB, (3, 6))
    there = np.arange(5) < lengths[:, None]
    other[:, :5] = np.where(there, source_ids, other[:, :5])
    longer[:, :4] = np.where(targets == -100, longer[:, :4], target_ids)
    filled = np.full((3, 6), -100)
    filled[:, :4] = targets
    losses, grads = [], []
    with ops.use(backend):
        for batch in (
            (source_ids, lengths, target_ids, targets),
            (other, lengths, longer, filled),
        ):
            model.zero_grad()
            losses.append(model.loss_and_backward(*batch))
            grads.append(np.concatenate([p.grad.ravel() for p in model.parameters()]))
    assert losses[0] == pytest.approx(losses[1], abs=1e-13)
    np.testing.assert_allclose(*grads, atol=1e-13)


@every
def test_a_training_step_makes_the_gradients_of_loss_and_backward(name, backend):
    batch = batch_of(0)
    model, other = (make(name, label_smoothing=0.1, dropout=0.2).train() for _ in range(2))
    loss = model.loss(*batch)
    model.backward(0.5)
    assert other.loss_and_backward(*batch, dloss=0.5) == pytest.approx(loss)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad, atol=1e-13)
    assert model.num_targets(*batch) == (batch[3] != -100).sum()
    assert model.num_tokens(*batch) == batch[1].sum() + (batch[3] != -100).sum()


def test_evaluation_leaves_smoothing_out():
    plain, smoothed = make("post-norm"), make("post-norm", label_smoothing=0.2)
    assert smoothed.evaluation_loss(*batch_of(0)) == pytest.approx(plain.loss(*batch_of(0)))
    assert smoothed.loss(*batch_of(0)) != pytest.approx(plain.loss(*batch_of(0)))


@pytest.mark.parametrize("name", ["additive", "post-norm", "pre-norm"])
def test_norms_of_single_gradients_are_those_of_single_passes(name):
    model, batch = make(name), batch_of(1)
    norms = per_example_gradient_norms(model, *batch)
    rows = single_gradients(model, batch)
    np.testing.assert_allclose(norms.total, np.linalg.norm(rows, axis=1), rtol=1e-9)


def test_no_target_sees_a_later_one_and_all_see_the_source():
    for name in CHOICES:
        model, (source_ids, lengths, target_ids, _) = make(name), batch_of(0)
        before = model.forward(source_ids, lengths, target_ids)
        changed = target_ids.copy()
        changed[:, 2] = (changed[:, 2] + 1) % VOCAB
        after = model.forward(source_ids, lengths, changed)
        np.testing.assert_array_equal(before[:, :2], after[:, :2])
        assert (before[:, 2] != after[:, 2]).any()
        source_ids[:, 0] = (source_ids[:, 0] + 1) % VOCAB
        assert (model.forward(source_ids, lengths, target_ids)[:, 0] != before[:, 0]).any()


def test_shared_tables_get_the_gradients_of_all_uses():
    shared, apart = make("post-norm"), make("post-norm", share_embeddings=False)
    assert shared.source.embedding.weight is shared.target.embedding.weight is shared.head.weight
    assert apart.source.embedding.weight is not apart.target.embedding.weight is apart.head.weight
    with pytest.raises(ValueError, match="share_embeddings=False gives each side its own"):
        make("post-norm", source_vocab_size=20)


# --- step by step ---------------------------------------------------------------------------------


@settings(max_examples=20)
@given(
    names, st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(1, 3), seeds, backends
)
def test_a_batch_translates_as_each_source_alone_and_states_change_nothing(
    name, lengths, num_beams, seed, backend
):
    model, sources = make(name), sources_of(seed, lengths)
    choices = {"num_beams": num_beams, "num_best": num_beams}
    with ops.use(backend):
        together = translate(model, sources, **choices)
        again = translate(model, sources, use_cache=False, **choices)
        alone = [translate(model, source, **choices)[0] for source in sources]
    for others in (again, alone):
        for ours, theirs in zip(together, others, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a.token_ids, b.token_ids)
                assert a.log_p == pytest.approx(b.log_p, abs=1e-10)


def all_targets(length):
    """Every target of up to ``length`` tokens: ended, or cut off there."""
    words = [token for token in range(VOCAB) if token != END]
    for n in range(length):
        for begin in itertools.product(words, repeat=n):
            yield [*begin, END]
    for whole in itertools.product(words, repeat=length):
        yield list(whole)


@pytest.mark.parametrize(("penalty", "power"), [("power", 1.0), ("power", 0.0), ("gnmt", 0.6)])
@pytest.mark.parametrize("name", ["additive", "post-norm"])
def test_with_enough_beams_the_best_of_all_targets_are_found(name, penalty, power):
    """Brute force: the score of every target there is, by one pass over all of them."""
    model, source, most = make(name), np.array([3, 7, 5]), 3
    found = model.translate(
        source, start_id=START, end_id=END, max_new_tokens=most, num_beams=VOCAB**2,
        length_penalty=power, penalty=penalty, num_best=5,
    )[0]  # fmt: skip
    targets = list(all_targets(most))
    rows = np.full((len(targets), most), -100)
    for row, target in zip(rows, targets, strict=True):
        row[: len(target)] = target
    target_ids = np.concatenate([np.full((len(rows), 1), START), np.abs(rows[:, :-1]) % VOCAB], 1)
    logits = model.forward(np.repeat(source[None], len(rows), 0), np.full(len(rows), 3), target_ids)
    log_p = logits - ops.log_sum_exp(logits)
    chosen = np.take_along_axis(log_p, np.maximum(rows, 0)[..., None], axis=-1)[..., 0]
    totals = np.where(rows >= 0, chosen, 0.0).sum(axis=1)
    worth = LENGTH_PENALTIES[penalty](power)
    scores = totals / [worth(len(target)) for target in targets]
    best = np.argsort(-scores)[:5]
    assert [list(one.token_ids) for one in found] == [targets[i] for i in best]
    np.testing.assert_allclose([one.score for one in found], scores[best], atol=1e-12)
    np.testing.assert_allclose([one.log_p for one in found], totals[best], atol=1e-12)


def test_one_beam_is_greedy():
    for name in CHOICES:
        model, source = make(name), np.array([[3, 4, 5]])
        target = [START]
        while len(target) < 7 and target[-1] != END:
            logits = model.forward(source, np.array([3]), np.array([target]))
            target.append(int(logits[0, -1].argmax()))
        ((found,),) = translate(model, source)
        np.testing.assert_array_equal(found.token_ids, target[1:])


def test_suppressed_tokens_are_never_written():
    ((found,),) = translate(make("additive"), [3, 4], suppressed=[END, 5])
    assert len(found.token_ids) == 6
    assert not {END, 5} & set(found.token_ids.tolist())


@pytest.mark.parametrize("name", WITH_ATTENTION)
def test_alignments_are_the_weights_of_the_decoders_attention(name):
    model, sources = make(name), sources_of(0, [4, 2])
    for source, (best,) in zip(sources, translate(model, sources, alignments=True), strict=True):
        assert best.alignment.shape == (len(best.token_ids), len(source))
        np.testing.assert_allclose(best.alignment.sum(axis=1), 1.0)
        with record(model, "*attention.weights") as tape:
            model.forward(
                source[None], np.array([len(source)]), np.array([[START, *best.token_ids[:-1]]])
            )
        weights = tape[model.alignment_taps()[0]].value
        weights = weights.mean(axis=1) if weights.ndim == 4 else weights
        np.testing.assert_allclose(best.alignment, weights[0], atol=1e-12)


def test_alignments_are_zero_behind_a_sources_end():
    weights = make("post-norm").alignments(
        np.ones((2, 4), int), np.array([4, 2]), np.ones((2, 3), int)
    )
    assert not weights[1, :, 2:].any()
    assert weights[1, :, :2].all()


# --- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("one vector", {"alignments": True}, "one vector of the whole source"),
        ("additive", {"penalty": "none"}, "penalty must be one of power, gnmt, got 'none'"),
        ("additive", {"num_best": 2}, "1 beams find 1 continuations; num_best must not be above"),
        ("additive", {"num_beams": 0}, "num_beams must be at least 1"),
        ("pre-norm", {"max_new_tokens": 13}, "max_new_tokens must be at most 12"),
    ],
)
def test_what_cannot_be_translated_is_refused(name, asked, message):
    asked = {"max_new_tokens": 3, **asked}
    with pytest.raises(ValueError, match=message):
        make(name).translate([[3, 4]], start_id=START, end_id=END, **asked)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([0, 2], r"source_lengths must be from 1 to the sources', 2, got \[0, 2\]"),
        ([1, 3], r"from 1 to the sources', 2, got \[1, 3\]"),
        ([1], r"expected source_lengths of shape \(2,\)"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths, message):
    with pytest.raises(ValueError, match=message):
        make("additive").forward(np.ones((2, 2), int), np.array(lengths), np.ones((2, 2), int))


def test_a_source_without_a_target_is_refused():
    with pytest.raises(ValueError, match="each source needs a target, got 2 sources and 1 targets"):
        make("rope").forward(np.ones((2, 2), int), np.array([1, 2]), np.ones((1, 2), int))


def test_reversal_is_for_one_vector_and_two_directions_need_an_even_width():
    with pytest.raises(ValueError, match="attention sees each position"):
        make("additive", reverse_source=True)
    with pytest.raises(ValueError, match=r"half of d_model, which must be even, got 5"):
        make("both directions", d_model=5)


def test_a_name_beside_pairs_stands_for_one_family():
    assert {name: family.kind for name, family in translators().items()} == {
        "rnn": "rnn-encoder-decoder", "rnn-attention": "rnn-attention",
        "transformer": "transformer",
    }  # fmt: skip


# --- learning -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["one vector", "additive", "post-norm"])
def test_it_learns_to_write_backwards(name):
    size = {"d_model": 32, "n_heads": 4} if name == "post-norm" else {"d_model": 32}
    model = make(name, dtype=np.float32, **size).train()
    for parameter in model.parameters():
        parameter.value /= 2.0
    lr = 3e-3 if name == "post-norm" else 1e-2
    optimizer, rng = AdamW(model.parameters(), lr=lr), np.random.default_rng(0)
    for _ in range(120):
        sources = rng.integers(3, VOCAB, (32, 4))
        targets = np.concatenate([sources[:, ::-1], np.full((32, 1), END)], 1)
        target_ids = np.concatenate([np.full((32, 1), START), targets[:, :-1]], 1)
        optimizer.zero_grad()
        model.loss_and_backward(sources, np.full(32, 4), target_ids, targets)
        optimizer.step()
    ((found,),) = translate(model, [3, 5, 8, 4], num_beams=2)
    np.testing.assert_array_equal(found.token_ids, [4, 8, 5, 3, END])


def test_a_search_needs_no_model():
    logits = np.log(np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [1.0, 1.0, 1.0]]))
    decoder = EveryTime(lambda ids: logits[ids[:, -1]])
    ((best,),) = search_beams(decoder, [np.array([0])], 2, 3)
    assert best.token_ids.tolist() == [1, 2]
    assert best.log_p == pytest.approx(np.log(0.4))


# --- a mistake is noticed -------------------------------------------------------------------------


def check_translations(name):
    """Compare batches of three lengths with each source alone, and with no states."""
    model, sources, choices = make(name), sources_of(3, [5, 2, 4]), {"num_beams": 3, "num_best": 3}
    together = translate(model, sources, **choices)
    alone = [translate(model, source, use_cache=False, **choices)[0] for source in sources]
    for ours, theirs in zip(together, alone, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a.token_ids, b.token_ids)
            assert a.log_p == pytest.approx(b.log_p, abs=1e-10)


@pytest.mark.parametrize(
    ("function", "old", "new", "name"),
    [
        (search_beams, "begins + [", "0 * begins + [", "additive"),
        (Encoded.repeated, "np.repeat(self.lengths, times)", "np.tile(self.lengths, times)", "rope"),
        (Encoded.repeated, "np.repeat(array, times, axis=1)", "np.tile(array, (1, times, 1))", "one vector"),
        (WithMemory.reorder, "self.own.reorder(rows, length)", "pass", "post-norm"),
        (MultiHeadAttention._look_back, "q, k, v, lengths, scale", "q, k, v, lengths * 0 + k.shape[2], scale", "t5"),
        (RNNEncoderDecoder._keep_states, "state.lengths = lengths", "array[...] = 0", "general"),
    ],
    ids=["others' beams", "others' lengths", "others' vectors", "states that stay", "padding", "no state"],
)  # fmt: skip
def test_what_goes_wrong_between_steps_is_noticed(function, old, new, name):
    check_translations(name)
    with mutated(function, old, new), pytest.raises((AssertionError, ValueError)):
        check_translations(name)
