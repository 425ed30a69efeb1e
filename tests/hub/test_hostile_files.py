"""Folders that lie, are damaged, or want to run code: one sentence each, and nothing is done."""

import json
import pickle
import struct

import numpy as np
import pytest

import npgpt
from npgpt.runs import open_model
from tests.hub.folders import rewrite_arrays, rewrite_json, saved

RAN = []


class Bomb:
    def __reduce__(self):
        return RAN.append, (1,)


def header(path, change):
    """Change the JSON header of a safetensors file, and leave the rest as it is."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    changed = json.dumps(change(json.loads(content[8 : 8 + size]))).encode()
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + size :])


def set_entry(name, **changes):
    return lambda h: {**h, name: {**h[name], **changes}}


NORM = "transformer.ln_f.weight"


def header_that_reaches_beyond_the_file(folder):
    header(
        folder / "model.safetensors", set_entry(NORM, data_offsets=[0, 1 << 40], shape=[1 << 38])
    )


def header_whose_shape_and_bytes_differ(folder):
    header(folder / "model.safetensors", set_entry(NORM, shape=[1 << 20]))


def header_longer_than_the_file(folder):
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + path.read_bytes()[8:])


def header_with_negative_offsets(folder):
    header(folder / "model.safetensors", set_entry(NORM, data_offsets=[-32, 0]))


def file_cut_in_half(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def not_safetensors(folder):
    (folder / "model.safetensors").write_bytes(b"PK\x03\x04 a zip")


def missing_shard(folder):
    shard(folder)
    (folder / "model-00002-of-00003.safetensors").unlink()


def shard(folder):
    model = npgpt.GPT.from_pretrained(folder)
    model.save_pretrained(folder, overwrite=True, shard_size=3000)
    assert (folder / "model-00002-of-00003.safetensors").exists()


def shard_elsewhere(folder):
    shard(folder)
    (folder / "model-00001-of-00003.safetensors").rename(folder.parent / "outside.safetensors")
    rewrite_json(
        folder / "model.safetensors.index.json",
        lambda index: {
            "weight_map": {
                name: file.replace("model-00001-of-00003", "../outside")
                for name, file in index["weight_map"].items()
            }
        },
    )


def shard_at_an_absolute_path(folder):
    shard(folder)
    rewrite_json(
        folder / "model.safetensors.index.json",
        lambda index: {"weight_map": {"transformer.wte.weight": "/etc/passwd"}},
    )


def index_without_a_map(folder):
    shard(folder)
    rewrite_json(folder / "model.safetensors.index.json", lambda index: {"weight_map": []})


def wrong_shape(folder):
    rewrite_arrays(folder, lambda arrays: {**arrays, NORM: np.ones(9, np.float32)})


def missing_array(folder):
    rewrite_arrays(folder, lambda arrays: {n: a for n, a in arrays.items() if n != NORM})


def unknown_array(folder):
    rewrite_arrays(folder, lambda arrays: {**arrays, "score.weight": np.ones(2, np.float32)})


def weight_of_integers(folder):
    rewrite_arrays(folder, lambda arrays: {**arrays, NORM: np.ones(8, np.int64)})


def config(**changes):
    def rewrite(folder):
        rewrite_json(folder / "config.json", lambda content: {**content, **changes})

    return rewrite


def config_cut_short(folder):
    (folder / "config.json").write_text('{"n_layer": 2')


def config_nested_deeply(folder):
    (folder / "config.json").write_text("[" * 100_000)


def config_that_is_a_list(folder):
    (folder / "config.json").write_text("[]")


def no_config(folder):
    (folder / "config.json").unlink()


def pickle_only(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))


def nothing(folder):
    (folder / "model.safetensors").unlink()


def no_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


CASES = [
    (header_that_reaches_beyond_the_file, "is not a whole safetensors file"),
    (header_whose_shape_and_bytes_differ, "is not a whole safetensors file"),
    (header_longer_than_the_file, "is not a whole safetensors file"),
    (header_with_negative_offsets, "is not a whole safetensors file"),
    (file_cut_in_half, "is not a whole safetensors file"),
    (not_safetensors, "is not a whole safetensors file"),
    (missing_shard, "there is no model-00002-of-00003.safetensors, a shard of it"),
    (shard_elsewhere, "'../outside.safetensors'; a shard must be in the folder itself"),
    (shard_at_an_absolute_path, "'/etc/passwd'; a shard must be in the folder itself"),
    (index_without_a_map, "has no weight_map"),
    (wrong_shape, r"ln_f.weight has shape \(9,\), but the model's config asks for \(8,\)"),
    (missing_array, "has no array ln_f.weight"),
    (unknown_array, "has 1 arrays that the model of its config does not have: score.weight"),
    (weight_of_integers, "has no array ln_f.weight"),
    (config(activation_function="silu"), "activation_function 'silu' is not known"),
    (config(activation_function=["gelu"]), "is not known; npgpt's GPT-2 has gelu_new"),
    (config(model_type="llama"), "describes a 'llama' model"),
    (config(model_type=["gpt2"]), "describes a"),
    (config(n_embd=12), r"has shape \(270, 8\), but the model's config asks for \(270, 12\)"),
    (config(n_embd=-8), "n_embd must be a positive integer, got -8"),
    (config(n_embd="8"), "n_embd must be a positive integer, got '8'"),
    (config(n_embd=10**12), "asks for"),
    (config(n_layer=10**9), "has weights of 2 blocks, but its config asks for 1000000000"),
    (config(n_head=3), "n_heads must divide d_model"),
    (config(n_inner=-1), "d_ff must be a positive integer"),
    (config(resid_pdrop="much"), "resid_pdrop"),
    (config(layer_norm_epsilon=None), "layer_norm_epsilon"),
    (config(scale_attn_by_inverse_layer_idx=True), "must be False, got True"),
    (config(tie_word_embeddings=False), "has no array lm_head.weight"),
    (config_cut_short, "config.json is not whole JSON"),
    (config_nested_deeply, "config.json is not whole JSON"),
    (config_that_is_a_list, "must hold a JSON object, got a list"),
    (no_config, "there is no config.json in it"),
    (pickle_only, "pytorch_model.bin, a pickle, which can run code.*save_pretrained"),
    (nothing, "There is no model.safetensors in"),
    (no_tokenizer, "There is no tokenizer"),
]  # fmt: skip


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("spoil", "message"), CASES)
def test_a_hostile_folder_is_refused_and_nothing_is_written_or_run(tmp_path, spoil, message):
    folder, _ = saved(tmp_path / "m")
    spoil(folder)
    before = contents(folder)
    with pytest.raises((ValueError, OSError), match=message) as info:
        open_model(folder)
    assert "\n" not in str(info.value)
    assert contents(folder) == before
    assert not RAN
