"""Loops over chunks, blocks and parts: drawn sizes on both sides of each boundary.

The boundaries are set to a few rows here, so that small arrays have first, middle and last parts.
"""

import contextlib
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt import ops
from npgpt.ops import DropoutKey, Mask, reference, workspace
from npgpt.ops.compiled import (
    activations,
    adam,
    attention_head,
    cached_attention,
    cross_entropy,
    embedding,
    gelu,
    jit,
    layer_norm,
    linear,
    lora,
    lstm,
    quantized,
    recurrence,
    rms_norm,
    tiles,
)
from npgpt.ops.compiled import attention as attention_file
from npgpt.ops.compiled import few_rows as few_rows_file
from npgpt.testing import dtypes
from tests.mutations import mutated_kernel
from tests.ops.test_compiled_equals_reference import assert_same
from tests.strategies import keys, normal, probabilities, seeds

sizes = st.integers(1, 4)  # of a chunk, or the number of parts
rows = st.integers(1, 13)


HOLDERS = {
    "HEAD_CHUNK": [workspace],
    "CHUNKS": [jit],
    "CHUNK": [adam],
    "BLOCK": [quantized],
    "BLOCK_COLUMNS": [embedding],
    "BLOCK_ROWS": [attention_file],
    "MOST_ROWS": [linear, quantized, recurrence],
    "FEWEST_ROWS": [recurrence],
    "PRODUCT_ROWS": [recurrence],
}


