"""A layer that is called several times in one pass: over time, or shared by several places."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npgpt import layers, ops
from npgpt.gradients import SUITE, gradcheck
from npgpt.layers import Init, Layer
from tests.layers.configs import block_config
from tests.layers.test_contract import backward, example_of, forward
from tests.layers.test_gradients import check, methods
from tests.mutations import mutated
from tests.strategies import normal

WIDTH, TIME = 6, 4


class Repeated(Layer):
    """A layer that is applied several times, each time to its own output."""

    def __init__(self, inner, times):
        super().__init__()
        self.inner, self.times = inner, times

    def forward(self, x):
        """Apply it."""
        with self.inner.unrolled():
            for _ in range(self.times):
                x = self.inner.forward(x)
        return x

    def backward(self, dy):
        """Undo the applications, the last one first."""
        for _ in range(self.times):
            dy = self.inner.backward(dy)
        return dy


def with_config(layer_class, **choices):
    """Make a function from (seed, dropout) to a layer that a config decides."""
    choices = {"layer_norm_eps": 1e-2, **choices}

    def make(seed, dropout):
        config = block_config(WIDTH, **{"n_heads": 3, "dropout": dropout, **choices})
        return layer_class(config, Init(seed, np.float64))

    return make


def lora(seed, dropout):
    layer = layers.LoRALinear(
        WIDTH, WIDTH, rank=2, dropout=dropout, seed=seed, rng=seed, dtype=np.float64
    )
    layer.lora_B.value += normal(seed, layer.lora_B.shape, np.float64)  # 0 hides A
    return layer


T5 = {
    "position": "t5",
    "relative_attention_num_buckets": 4,
    "relative_attention_max_distance": TIME,
}
MAKERS = {
    "Linear": lambda seed, dropout: layers.Linear(WIDTH, WIDTH, rng=seed, dtype=np.float64),
    "LoRALinear": lora,
    "LayerNorm": lambda seed, dropout: layers.LayerNorm(WIDTH, eps=1e-2, dtype=np.float64),
    "Dropout": lambda seed, dropout: layers.Dropout(dropout, seed=seed),
    "MultiHeadAttention": with_config(layers.MultiHeadAttention, n_kv_heads=1),
    "MultiHeadAttention (RoPE)": with_config(layers.MultiHeadAttention, position="rope"),
    "MultiHeadAttention (ALiBi)": with_config(layers.MultiHeadAttention, position="alibi"),
    "MultiHeadAttention (T5)": with_config(layers.MultiHeadAttention, **T5),
    "FeedForward": with_config(layers.FeedForward),
    "FeedForward (SwiGLU)": with_config(layers.FeedForward, activation="swiglu", bias=False),
    "TransformerBlock": with_config(layers.TransformerBlock, position="rope"),
    "TransformerBlock (post-norm)": with_config(layers.TransformerBlock, norm_position="post"),
    "RecomputingBlock": with_config(layers.RecomputingBlock, position="rope"),
    "RecomputingBlock (post-norm)": with_config(layers.RecomputingBlock, norm_position="post"),
    "Stack": with_config(layers.Stack, n_layers=2, **T5),
}
choices = {
    "dropout": st.sampled_from([0.0, 0.3]),
    "seed": st.integers(0, 2**31),
    "method": methods,
    "backend": st.sampled_from(ops.BACKENDS),
}


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=5)
@given(times=st.integers(1, 3), **choices)
def test_a_layer_that_is_applied_to_its_own_output_has_the_right_gradient(
    name, times, dropout, seed, method, backend
):
    layer = Repeated(MAKERS[name](seed, dropout), times)
    x = normal(seed, (2, TIME, WIDTH), np.float64)
    check(layer, x, seed=seed, method=method, backend=backend)


class Shared(Layer):
    """A stack whose places hold the same blocks again."""

    def __init__(self, config, init, recompute, places):
        super().__init__()
        self.stack = layers.Stack(config, init, recompute=recompute)
        self.stack.blocks = [self.stack.blocks[place] for place in places]

    def forward(self, x):
        """Go through all places."""
        with self.stack.unrolled():
            return self.stack.forward(x)

    def backward(self, dy):
        """Go back through all places."""
        return self.stack.backward(dy)


@settings(max_examples=12)
@given(
    places=st.sampled_from([[0, 0], [0, 1, 0], [1, 0, 0]]), recompute=st.booleans(),
    norm_position=st.sampled_from(["pre", "post"]), position=st.sampled_from(["t5", "rope"]), **choices,
)  # fmt: skip
@pytest.mark.slow
def test_a_block_that_several_places_of_a_stack_share_has_the_right_gradient(
    places, recompute, norm_position, position, dropout, seed, method, backend
):
    config = block_config(
        WIDTH, 3, n_layers=2, dropout=dropout, layer_norm_eps=1e-2, norm_position=norm_position,
        **{**T5, "position": position},
    )  # fmt: skip
    layer = Shared(config, Init(seed, np.float64), recompute, places)
    x = normal(seed, (2, TIME, WIDTH), np.float64)
    check(layer, x, seed=seed, method=method, backend=backend)


def other_batch(inputs):
    """Draw the same examples in another order, and numbers of another size."""
    return tuple(
        x if x.ndim == 0 else x[::-1] * 1.5 if x.dtype.kind == "f" else x[::-1].copy()
        for x in inputs
    )


def step_of(layer):
    return [inner.step for inner in layer.layers() if isinstance(inner, layers.Dropout)]


# the loss of a training step is computed in backward, so that only one can be pending
@pytest.mark.parametrize("name", [name for name in SUITE if "training step" not in name])
def test_passes_that_are_undone_at_the_end_have_the_gradients_of_passes_undone_at_once(
    name, backend
):
    first, inputs = example_of(name, np.float64)
    batches = [inputs, other_batch(inputs), inputs]
    factors = [normal(i, np.shape(forward(first, inputs)), np.float64) for i in range(3)]
    at_once, at_the_end = example_of(name, np.float64)[0], example_of(name, np.float64)[0]
    expected = []
    for batch, dy in zip(batches, factors, strict=True):
        forward(at_once, batch)
        expected.append(backward(at_once, dy))
    with at_the_end.unrolled():
        for batch in batches:
            forward(at_the_end, batch)
    assert step_of(at_the_end) == step_of(at_once)
    for dy, dxs in zip(reversed(factors), reversed(expected), strict=True):
        for ours, theirs in zip(backward(at_the_end, dy), dxs, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(
        at_the_end.trained_parameters(), at_once.trained_parameters(), strict=True
    ):
        np.testing.assert_allclose(ours.grad, theirs.grad, rtol=0, atol=1e-12)
    with pytest.raises(RuntimeError, match=r"backward needs a (forward pass|call of loss)"):
        at_the_end.backward(factors[0])


@pytest.mark.parametrize(
    "layer",
    [layers.PositionEmbedding(9, 4, rng=0, dtype=np.float64), layers.RotaryEmbedding(4)],
    ids=lambda layer: type(layer).__name__,
)
def test_each_pass_keeps_the_places_that_it_was_at(layer):
    before = (2, 3) if isinstance(layer, layers.RotaryEmbedding) else (2,)  # batch, heads
    places = [(3, 0), (2, 5), (4, 1)]  # time, offset
    passes = [(normal(time, (*before, time, 4), np.float64), offset) for time, offset in places]
    expected, grads = [], []
    for x, offset in passes:
        layer.zero_grad()
        layer.forward(x, offset)
        expected.append(layer.backward(x))
        grads.append([p.grad.copy() for p in layer.parameters()])
    layer.zero_grad()
    with layer.unrolled():
        for x, offset in passes:
            layer.forward(x, offset)
    for (x, _), dx in zip(reversed(passes), reversed(expected), strict=True):
        np.testing.assert_array_equal(layer.backward(x), dx)
    for parameter, parts in zip(layer.parameters(), zip(*grads, strict=True), strict=True):
        np.testing.assert_allclose(parameter.grad, sum(parts), atol=1e-14)


def test_every_application_draws_a_mask_of_its_own():
    layer = Repeated(layers.Dropout(0.5, seed=3), 2)
    ones = np.ones((100, 100))
    y = layer.forward(ones)
    assert set(np.unique(y)) == {0.0, 4.0}
    assert abs((y > 0).mean() - 0.25) < 0.02  # kept by both; one mask twice would keep a half
    np.testing.assert_array_equal(layer.backward(ones), y)


# --- what unrolled promises around it ------------------------------------------------------------


def linear():
    return layers.Linear(3, 3, rng=0, dtype=np.float64)


X = normal(0, (4, 2, 3), np.float64)
NEEDS = r"^Linear: backward needs a forward pass before it\.$"


def weight_gradient(*passes):
    """Compute the gradient of x W^T for several pairs of inputs and gradients."""
    return sum(dy.T @ x for x, dy in passes)


def test_backward_once_more_than_forward_is_refused():
    layer = linear()
    with layer.unrolled():
        layer.forward(X[0])
        layer.forward(X[1])
    layer.backward(X[2])
    layer.backward(X[3])
    np.testing.assert_allclose(layer.weight.grad, weight_gradient((X[1], X[2]), (X[0], X[3])))
    with pytest.raises(RuntimeError, match=NEEDS):
        layer.backward(X[2])


def test_backward_may_come_between_the_passes():
    layer = linear()
    with layer.unrolled():
        layer.forward(X[0])
        layer.forward(X[1])
        layer.backward(X[2])  # of the second
        layer.forward(X[3])
        layer.backward(X[0])  # of the third
        layer.backward(X[1])  # of the first
        with pytest.raises(RuntimeError, match=NEEDS):
            layer.backward(X[2])
    passes = (X[1], X[2]), (X[3], X[0]), (X[0], X[1])
    np.testing.assert_allclose(layer.weight.grad, weight_gradient(*passes))


def test_outside_of_unrolled_backward_can_be_called_again():
    layer = linear()
    with layer.unrolled():
        layer.forward(X[0])
        layer.forward(X[1])
    layer.forward(X[2])  # the passes before it are forgotten
    for _ in range(3):
        np.testing.assert_array_equal(layer.backward(X[3]), X[3] @ layer.weight.value)
    np.testing.assert_allclose(layer.weight.grad, 3 * weight_gradient((X[2], X[3])))


def test_a_block_inside_another_adds_to_it():
    layer = linear()
    with layer.unrolled():
        layer.forward(X[0])
        with layer.unrolled():
            layer.forward(X[1])
        layer.forward(X[2])
    for x in (X[2], X[1], X[0]):
        layer.zero_grad()
        layer.backward(X[3])
        np.testing.assert_allclose(layer.weight.grad, weight_gradient((x, X[3])))
    with pytest.raises(RuntimeError, match=NEEDS):
        layer.backward(X[3])


def test_a_part_that_is_unrolled_already_stays_so_inside_and_after_the_whole():
    block = layers.TransformerBlock(block_config(4), Init(0, np.float64))
    part = block.feed_forward_norm
    with part.unrolled():
        part.forward(X[0, :, :1].repeat(4, axis=1))
        with block.unrolled():
            block.forward(normal(1, (1, 2, 4), np.float64))
        part.forward(normal(2, (1, 2, 4), np.float64))
        assert len(part.saved) == 3
    assert len(block.attention_norm.saved) == 1
    assert not any(layer._unrolling for layer in block.layers())


def test_the_first_block_begins_anew():
    layer = linear()
    layer.forward(X[0])
    with layer.unrolled():
        with pytest.raises(RuntimeError, match=NEEDS):
            layer.backward(X[3])
        layer.forward(X[1])
    with layer.unrolled():
        layer.forward(X[2])
    layer.backward(X[3])
    np.testing.assert_allclose(layer.weight.grad, weight_gradient((X[2], X[3])))
    with pytest.raises(RuntimeError, match=NEEDS):
        layer.backward(X[3])


def test_an_error_inside_leaves_the_layer_as_usable_as_before():
    block = layers.TransformerBlock(block_config(4), Init(0, np.float64))
    x, dy = normal(0, (2, 2, 3, 4), np.float64)
    block.forward(x)
    expected = block.backward(dy)
    with pytest.raises(ValueError, match="expected an input"), block.unrolled():
        block.forward(2 * x)
        block.forward(x[..., :3])  # some of its layers have kept it
    for _ in range(2):
        block.forward(x)
        for _ in range(2):
            np.testing.assert_array_equal(block.backward(dy), expected)
    with block.unrolled():
        block.forward(x)
    np.testing.assert_array_equal(block.backward(dy), expected)


def test_forget_lets_go_of_every_pass():
    layer = linear()
    with layer.unrolled():
        layer.forward(X[0])
        layer.forward(X[1])
        layer.forget()
        with pytest.raises(RuntimeError, match=NEEDS):
            layer.backward(X[3])
        layer.forward(X[2])
    layer.backward(X[3])
    np.testing.assert_allclose(layer.weight.grad, weight_gradient((X[2], X[3])))
    with layer.unrolled():
        layer.forward(X[0])
    layer.forget()
    assert layer.saved is None


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        (Layer.recall, "self.saved.pop()", "self.saved[-1]"),
        (Layer.recall, "self.saved.pop()", "self.saved.pop(0)"),
        (Layer.keep, "self.saved.append(kept)", "self.saved[:] = [kept]"),
        (Layer.unrolled, "layer._unrolling, layer.saved = True, None", "pass"),
        (Layer.unrolled, "for layer in self.layers() if", "for layer in [self] if"),
    ],
    ids=["the last pass stays", "the first pass comes back", "one pass is kept", "none is",
         "layers inside keep one"],
)  # fmt: skip
def test_passes_that_are_lost_or_mixed_up_are_noticed(function, old, new):
    layer = Repeated(MAKERS["TransformerBlock"](0, 0.3), 2)
    x = normal(0, (1, TIME, WIDTH), np.float64)
    assert gradcheck(layer, x, method="complex", max_coordinates=5).passed
    with mutated(function, old, new):
        try:
            passed = gradcheck(layer, x, method="complex", max_coordinates=5).passed
        except (RuntimeError, IndexError):
            passed = False
    assert not passed
