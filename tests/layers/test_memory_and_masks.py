"""Attention to another sequence, in both directions, and to sequences of several lengths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npgpt import layers, ops
from npgpt.layers import Init, Layer
from npgpt.ops import Mask
from npgpt.testing import dtypes
from tests.layers.configs import block_config
from tests.layers.listeners import AllEars
from tests.layers.test_contract import backward
from tests.layers.test_gradients import check
from tests.mutations import mutated
from tests.strategies import backends, methods, normal, seeds


class Masked(Layer):
    """A layer that is called with masks, which a gradient check would take for inputs."""

    def __init__(self, inner, **masks):
        super().__init__()
        self.inner, self.masks = inner, masks

    def forward(self, *inputs):
        """Call the layer."""
        return self.inner.forward(*inputs, **self.masks)

    def backward(self, dy):
        """Go back through it."""
        return self.inner.backward(dy)


@st.composite
def sizes(draw):
    """Draw batch, time, keys, and how many of the keys are there; in some sequences none is."""
    batch, time, keys = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    lengths = st.lists(st.integers(0, keys), min_size=batch, max_size=batch)
    return batch, time, keys, draw(st.one_of(st.none(), lengths.map(np.array)))


@st.composite
def attention_configs(draw, **fixed):
    """Draw heads, groups that share keys, biases, a scale, a window, dropout, a position."""
    n_kv_heads, group, half = (draw(st.integers(1, 2)) for _ in range(3))
    return block_config(
        2 * half * n_kv_heads * group,
        n_kv_heads * group,
        **{
            "n_kv_heads": n_kv_heads,
            "bias": draw(st.booleans()),
            "qkv_bias": draw(st.sampled_from([None, True, False])),
            "scale_scores": draw(st.booleans()),
            "window": draw(st.one_of(st.none(), st.integers(1, 6))),
            "dropout": draw(st.sampled_from([0.0, 0.4])),
            "position": draw(st.sampled_from(["none", "rope", "alibi", "t5"])),
            "relative_attention_num_buckets": 4,
            "relative_attention_max_distance": 6,
            "layer_norm_eps": 1e-2,
            **fixed,
        },
    )


def inputs_for(config, size, seed, dtype=np.float64):
    batch, time, keys, _ = size
    x = normal(seed, (batch, time, config.d_model), dtype)
    return x, normal(seed + 1, (batch, keys, config.d_model), dtype)


# --- attention to a memory -----------------------------------------------------------------------


@given(attention_configs(), sizes(), dtypes, seeds, methods, backends)
def test_attention_to_a_memory(config, size, dtype, seed, method, backend):
    layer = layers.MultiHeadAttention(config, Init(seed, dtype), cross=True)
    mask = None if size[-1] is None else Mask(False, lengths=size[-1])
    inputs = inputs_for(config, size, seed, dtype)
    check(Masked(layer, mask=mask), *inputs, seed=seed, method=method, backend=backend)


@given(
    attention_configs(), sizes(), st.sampled_from(["pre", "post"]), st.booleans(),
    st.sampled_from(["layer", "rms", "none"]), st.booleans(), dtypes, seeds, methods, backends,
)  # fmt: skip
@pytest.mark.slow
def test_a_block_of_a_decoder(
    config, size, norm_position, shortcut, norm, recompute, dtype, seed, method, backend
):
    changes = {"norm_position": norm_position, "shortcut": shortcut, "norm": norm}
    config = type(config)(**{**config.to_dict(), **changes})
    kind = layers.RecomputingBlock if recompute else layers.TransformerBlock
    block = kind(config, Init(seed, dtype), cross=True)
    masks = {"memory_mask": None if size[-1] is None else Mask(False, lengths=size[-1])}
    inputs = inputs_for(config, size, seed, dtype)
    check(Masked(block, **masks), *inputs, seed=seed, method=method, backend=backend)


@pytest.mark.slow
@settings(max_examples=15)
@given(
    attention_configs(n_layers=2), sizes(), st.booleans(), st.booleans(), seeds, methods, backends
)
def test_a_stack_of_a_decoder_adds_up_what_its_blocks_want_of_the_memory(
    config, size, recompute, post, seed, method, backend
):
    config = type(config)(**{**config.to_dict(), "norm_position": "post" if post else "pre"})
    stack = layers.Stack(config, Init(seed, np.float64), cross=True, recompute=recompute)
    batch, time, _, lengths = size
    masks = {
        "mask": Mask(True, config.window, np.full(batch, time)),
        "memory_mask": None if lengths is None else Mask(False, lengths=lengths),
    }
    inputs = inputs_for(config, size, seed)
    check(Masked(stack, **masks), *inputs, seed=seed, method=method, backend=backend)


def test_every_query_sees_all_of_a_memory():
    layer = layers.MultiHeadAttention(block_config(4, 2, window=1), Init(0, np.float64), cross=True)
    x, memory = inputs_for(block_config(4), (1, 3, 5, None), 0)
    y = layer.forward(x, memory)
    for key in range(5):
        other = memory.copy()
        other[:, key] += 1.0
        assert (np.abs(layer.forward(x, other) - y).max(axis=-1) > 1e-9).all()


@pytest.mark.parametrize("position", ["rope", "alibi", "t5"])
def test_the_positions_of_two_sequences_have_no_distance(position):
    size = (2, 3, 5, None)
    layer, plain = (
        layers.MultiHeadAttention(block_config(8, 2, position=p), Init(0, np.float64), cross=True)
        for p in (position, "none")
    )
    x, memory = inputs_for(block_config(8), size, 0)
    np.testing.assert_array_equal(layer.forward(x, memory), plain.forward(x, memory))
    reordered = memory[:, ::-1]
    np.testing.assert_allclose(layer.forward(x, reordered), plain.forward(x, memory), atol=1e-15)


def test_attending_to_itself_as_a_memory_is_two_sided_attention():
    config = block_config(8, 2, causal=False)
    within = layers.MultiHeadAttention(config, Init(0, np.float64))
    across = layers.MultiHeadAttention(config, Init(0, np.float64), cross=True)
    parameters = dict(within.named_parameters())
    for kind in ("weight", "bias"):
        q, kv = np.split(parameters[f"qkv.{kind}"].value, [8])
        across.load_state_dict(
            {**across.state_dict(), f"q.{kind}": q, f"kv.{kind}": kv,
             f"projection.{kind}": parameters[f"projection.{kind}"].value}
        )  # fmt: skip
    x, dy = normal(0, (2, 2, 5, 8), np.float64)
    np.testing.assert_allclose(across.forward(x, x), within.forward(x), atol=1e-15)
    dx, dmemory = across.backward(dy)
    np.testing.assert_allclose(dx + dmemory, within.backward(dy), atol=1e-14)


X = np.ones((2, 3, 4), np.float32)
MEMORIES = [
    (False, X, r"with cross=False takes no memory; make it with cross=True\."),
    (True, None, r"with cross=True needs a memory to attend to; make it with cross=False\."),
    (True, np.ones((2, 5, 3)), r"expected a memory of shape \(2, keys, 4\), got \(2, 5, 3\)"),
    (True, np.ones((1, 5, 4)), r"expected a memory of shape \(2, keys, 4\), got \(1, 5, 4\)"),
    (True, np.ones((2, 4)), r"expected a memory of shape \(2, keys, 4\), got \(2, 4\)"),
]


@pytest.mark.parametrize(("cross", "memory", "message"), MEMORIES)
def test_a_memory_that_does_not_fit_is_refused(cross, memory, message):
    layer = layers.MultiHeadAttention(block_config(4, 2), cross=cross)
    layer.name = "decoder.attention"
    with pytest.raises(ValueError, match=r"^MultiHeadAttention 'decoder\.attention': .*" + message):
        layer.forward(X, memory)


@pytest.mark.parametrize("kind", [layers.TransformerBlock, layers.RecomputingBlock])
@pytest.mark.parametrize("cross", [True, False])
def test_a_block_with_a_memory_too_many_or_too_few_is_refused(kind, cross):
    block = kind(block_config(4, 2), cross=cross)
    with pytest.raises(ValueError, match="a block with cross=True takes a memory, and no other"):
        block.forward(X, None if cross else X)


# --- both ways, and lengths ----------------------------------------------------------------------


@given(attention_configs(causal=False), sizes(), dtypes, seeds, methods, backends)
def test_attention_that_reads_both_ways(config, size, dtype, seed, method, backend):
    batch, time, _, lengths = size
    layer = layers.MultiHeadAttention(config, Init(seed, dtype))
    mask = None
    if lengths is not None:
        mask = Mask(False, config.window, np.minimum(lengths, time))
    x = normal(seed, (batch, time, config.d_model), dtype)
    check(Masked(layer, mask=mask), x, seed=seed, method=method, backend=backend)


@given(attention_configs(), sizes(), dtypes, seeds, methods, backends)
def test_causal_attention_to_sequences_of_several_lengths(
    config, size, dtype, seed, method, backend
):
    batch, time, _, lengths = size
    layer = layers.MultiHeadAttention(config, Init(seed, dtype))
    lengths = np.full(batch, time) if lengths is None else np.minimum(lengths, time)
    x = normal(seed, (batch, time, config.d_model), dtype)
    masked = Masked(layer, mask=Mask(True, config.window, lengths))
    check(masked, x, seed=seed, method=method, backend=backend)


@pytest.mark.parametrize("position", ["none", "rope", "alibi", "t5"])
def test_a_config_that_is_not_causal_lets_a_position_see_both_sides(position):
    x = normal(0, (1, 5, 8), np.float64)
    for causal, window, seen in (
        (True, None, [0, 1, 2]),
        (True, 2, [1, 2]),
        (False, None, [0, 1, 2, 3, 4]),
        (False, 2, [1, 2, 3]),
    ):
        config = block_config(8, 2, causal, position=position, window=window)
        layer = layers.MultiHeadAttention(config, Init(0, np.float64))
        layer.forward(x)
        dy = np.zeros_like(x)
        dy[:, 2] = 1.0
        reached = np.flatnonzero(np.abs(layer.backward(dy)[0]).max(axis=-1) > 0)
        assert reached.tolist() == seen


@pytest.mark.parametrize("position", ["none", "rope", "alibi", "t5"])
@pytest.mark.parametrize("kind", ["attention", "cross", "block", "stack", "decoder"])
def test_what_is_padded_has_no_influence_and_gets_no_gradient(kind, position, backend):
    lengths = np.array([5, 2, 1])
    config = block_config(8, 2, causal=False, position=position, n_layers=2)
    init, padded = Init(0, np.float64), np.arange(5) >= lengths[:, None]
    x, memory = inputs_for(config, (3, 5, 5, None), 0)
    mask = Mask(False, lengths=lengths)
    layer = {
        "attention": lambda: Masked(layers.MultiHeadAttention(config, init), mask=mask),
        "cross": lambda: Masked(layers.MultiHeadAttention(config, init, True), mask=mask),
        "block": lambda: Masked(layers.TransformerBlock(config, init), mask=mask),
        "stack": lambda: Masked(layers.Stack(config, init), mask=mask),
        "decoder": lambda: Masked(layers.Stack(config, init, True), memory_mask=mask),
    }[kind]()
    to_memory = kind in ("cross", "decoder")
    dy = normal(3, x.shape, np.float64)
    if not to_memory:
        dy[padded] = 0.0  # no loss counts there

    def run(filling):
        changed = memory.copy() if to_memory else x.copy()
        changed[padded] = filling
        layer.zero_grad()
        y = layer.forward(x, changed) if to_memory else layer.forward(changed)
        gradients = backward(layer, dy)
        return y, gradients, [p.grad.copy() for p in layer.parameters()]

    y, gradients, grads = run(1.0)
    y_other, gradients_other, grads_other = run(-7.0)
    there = np.ones_like(padded) if to_memory else ~padded
    np.testing.assert_array_equal(y[there], y_other[there])
    assert (gradients[-1][padded] == 0).all()
    for ours, other in zip((*gradients, *grads), (*gradients_other, *grads_other), strict=True):
        np.testing.assert_allclose(ours, other, rtol=0, atol=1e-14)
    assert any(np.abs(grad).max() > 0 for grad in grads)


@given(
    attention_configs(), attention_configs(causal=False), st.booleans(), sizes(), seeds, backends
)
def test_steps_that_are_listened_to_are_the_fused_operation_under_every_mask(
    config, two_sided, cross, size, seed, backend
):
    _, time, _, lengths = size
    for each, causal in ((config, True), (two_sided, False)):
        x, memory = inputs_for(each, size, seed)
        there = lengths
        if lengths is not None and not cross:
            there = np.minimum(lengths, time)
        mask = Mask(causal and not cross, None if cross else each.window, there)
        inputs = (x, memory) if cross else (x,)
        results = []
        for listener in (None, AllEars()):
            layer = layers.MultiHeadAttention(each, Init(seed, np.float64), cross)
            layer.listen(listener)
            with ops.use(backend):
                y = layer.forward(*inputs, mask=mask)
                gradients = backward(layer, normal(seed + 2, x.shape, np.float64))
            results.append([y, *gradients, *(p.grad for p in layer.parameters())])
        for fused, in_steps in zip(*results, strict=True):
            np.testing.assert_allclose(fused, in_steps, rtol=0, atol=1e-12)


def test_a_listener_hears_a_decoders_third_branch():
    block = layers.TransformerBlock(block_config(4, 2), Init(0, np.float64), cross=True)
    block.assign_names()
    ears = AllEars()
    block.listen(ears)
    x, memory = inputs_for(block_config(4), (1, 2, 3, None), 0)
    block.backward(block.forward(x, memory))
    assert set(ears.activations) == set(ears.gradients) == set(block.tap_names())
    assert ears.activations["cross_attention.weights"].shape == (1, 2, 2, 3)
    cross = ears.activations["residual_cross"] - ears.activations["residual_middle"]
    np.testing.assert_allclose(cross, ears.activations["cross_attention.output"], atol=1e-14)


@pytest.mark.parametrize(
    ("function", "old", "new", "test"),
    [
        (
            layers.MultiHeadAttention.forward, "Mask(False) if self.cross else Mask(",
            "Mask(", test_every_query_sees_all_of_a_memory,
        ),
        (
            layers.MultiHeadAttention.__init__, 'config.position == "rope" and not cross',
            'config.position == "rope"',
            lambda: test_the_positions_of_two_sequences_have_no_distance("rope"),
        ),
        (
            layers.MultiHeadAttention.__init__, "None if cross else position_bias",
            "position_bias", lambda: test_the_positions_of_two_sequences_have_no_distance("alibi"),
        ),
        (
            layers.MultiHeadAttention.forward, "Mask(self.causal, self.window)",
            "Mask(True, self.window)",
            lambda: test_a_config_that_is_not_causal_lets_a_position_see_both_sides("none"),
        ),
        (
            layers.Stack.forward, "\"memory_mask\": memory_mask",
            "\"memory_mask\": None",
            lambda: test_what_is_padded_has_no_influence_and_gets_no_gradient(
                "decoder", "none", "reference"
            ),
        ),
        (
            layers.TransformerBlock._forward_pre, "normed, memory, memory_mask", "normed, memory, None",
            lambda: test_what_is_padded_has_no_influence_and_gets_no_gradient(
                "decoder", "none", "reference"
            ),
        ),
    ],
    ids=["a causal mask", "turned", "a bias by distance", "one side", "a stack without the mask",
         "a block without the mask"],
)  # fmt: skip
def test_what_sees_too_little_or_too_much_is_noticed(function, old, new, test):
    with mutated(function, old, new), pytest.raises((AssertionError, ValueError)):
        test()