@contextlib.contextmanager
def boundaries(threads=1, **constants):
    """Set the constants of modules, and into how many parts products are cut.

    New arrays hold nan, so that what nobody writes is seen.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba, "get_num_threads", lambda: threads)
        empty = SimpleNamespace(empty=lambda shape, dtype: np.full(shape, np.nan, dtype))
        patch.setattr(workspace, "np", empty)
        for name, value in constants.items():
            for holder in HOLDERS[name]:
                patch.setattr(holder, name, value)
        yield


# --- the head and the loss ------------------------------------------------------------------------


def check_head(n_rows, chunk, vocab_size, dtype, seed, overwrite, ignored):
    x = normal(seed, (n_rows, 5), dtype)
    weight, dweight = normal(seed + 1, (2, vocab_size, 5), dtype)
    rng = np.random.default_rng(seed)
    targets = np.where(rng.random(n_rows) < ignored, -100, rng.integers(0, vocab_size, n_rows))
    targets[0] = 0  # one counts at least
    dlog_p = normal(seed + 2, n_rows, dtype)
    choices = {"dweight": dweight, "overwrite": overwrite, "in_place": ("dweight",)}
    with boundaries(HEAD_CHUNK=chunk * vocab_size, MOST_ROWS=2, threads=2):
        assert_same("head_cross_entropy_forward", dtype, x, weight, targets)
        assert_same("head_log_probs_forward", dtype, x, weight, targets)
        for name, dy in (("head_cross_entropy", dtype(0.7)), ("head_log_probs", dlog_p)):
            assert_same(f"{name}_backward", dtype, dy, x, weight, targets, **choices)
            assert_same(f"{name}_backward", dtype, dy, x, weight, targets)
        choices |= {"bias": dweight[:, 0], "dbias": weight[:, 0].copy()}
        choices["in_place"] = ("dweight", "dbias")
        assert_same("head_cross_entropy_backward", dtype, dtype(0.7), x, weight, targets, **choices)


@given(
    st.tuples(
        rows, sizes, st.integers(1, 40), dtypes, seeds, st.booleans(), st.sampled_from([0, 0.5])
    )
)
def test_the_head_and_loss_are_the_references_for_any_size_of_chunk(drawn):
    check_head(*drawn)


# --- operations on rows ---------------------------------------------------------------------------


def check_partial_sums(n_rows, chunks, dtype, seed):
    x, dy = normal(seed, (2, n_rows, 6), dtype)
    vector, total = normal(seed + 1, (2, 6), dtype)
    mean, rstd = normal(seed + 2, (2, n_rows, 1), dtype)
    weight = normal(seed + 3, (6, 6), dtype)
    with boundaries(CHUNKS=chunks):
        both = {"dgamma": total, "dbeta": total, "in_place": ("dgamma", "dbeta")}
        assert_same("layer_norm_backward", dtype, dy, x, vector, mean, rstd, **both)
        one = {"dgamma": total, "in_place": ("dgamma",)}
        assert_same("rms_norm_backward", dtype, dy, x, vector, rstd, **one)
        bias = {"dbias": total, "in_place": ("dbias",)}
        for name in ("relu", "silu", "gelu_tanh", "gelu_exact"):
            assert_same(f"{name}_backward", dtype, dy, x, vector, **bias)
        assert_same("swiglu_backward", dtype, dy[:, :3], x, vector, **bias)
        assert_same("linear_backward", dtype, dy, x, weight, **bias)


@given(st.tuples(rows, st.integers(1, 5), dtypes, seeds))
def test_sums_over_rows_are_the_references_for_any_number_of_chunks(drawn):
    check_partial_sums(*drawn)


def check_sum_of_squares(size, chunk, dtype, seed):
    with boundaries(CHUNK=chunk):
        assert_same("sum_of_squares", np.float32, normal(seed, size, dtype))


@given(st.tuples(rows, sizes, dtypes, seeds))
def test_a_sum_of_squares_is_the_references_for_any_size_of_chunk(drawn):
    check_sum_of_squares(*drawn)


@pytest.mark.parametrize("size", [adam.CHUNK - 1, adam.CHUNK, adam.CHUNK + 1, 2 * adam.CHUNK + 1])
def test_a_sum_of_squares_at_the_chunks_own_borders(size):
    check_sum_of_squares(size, adam.CHUNK, np.float64, 0)


def check_scatter(columns, width, dtype, seed):
    dy, dweight = normal(seed, (2, 7, columns), dtype)
    ids = np.random.default_rng(seed).integers(0, 7, 7)
    with boundaries(BLOCK_COLUMNS=width):
        gradient = {"dweight": dweight, "in_place": ("dweight",)}
        assert_same("embedding_backward", dtype, dy, ids, **gradient)


@given(st.tuples(rows, sizes, dtypes, seeds))
def test_a_scatter_is_the_references_for_any_width_of_its_blocks(drawn):
    check_scatter(*drawn)


# --- products in parts ----------------------------------------------------------------------------

widths = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 32, 33, 48, 49]))


def check_linear(n_rows, d_in, d_out, parts, most, dtype, seed, overwrite):
    x, dy = normal(seed, (n_rows, d_in), dtype), normal(seed + 1, (n_rows, d_out), dtype)
    weight, dweight = normal(seed + 2, (2, d_out, d_in), dtype)
    bias, dbias = normal(seed + 3, (2, d_out), dtype)
    with boundaries(threads=parts, MOST_ROWS=most):
        assert_same("linear_forward", dtype, x, weight, bias)
        assert_same("linear_forward", dtype, x, weight)
        choices = {"dweight": dweight, "dbias": dbias, "in_place": ("dweight", "dbias")}
        assert_same("linear_backward", dtype, dy, x, weight, overwrite=overwrite, **choices)
        assert_same("linear_backward", dtype, dy, x, weight)
        lora_a, lora_b = normal(seed + 4, (3, d_in), dtype), normal(seed + 5, (d_out, 3), dtype)
        assert_same("low_rank_forward", dtype, x, lora_a, lora_b, 0.5, dy, in_place=(4,))
        h = reference.low_rank_forward(x, lora_a, lora_b, 0.5, dy.copy())
        gradients = {"dlora_a": lora_a, "dlora_b": lora_b, "in_place": ("dlora_a", "dlora_b")}
        assert_same("low_rank_backward", dtype, dy, x, lora_a, lora_b, 0.5, h, **gradients)


@given(st.tuples(widths, widths, widths, st.integers(1, 5), sizes, dtypes, seeds, st.booleans()))
def test_products_are_the_references_for_any_number_of_parts(drawn):
    check_linear(*drawn)


def check_quantized(n_rows, d_out, parts, most, block, kind, seed):
    x, weight = normal(seed, (n_rows, 7), np.float32), normal(seed + 1, (d_out, 7), np.float32)
    bias = normal(seed + 2, d_out, np.float32)
    arrays = reference.to_int8(weight) if kind == "int8" else (reference.to_bfloat16(weight), None)
    with boundaries(threads=parts, MOST_ROWS=most, BLOCK=block):
        assert_same("quantized_linear_forward", np.float32, x, *arrays, bias)
        assert_same("quantized_linear_forward", np.float32, x, *arrays)


kinds = st.sampled_from(["int8", "bfloat16"])


@given(st.tuples(rows, rows, sizes, sizes, sizes, kinds, seeds))
def test_quantized_products_are_the_references_for_any_size_of_block(drawn):
    check_quantized(*drawn)


# --- attention ------------------------------------------------------------------------------------


def check_attention(time, past, block, threads, causal, window, dtype, p, key, seed):
    q, dy = normal(seed, (2, 2, 4, time, 3), dtype)
    k, v = normal(seed + 1, (2, 2, 2, time + past, 3), dtype)
    columns = time + past if causal else 2 * time + past - 1
    bias, dbias = normal(seed + 2, (2, 4, columns), dtype)
    choices = {"scale": 0.5, "mask": Mask(causal, window), "p": p, "key": key, "bias": bias}
    with boundaries(BLOCK_ROWS=block, threads=threads):
        assert_same("attention_forward", dtype, q, k, v, **choices)
        kept = reference.attention_forward(q, k, v, **choices)
        gradient = {"dbias": dbias, "in_place": ("dbias",)}
        assert_same("attention_backward", dtype, dy, q, k, v, *kept, **choices, **gradient)


@given(
    st.tuples(
        rows,
        st.integers(0, 3),
        sizes,
        st.integers(1, 9),
        st.booleans(),
        st.one_of(st.none(), st.integers(1, 9)),
        dtypes,
        probabilities,
        keys,
        seeds,
    )
)
def test_attention_is_the_references_for_any_size_of_block(drawn):
    check_attention(*drawn)


def check_cached_attention(lengths, threads, window, dtype, seed):
    batch, capacity = len(lengths), max(lengths) + 1
    q = normal(seed, (batch, 4, 1, 3), dtype)
    keys_, values = normal(seed + 1, (2, batch, 2, capacity, 3), dtype)
    bias = normal(seed + 2, (4, capacity), dtype)
    for choices in ({"window": window}, {"window": window, "bias": bias}):
        with boundaries(threads=threads):
            arrays = q, keys_, values, np.array(lengths)
            assert_same("cached_attention_forward", dtype, *arrays, scale=0.5, **choices)


@given(
    st.tuples(
        st.lists(rows, min_size=1, max_size=4),
        st.integers(1, 20),
        st.one_of(st.none(), st.integers(1, 14)),
        dtypes,
        seeds,
    )
)
def test_cached_attention_is_the_references_for_any_number_of_threads(drawn):
    check_cached_attention(*drawn)


# --- recurrent networks ---------------------------------------------------------------------------


def check_packed(n_rows, k, columns, transpose, dtype, seed):
    a, c = normal(seed, (n_rows, k), dtype), np.ones((n_rows, tiles.padded(columns, dtype)), dtype)
    weight = normal(seed + 1, (columns, k) if transpose else (k, columns), dtype)
    with boundaries():
        packed = tiles.pack(weight, transpose)
    tiles.add_product(a, packed, c)
    exact = 1 + a.astype(float) @ (weight.T if transpose else weight)
    np.testing.assert_allclose(c[:, :columns], exact, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(c[:, columns:], 1)
    for row in range(n_rows):  # alone it has the same bits
        alone = np.ones_like(c[:1])
        tiles.add_product(a[row : row + 1], packed, alone)
        np.testing.assert_array_equal(alone[0], c[row])


@given(
    st.tuples(
        st.integers(1, 20), st.integers(1, 9), st.integers(1, 70), st.booleans(), dtypes, seeds
    )
)
def test_products_of_a_packed_weight_are_exact_in_tiles_of_any_height(drawn):
    check_packed(*drawn)


def check_recurrent(name, shape, threads, product_rows, dtype, seed):
    time, batch, d_in, d_hidden = shape
    parts, n_states = {"rnn": (1, 1), "gru": (3, 1), "lstm": (4, 2)}[name]
    x, width = normal(seed, (time, batch, d_in), dtype), parts * d_hidden
    states = normal(seed + 1, (n_states, batch, d_hidden), dtype)
    weight_ih, weight_hh = (
        normal(seed + 2, (width, d_in), dtype),
        normal(seed, (width, d_hidden), dtype),
    )
    biases = normal(seed + 3, (2, width), dtype)
    lengths = np.random.default_rng(seed).integers(0, time + 1, batch)
    dy = normal(seed + 4, (time, batch, d_hidden), dtype)
    forward = getattr(ops, f"{name}_forward")
    with boundaries(threads, FEWEST_ROWS=1, MOST_ROWS=0, PRODUCT_ROWS=product_rows):
        for choices in ({}, {"lengths": lengths, "reverse": True}):
            arrays = x, *states, weight_ih, weight_hh, *biases
            assert_same(f"{name}_forward", dtype, *arrays, **choices)
            _, *kept = getattr(reference, f"{name}_forward")(*arrays, **choices)
            assert_same(
                f"{name}_backward", dtype, dy, x, weight_ih, weight_hh, *kept, **choices,
                dbias_hh=biases[0].copy(), in_place=("dbias_hh",),
            )  # fmt: skip
        several = forward(*arrays)
    with boundaries(1, FEWEST_ROWS=1, MOST_ROWS=0):
        for one, other in zip(forward(*arrays), several, strict=True):
            np.testing.assert_array_equal(one, other)


@given(
    st.tuples(
        st.sampled_from(["rnn", "gru", "lstm"]),
        st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 40), st.integers(1, 40)),
        st.integers(1, 5),
        st.integers(1, 9),
        dtypes,
        seeds,
    )
)
def test_recurrent_networks_are_the_references_in_any_number_of_blocks(drawn):
    check_recurrent(*drawn)


# --- planted mistakes -----------------------------------------------------------------------------


def head():
    check_head(7, 3, 5, np.float64, 0, True, 0.0)


def head_with_ignored_targets():
    check_head(7, 3, 5, np.float64, 0, True, 0.5)


def few():
    check_linear(6, 4, 9, 2, 8, np.float64, 0, False)


def linear_in_parts():
    check_linear(3, 33, 20, 3, 2, np.float64, 0, False)
    check_linear(33, 20, 3, 3, 2, np.float64, 0, False)


def partial_sums():
    check_partial_sums(7, 3, np.float64, 0)


def attention():
    key = DropoutKey(1, 2, 3)
    check_attention(7, 2, 3, 3, True, None, np.float64, 0.5, key, 0)
    check_attention(7, 2, 3, 3, False, None, np.float64, 0.5, key, 0)


def windowed_attention():
    check_attention(70, 70, 3, 1, True, 5, np.float64, 0.0, None, 0)


def packed():
    check_packed(11, 3, 70, True, np.float64, 0)
    check_packed(11, 3, 70, False, np.float64, 0)


def recurrent():
    check_recurrent("lstm", (2, 5, 3, 3), 2, 3, np.float64, 0)


MUTANTS = [
    (cross_entropy, "_head_backward", "        overwrite = False\n", "", head),
    (cross_entropy, "_head_backward", "accumulate=not overwrite", "accumulate=False", head),
    (cross_entropy, "_head_backward", "scales[part]", "scales[: len(ids[part])]", head),
    (cross_entropy, "_head_backward", "rows[part], dweight", "rows[: len(ids[part])], dweight", head),
    (cross_entropy, "_head_backward", "as_rows(dx)[part]", "as_rows(dx)[: len(ids[part])]", head),
    (cross_entropy, "_head_backward", "ids[part], ignore_index, nats[part]", "ids[: len(ids[part])], ignore_index, nats[part]", head),
    (cross_entropy, "_head_backward", "scales[counted]", "scales[: counted.size]", head_with_ignored_targets),
    (cross_entropy, "_head_nats", "nats[part], lse[part]", "nats[: len(ids[part])], lse[part]", head),
    (cross_entropy, "_chunks", "range(0, rows, chunk)", "range(0, rows - chunk + 1, chunk)", head),
    (cross_entropy, "_chunks", "begin + chunk, rows", "begin + chunk - 1, rows", head),
    (linear, "_bounds", "end * GRAIN, size", "end * GRAIN, size // GRAIN * GRAIN", linear_in_parts),
    (linear, "_bounds", "(size + GRAIN - 1) // GRAIN", "size // GRAIN", linear_in_parts),
    (linear, "_product_part", "b[:, i:j]", "b[:, : j - i]", linear_in_parts),
    (linear, "_product_part", "a[i:j, :]", "a[: j - i, :]", linear_in_parts),
    *[(module, name, "(chunk + 1) * rows // chunks", "(chunk + 1) * (rows // chunks)", partial_sums) for module, name in (
        (activations, "_relu_backward"), (activations, "_swiglu_backward"), (gelu, "_backward"), (layer_norm, "_backward"), (rms_norm, "_backward"), (linear, "_column_sums"),
    )],
    *[(module, name, "chunk * rows // chunks, ", "0, ", partial_sums) for module, name in (
        (activations, "_relu_backward"), (activations, "_swiglu_backward"), (gelu, "_backward"), (layer_norm, "_backward"), (rms_norm, "_backward"), (linear, "_column_sums"),
    )],
    (attention_head, "backward_head", "        beta = one\n", "", attention),
    (attention_head, "backward_head", "beta = one if add else zero", "beta = zero", attention),
    (attention_head, "backward_head", "(time - 1) // choices.block * choices.block", "(time - 2) // choices.block * choices.block", attention),
    (attention_head, "backward_head", "q[begin:end], beta, dk[low:high]", "q[: end - begin], beta, dk[low:high]", attention),
    (attention_head, "backward_head", "dy[begin:end], beta, dv", "dy[: end - begin], beta, dv", attention),
    (attention_head, "_fill_mask_row", "head.row + t", "head.row", attention),
    (attention_head, "forward_head", "min(begin + choices.block, time)", "min(begin + choices.block, time - 1)", attention),
    (attention_head, "_columns_of_block", "max(0, begin - choices.before)", "max(0, end - choices.before)", windowed_attention),
    (attention_file, "_forward", "range(thread, batch * heads, threads)", "range(thread, batch * heads - 1, threads)", attention),
    (attention_file, "_backward", "member > 0", "False", attention),
    (attention_file, "_backward", "(b * heads + h) * time", "h * time", attention),
    (cached_attention, "_forward", "(thread + 1) * batch * heads // threads", "(thread + 1) * (batch * heads // threads)", lambda: check_cached_attention([5, 3], 3, 4, np.float64, 0)),
    (cached_attention, "_head", "max(0, length - window)", "0", lambda: check_cached_attention([5, 3], 3, 4, np.float64, 0)),
    (few_rows_file, "_forward", "            end = columns\n", "            pass\n", few),
    (few_rows_file, "_forward", "begin + pairs, end, 0, y", "begin + pairs, end, fours, y", few),
    (few_rows_file, "_forward", "_single_columns(x, weight, j, j + 2, fours, y)", "pass", few),
    (quantized, "quantized_linear_forward", "scales[part]", "scales[: len(weight[part])]", lambda: check_quantized(6, 5, 1, 2, 2, "int8", 0)),
    (quantized, "quantized_linear_forward", "y[:, part] = block", "y[:, : len(numbers)] = block", lambda: check_quantized(6, 5, 1, 2, 2, "int8", 0)),
    (embedding, "_scatter", "min(begin + width, columns)", "min(begin + width, columns // width * width)", lambda: check_scatter(7, 3, np.float64, 0)),
    (adam, "_sums_of_squares", "x[chunk * size :", "x[:", lambda: check_sum_of_squares(7, 3, np.float64, 0)),
    (adam, "sum_of_squares", "-(-x.size // CHUNK)", "max(1, x.size // CHUNK)", lambda: check_sum_of_squares(7, 3, np.float64, 0)),
    (tiles, "_pack", "columns - begin", "columns", packed),
    (tiles, "_pack", "packed[panel, :, there:] = 0", "pass", packed),
    (tiles, "_pack", "weight[begin + column, s]", "weight[column, s]", packed),
    (tiles, "_pack", "weight[s, begin + column]", "weight[s, column]", packed),
    (tiles, "add_product", "(rows + TILE_ROWS - 1) // TILE_ROWS", "rows // TILE_ROWS", packed),
    (tiles, "add_product", "(tile + 1) * rows // tiles", "(tile + 1) * (rows // tiles)", packed),
    (lstm, "_forward", "(block + 1) * batch // blocks", "(block + 1) * (batch // blocks)", recurrent),
    (lstm, "_backward", "(block + 1) * batch // blocks", "(block + 1) * (batch // blocks)", recurrent),
    (recurrence, "_fill_products", "(len(a) + height - 1) // height", "len(a) // height", recurrent),
    (recurrence, "_fill_products", "min((block + 1) * height, len(a))", "(block + 1) * height - 1", recurrent),
    (lora, "low_rank_backward", "accumulate = dshortcut is not None", "accumulate = True", linear_in_parts),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")  # of numbers gone wrong
@pytest.mark.parametrize(
    ("module", "name", "old", "new", "check"),
    MUTANTS,
    ids=[f"{name}: {old} -> {new}" for _, name, old, new, _ in MUTANTS],
)
def test_a_mistake_at_a_boundary_is_noticed(module, name, old, new, check):
    check()
    users = (attention_file,) if module is attention_head else ()
    with (
        mutated_kernel(module, name, old, new, users),
        pytest.raises((AssertionError, ValueError, IndexError)),
    ):
        check()
