"""Hugging Face's format, out and in again, in every layout that is recognised."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import npgpt
from npgpt import hub
from npgpt.hub.architectures.gpt2 import NAMES
from npgpt.runs import open_model
from tests.hub.folders import (
    TOKENIZER,
    rewrite_arrays,
    rewrite_json,
    saved,
    small_model,
    write_tensors,
)
from tests.strategies import seeds

IDS = np.random.default_rng(0).integers(0, 270, (2, 11))


def same_logits(folder, model, dtype=np.float32):
    again = npgpt.GPT.from_pretrained(folder, dtype)
    np.testing.assert_array_equal(again.forward(IDS), model.forward(IDS))
    assert not again.training
    return again


@pytest.mark.parametrize("tie_embeddings", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_saved_model_comes_back_with_every_bit(tmp_path, tie_embeddings, dtype):
    folder, model = saved(tmp_path / "m", tie_embeddings=tie_embeddings, dtype=dtype)
    again = same_logits(folder, model, dtype)
    assert again.config == model.config
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)
    names = load_file(folder / "model.safetensors")
    assert ("lm_head.weight" in names) != tie_embeddings


@given(
    seeds, st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(2, 30),
    st.integers(1, 9), st.booleans(), st.integers(1, 5000),
)  # fmt: skip
def test_any_shape_and_any_shard_size_come_back(
    tmp_path_factory, seed, n_layers, n_heads, head_size, vocab, context, tied, shard_size
):
    config = npgpt.GPTConfig(
        vocab, context, n_layers, n_heads, n_heads * head_size, tie_embeddings=tied
    )
    model = npgpt.GPT(config, seed=seed)
    folder = tmp_path_factory.mktemp("m")
    model.save_pretrained(folder, shard_size=shard_size)
    again = npgpt.GPT.from_pretrained(folder)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)


def test_shards_have_an_index_and_none_is_larger_than_asked(tmp_path):
    model = small_model()
    model.save_pretrained(tmp_path / "m", shard_size=1000)
    index = json.loads((tmp_path / "m" / hub.folder.INDEX).read_text())
    files = set(index["weight_map"].values())
    assert len(files) > 3
    assert not (tmp_path / "m" / "model.safetensors").exists()
    for file in files:
        arrays = load_file(tmp_path / "m" / file)
        assert len(arrays) == 1 or sum(a.nbytes for a in arrays.values()) <= 1000
    same_logits(tmp_path / "m", model)
    # one file over the shards: no shard of the earlier model stays
    model.save_pretrained(tmp_path / "m", overwrite=True)
    assert [p.name for p in (tmp_path / "m").glob("model*")] == ["model.safetensors"]


def test_large_arrays_are_read_in_pieces(tmp_path, monkeypatch):
    folder, model = saved(tmp_path / "m")
    monkeypatch.setattr(hub.containers.safetensors, "PIECE", 100)
    same_logits(folder, model)


def test_a_model_without_biases_is_saved_with_biases_of_zero(tmp_path):
    folder, model = saved(tmp_path / "m", bias=False)
    again = same_logits(folder, model)
    assert again.config.bias
    assert not again.blocks[0].feed_forward.up.bias.value.any()


def test_names_without_prefix_and_mask_buffers_are_those_of_the_first_release(tmp_path):
    folder, model = saved(tmp_path / "m")

    def released(arrays):
        arrays = {name.removeprefix("transformer."): array for name, array in arrays.items()}
        masks = {"h.0.attn.bias": np.tri(16, dtype=np.float32)[None, None]}
        masks["h.1.attn.bias"] = np.tri(16, dtype=np.uint8)[None, None]
        masks["h.0.attn.masked_bias"] = np.array(-1e4, np.float32)
        return {**arrays, **masks}

    rewrite_arrays(folder, released)
    same_logits(folder, model)


def test_a_tied_head_that_was_saved_all_the_same_is_passed_over(tmp_path):
    folder, model = saved(tmp_path / "m")
    rewrite_arrays(
        folder, lambda arrays: {**arrays, "lm_head.weight": arrays["transformer.wte.weight"]}
    )
    same_logits(folder, model)


@pytest.mark.parametrize("bias", [True, False])
def test_nanogpt_keeps_matrices_as_we_do(tmp_path, bias):
    folder, model = saved(tmp_path / "m", bias=bias, activation="gelu_exact")
    arrays = {}
    for line in NAMES[:-1]:
        for i in range(2 if "{}" in line.ours else 1):
            array = model.state_dict().get(line.ours.format(i))
            if array is not None:
                arrays["_orig_mod.transformer." + line.hugging_face.format(i)] = array
    arrays["_orig_mod.lm_head.weight"] = model.token_embedding.weight.value.copy()
    save_file(arrays, folder / "model.safetensors")
    config = {
        "n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 16, "bias": bias, "vocab_size": 270,
        "dropout": 0.1, "n_inner": 20,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    again = same_logits(folder, model)
    assert again.config.dropout == 0.1
    assert again.config.bias == bias


def test_openai_checkpoints_have_names_of_their_own(tmp_path):
    folder, model = saved(tmp_path / "m", d_ff=None)
    arrays = {}
    for line in NAMES[:-1]:
        for i in range(2 if "{}" in line.ours else 1):
            array = model.state_dict()[line.ours.format(i)]
            array = np.ascontiguousarray(array.T)[None] if line.transposed else array
            arrays["model/" + line.openai.format(i)] = array
    (folder / "config.json").unlink()
    save_file(arrays, folder / "model.safetensors")
    hparams = {"n_vocab": 270, "n_ctx": 16, "n_embd": 8, "n_head": 2, "n_layer": 2}
    (folder / "hparams.json").write_text(json.dumps(hparams))
    same_logits(folder, model)


def half(array):
    return array.astype(np.float16)


def bfloat16_bits(array):
    return (np.ascontiguousarray(array).view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_files_of_half_the_precision_are_read(tmp_path, kind):
    folder, model = saved(tmp_path / "m")
    arrays = load_file(folder / "model.safetensors")
    halves = {n: half(a) if kind == "float16" else bfloat16_bits(a) for n, a in arrays.items()}
    write_tensors(folder / "model.safetensors", halves, "F16" if kind == "float16" else "BF16")
    again = npgpt.GPT.from_pretrained(folder)
    for name, array in model.state_dict().items():
        if kind == "float16":
            expected = half(array).astype(np.float32)
        else:
            expected = (bfloat16_bits(array).astype(np.uint32) << 16).view(np.float32)
        np.testing.assert_array_equal(again.state_dict()[name], expected)


def test_a_model_opens_with_its_tokenizer(tmp_path):
    folder, model = saved(tmp_path / "m")
    opened = open_model(folder)
    assert opened.run is None
    text = "the cat sat"
    np.testing.assert_array_equal(opened.tokenizer.encode(text), TOKENIZER.encode(text))
    np.testing.assert_array_equal(opened.model.forward(IDS), model.forward(IDS))
    assert open_model(folder, dtype=np.float64).model.forward(IDS).dtype == np.float64


def test_a_folder_that_holds_something_is_kept(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="exists already and is not empty"):
        small_model().save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_other_fields_of_the_config_do_not_matter(tmp_path):
    folder, model = saved(tmp_path / "m")
    rewrite_json(folder / "config.json", lambda c: {**c, "task_specific_params": {"x": 1}})
    same_logits(folder, model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"activation": "swiglu"}, "activation='swiglu'"), ({"position": "rope"}, "position='rope'")],
)
def test_what_gpt2_cannot_say_is_not_written(tmp_path, changes, message):
    model = npgpt.GPT(npgpt.GPTConfig(11, 8, n_layers=1, n_heads=2, d_model=8, **changes))
    with pytest.raises(ValueError, match=f"Hugging Face's GPT-2 has no .*{message}"):
        model.save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_without_huggingface_hub_a_name_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"pip install 'npgpt\[hub\]'"):
        npgpt.GPT.from_pretrained("gpt2")
