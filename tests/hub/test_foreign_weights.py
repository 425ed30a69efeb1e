"""Weights of other people: heads of their own, wrapped names, files of other kinds."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import npgpt
from tests.hub.folders import rewrite_arrays, rewrite_json, saved, small_model

IDS = np.random.default_rng(0).integers(0, 270, (2, 11))
TABLE, HEAD = "transformer.wte.weight", "lm_head.weight"
GOLDEN = Path(__file__).parents[1] / "golden" / "nanogpt.safetensors"


@given(
    st.booleans(), st.sampled_from(["absent", "equal", "different"]),
    st.sampled_from([True, False, None]), st.sampled_from([np.float16, np.float32, np.float64]),
    st.sampled_from([np.float32, np.float64]), st.sampled_from(["", "module.", "_orig_mod.model."]),
)  # fmt: skip
def test_the_head_of_a_file_is_used_and_tied_only_if_it_is_the_embedding(
    tmp_path_factory, has_table, head, said, kept_as, dtype, prefix
):
    folder, model = saved(tmp_path_factory.mktemp("m") / "m", tie_embeddings=False)
    arrays = {n: a.astype(kept_as) for n, a in load_file(folder / "model.safetensors").items()}
    if head == "equal":
        arrays[HEAD] = arrays[TABLE].copy()
    if head == "absent":
        del arrays[HEAD]
    elif not has_table and head == "equal" and said is not False:
        del arrays[TABLE]
    save_file({prefix + n: a for n, a in arrays.items()}, folder / "model.safetensors")
    key = "tie_word_embeddings"
    rewrite_json(
        folder / "config.json",
        lambda c: {n: v for n, v in {**c, key: said}.items() if n != key or said is not None},
    )
    if said is False and head == "absent":
        with pytest.raises(ValueError, match=r"has no array lm_head\.weight"):
            npgpt.GPT.from_pretrained(folder, dtype)
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = npgpt.GPT.from_pretrained(folder, dtype)
    differs = head == "different"
    assert found.config.tie_embeddings == (not differs and said is not False)
    assert [str(w.message).count("differs from") for w in caught] == [1] * (
        differs and said is not False
    )
    expected = small_model(dtype, tie_embeddings=False)
    for name, parameter in expected.named_parameters():
        parameter.value[...] = model.state_dict()[name].astype(kept_as)
    if not differs:
        expected.head.weight.value[...] = expected.token_embedding.weight.value
    np.testing.assert_array_equal(found.forward(IDS), expected.forward(IDS))
    found.save_pretrained(folder, overwrite=True)
    again = npgpt.GPT.from_pretrained(folder, dtype)
    assert again.config == found.config
    np.testing.assert_array_equal(again.forward(IDS), found.forward(IDS))


def test_heads_that_differ_only_beyond_the_dtype_are_tied_in_it(tmp_path):
    folder, _ = saved(tmp_path / "m", dtype=np.float64)
    rewrite_arrays(folder, lambda arrays: {**arrays, HEAD: arrays[TABLE] * (1 + 1e-12)})
    assert npgpt.GPT.from_pretrained(folder).config.tie_embeddings
    with pytest.warns(UserWarning, match="the head of the file is used"):
        assert not npgpt.GPT.from_pretrained(folder, np.float64).config.tie_embeddings


def test_a_head_of_more_rows_than_the_config_says_is_named(tmp_path):
    folder, _ = saved(tmp_path / "m")
    rewrite_arrays(folder, lambda arrays: {**arrays, HEAD: np.pad(arrays[TABLE], ((0, 2), (0, 0)))})
    with (
        pytest.warns(UserWarning, match="differs"),
        pytest.raises(ValueError, match=r"lm_head\.weight has shape \(272, 8\)"),
    ):
        npgpt.GPT.from_pretrained(folder)


WRAPPERS = ["module.", "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."]


@given(
    st.lists(st.sampled_from([*WRAPPERS, "model.", "transformer.", "base_model."]), max_size=4),
    st.lists(st.sampled_from(WRAPPERS), max_size=2),
    st.booleans(),
)
def test_names_are_known_however_the_model_was_wrapped(tmp_path_factory, outer, inner, mask):
    folder, model = saved(tmp_path_factory.mktemp("m") / "m")

    def wrapped(arrays):
        if mask:
            arrays = {**arrays, "transformer.h.1.attn.bias": np.tri(16, dtype=np.float32)}
        names = {name: name.replace(".attn.", f".{''.join(inner)}attn.") for name in arrays}
        return {"".join(outer) + names[name]: array for name, array in arrays.items()}

    rewrite_arrays(folder, wrapped)
    found = npgpt.GPT.from_pretrained(folder)
    np.testing.assert_array_equal(found.forward(IDS), model.forward(IDS))


def test_a_prefix_that_is_not_known_is_shown(tmp_path):
    folder, _ = saved(tmp_path / "m")
    rewrite_arrays(folder, lambda arrays: {f"student.{n}": a for n, a in arrays.items()})
    with pytest.raises(
        ValueError, match=r"no array that is named like .* but student\.transformer"
    ):
        npgpt.GPT.from_pretrained(folder)


def test_two_models_in_one_file_are_named(tmp_path):
    folder, _ = saved(tmp_path / "m")
    rewrite_arrays(
        folder, lambda arrays: {**arrays, **{f"module.{n}": a for n, a in arrays.items()}}
    )
    with pytest.raises(ValueError, match="one model has one of them"):
        npgpt.GPT.from_pretrained(folder)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("pytorch_model.bin", "pytorch_model.bin, a pickle"),
        ("pytorch_model.bin.index.json", "pytorch_model.bin.index.json, a pickle"),
        ("ckpt.pt", "ckpt.pt, a pickle"),
        ("model.gguf", "model.gguf, a GGUF file"),
        ("model.onnx", "model.onnx, an ONNX graph"),
        ("weights.npz", "weights.npz, an archive of NumPy's"),
        ("tf_model.h5", "tf_model.h5, a file of TensorFlow's"),
        ("flax_model.msgpack", "flax_model.msgpack, a file of Flax's"),
        ("model.ckpt.index", "model.ckpt.index, a checkpoint of TensorFlow's"),
    ],
)
def test_weights_in_another_format_are_named(tmp_path, file, message):
    folder, _ = saved(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / file)
    with pytest.raises(ValueError, match=message) as error:
        npgpt.GPT.from_pretrained(folder)
    assert "\n" not in str(error.value)


def test_several_files_without_an_index_are_named(tmp_path):
    folder, _ = saved(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    (folder / "b.safetensors").write_bytes((folder / "a.safetensors").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"but a\.safetensors, b\.safetensors without"):
        npgpt.GPT.from_pretrained(folder)


def test_nanogpts_own_logits(tmp_path):
    arrays = load_file(GOLDEN)
    ids, logits = arrays.pop("ids"), arrays.pop("logits")
    save_file(arrays, tmp_path / "model.safetensors")
    arguments = {"n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 12, "vocab_size": 31}
    (tmp_path / "config.json").write_text(json.dumps({**arguments, "dropout": 0.0, "bias": True}))
    found = npgpt.GPT.from_pretrained(tmp_path, np.float64).forward(ids)
    np.testing.assert_allclose(found, logits, rtol=0, atol=1e-10)
    other = npgpt.GPT.from_pretrained(tmp_path, np.float64, activation="gelu").forward(ids)
    assert abs(other - logits).max() > 1e-4
