"""Arrays that stand apart in a file and are one of ours: queries, keys and values; gate and up."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

import npgpt
from npgpt import hub
from npgpt.hub import Layout, TensorFiles, Weight
from npgpt.models.model import MODELS, Model
from npgpt.models.pretrained import load_pretrained
from tests.hub.folders import rewrite_arrays, rewrite_json
from tests.models.tiny import shaken_model

CONFIG = npgpt.GPTConfig(
    13, 16, n_layers=2, n_heads=4, d_model=8, d_ff=12, n_kv_heads=2, bias=False,
    tie_embeddings=False, position="rope", norm="rms", activation="swiglu",
)  # fmt: skip
ROWS = {"q": slice(0, 8), "k": slice(8, 12), "v": slice(12, 16)}  # of qkv.weight


class Toy:
    """An architecture of its own, as a later module would have it."""

    name, model_type, kind = "Toy", "toy", "gpt"
    passed_over = re.compile(r"layers\.\d+\.inv_freq")
    of_arrays = frozenset()

    def __init__(self, layout):
        self.layout = layout

    def fields(self, content, where):
        fixed = {"bias": False, "position": "rope", "norm": "rms", "activation": "swiglu"}
        return {**{name: content[name] for name in CONFIG.to_dict() if name in content}, **fixed}

    def content(self, fields):
        return {"model_type": "toy", **fields}

    def weights(self, fields):
        d_model, d_ff, vocab = fields["d_model"], fields["d_ff"], fields["vocab_size"]
        d_kv = fields["n_kv_heads"] * d_model // fields["n_heads"]
        yield Weight("token_embedding.weight", ("embed",), ((vocab, d_model),))
        for i in range(fields["n_layers"]):
            ours, theirs = f"blocks.{i}", f"layers.{i}"
            yield Weight(f"{ours}.attention_norm.gamma", (f"{theirs}.norm_1",), ((d_model,),))
            yield Weight(
                f"{ours}.attention.qkv.weight",
                (f"{theirs}.q", f"{theirs}.k", f"{theirs}.v"),
                ((d_model, d_model), (d_kv, d_model), (d_kv, d_model)),
                self.layout,
            )
            yield Weight(
                f"{ours}.attention.projection.weight",
                (f"{theirs}.o",),
                ((d_model, d_model),),
                self.layout,
            )
            yield Weight(f"{ours}.feed_forward_norm.gamma", (f"{theirs}.norm_2",), ((d_model,),))
            yield Weight(
                f"{ours}.feed_forward.up.weight",
                (f"{theirs}.gate", f"{theirs}.up"),
                ((d_ff, d_model), (d_ff, d_model)),
                self.layout,
            )
            yield Weight(
                f"{ours}.feed_forward.down.weight",
                (f"{theirs}.down",),
                ((d_model, d_ff),),
                self.layout,
            )
        yield Weight("final_norm.gamma", ("norm",), ((d_model,),))
        yield Weight("head.weight", ("head",), ((vocab, d_model),))

    def with_arrays(self, fields, source, where, dtype):
        return hub.with_head_of_file(self, fields, source, where, dtype)

    def weights_in(self, fields, shapes, where):
        return self.weights(fields)


@pytest.fixture(params=Layout, ids=lambda layout: layout.value)
def layout(request):
    """Each layout, with a `Toy` that has it among the architectures."""
    hub.ARCHITECTURES.append(Toy(request.param))
    yield request.param
    hub.ARCHITECTURES.pop()


def saved(folder, **changes):
    config = npgpt.GPTConfig(**{**CONFIG.to_dict(), **changes})
    model = shaken_model(config, seed=5, dtype=np.float32).eval()
    model.save_pretrained(folder)
    return model


def as_filed(matrix, layout):
    """The array that a file has for a matrix of ours, written out once more by hand."""
    turned = matrix.T
    laid = {"out in": matrix, "in out": turned, "1 in out": turned[None], "1 out": matrix[None]}
    return laid[layout.value]


def test_writing_splits_and_reading_stacks_with_every_bit(tmp_path, layout):
    model = saved(tmp_path / "m")
    arrays = load_file(tmp_path / "m" / "model.safetensors")
    qkv, up = (
        model.blocks[1].attention.qkv.weight.value, model.blocks[1].feed_forward.up.weight.value
    )  # fmt: skip
    for name, rows in ROWS.items():
        np.testing.assert_array_equal(arrays[f"layers.1.{name}"], as_filed(qkv[rows], layout))
    np.testing.assert_array_equal(arrays["layers.1.gate"], as_filed(up[:12], layout))
    np.testing.assert_array_equal(arrays["layers.1.up"], as_filed(up[12:], layout))
    again = npgpt.GPT.from_pretrained(tmp_path / "m")
    assert again.config == model.config
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)


def test_parts_are_read_in_pieces_too(tmp_path, layout, monkeypatch):
    model = saved(tmp_path / "m")
    monkeypatch.setattr(hub.containers.safetensors, "PIECE", 50)
    again = npgpt.GPT.from_pretrained(tmp_path / "m")
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)


@pytest.mark.parametrize("part", ["layers.1.k", "layers.0.up"])
def test_a_part_of_another_shape_is_named_with_both_shapes(tmp_path, layout, part):
    saved(tmp_path / "m")
    expected = layout.shape((4, 8) if part.endswith("k") else (12, 8))
    wrong = layout.shape((5, 8))
    rewrite_arrays(tmp_path / "m", lambda arrays: {**arrays, part: np.ones(wrong, np.float32)})
    message = f"{part} has shape {wrong}, but the model's config asks for {expected}."
    with pytest.raises(ValueError, match=re.escape(message)):
        npgpt.GPT.from_pretrained(tmp_path / "m")


def test_parts_that_together_have_the_rows_are_checked_one_by_one(tmp_path, layout):
    saved(tmp_path / "m")
    arrays = {f"layers.0.{name}": layout.shape((rows, 8)) for name, rows in (("q", 7), ("k", 5))}
    wrong = {name: np.ones(shape, np.float32) for name, shape in arrays.items()}
    rewrite_arrays(tmp_path / "m", lambda arrays: {**arrays, **wrong})
    with pytest.raises(ValueError, match=r"layers\.0\.q has shape"):
        npgpt.GPT.from_pretrained(tmp_path / "m")


def test_a_part_that_is_missing_is_named_and_what_is_passed_over_is_not(tmp_path, layout):
    saved(tmp_path / "m")
    buffer = {"layers.0.inv_freq": np.ones(3, np.float32)}
    rewrite_arrays(tmp_path / "m", lambda arrays: {**arrays, **buffer})
    npgpt.GPT.from_pretrained(tmp_path / "m")
    rewrite_arrays(
        tmp_path / "m", lambda arrays: {n: a for n, a in arrays.items() if n != "layers.0.v"}
    )
    with pytest.raises(ValueError, match=r"has no array layers\.0\.v, which"):
        npgpt.GPT.from_pretrained(tmp_path / "m")


def test_a_model_is_written_by_the_architecture_that_can_say_it(tmp_path, layout):
    saved(tmp_path / "toy")
    gpt2 = npgpt.GPT(npgpt.GPTConfig(11, 8, n_layers=1, n_heads=2, d_model=8))
    gpt2.save_pretrained(tmp_path / "gpt2")
    kinds = [hub.read_config(tmp_path / name)[0].name for name in ("toy", "gpt2")]
    assert kinds == ["Toy", "GPT-2"]
    neither = npgpt.GPT(npgpt.GPTConfig(11, 8, n_layers=1, n_heads=2, d_model=8, position="alibi"))
    with pytest.raises(ValueError, match=r"GPT-2 has no position='alibi'; .*Toy has no bias=True"):
        neither.save_pretrained(tmp_path / "neither")
    assert not (tmp_path / "neither").exists()


def test_a_folder_of_another_kind_of_model_is_refused_and_any_kind_can_be_asked_for(
    tmp_path, layout, monkeypatch
):
    model = saved(tmp_path / "m")
    assert type(load_pretrained(Model, tmp_path / "m", np.float32)) is npgpt.GPT
    own = type("Own", (npgpt.GPT,), {})
    again = own.from_pretrained(tmp_path / "m")
    assert type(again) is own
    np.testing.assert_array_equal(again.head.weight.value, model.head.weight.value)

    other = type("Other", (Model,), {"kind": "other", "Config": npgpt.GPTConfig})
    monkeypatch.setitem(MODELS, "other", other)
    monkeypatch.setattr(hub.ARCHITECTURES[-1], "kind", "other", raising=False)
    with pytest.raises(ValueError, match=r"m holds a Toy, not a GPT\."):
        npgpt.GPT.from_pretrained(tmp_path / "m")


def test_a_config_of_another_architecture_is_refused_with_those_that_are_known(tmp_path, layout):
    saved(tmp_path / "m")
    rewrite_json(tmp_path / "m" / "config.json", lambda content: {**content, "model_type": "opt"})
    known = "npgpt loads GPT-2 ('gpt2'), BERT ('bert'), MarianMT ('marian'), Toy ('toy')."
    with pytest.raises(ValueError, match=re.escape(known)):
        npgpt.GPT.from_pretrained(tmp_path / "m")


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(1, 4),
    st.sampled_from(Layout),
    st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_any_number_of_parts_comes_back(tmp_path_factory, rows, d_in, layout, dtype):
    names = tuple(f"part {i}" for i in range(len(rows)))
    weight = Weight("whole", names, tuple((count, d_in) for count in rows), layout)
    whole = np.random.default_rng(0).standard_normal((sum(rows), d_in)).astype(dtype)
    folder = tmp_path_factory.mktemp("m")
    hub.save_tensors(folder, hub.export_arrays([weight], {"whole": whole}))
    again = np.zeros_like(whole)
    weight.read(TensorFiles(folder), again)
    np.testing.assert_array_equal(again, whole)


def test_an_array_of_ours_that_the_parts_do_not_make_is_refused():
    weight = Weight("qkv", ("q", "k"), ((2, 3), (1, 3)))
    with pytest.raises(ValueError, match=r"qkv has shape \(4, 3\), but q and k make \(3, 3\)\."):
        list(weight.parts(np.zeros((4, 3))))


def test_a_bias_that_is_not_there_is_written_as_zeros_and_a_matrix_is_missed():
    bias = Weight("a.bias", ("q", "k"), ((2,), (1,)))
    arrays = dict(hub.export_arrays([bias], {"b.weight": np.ones(1, np.float32)}))
    assert {name: array.shape for name, array in arrays.items()} == {"q": (2,), "k": (1,)}
    assert not any(array.any() for array in arrays.values())
    assert arrays["q"].dtype == np.float32
    with pytest.raises(KeyError, match=r"a\.weight"):
        dict(hub.export_arrays([bias._replace(ours="a.weight")], {"b.weight": np.ones(1)}))
