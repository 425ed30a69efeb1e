"""The ids that a folder's configs set apart."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt import GPT, GPTConfig, hub

FILES = ("generation_config.json", "config.json")  # the first counts
IDS = st.none() | st.integers(0, 9) | st.lists(st.integers(0, 9), max_size=3)
CONTENT = st.none() | st.fixed_dictionaries(
    {}, optional={"eos_token_id": IDS, "suppress_tokens": IDS, "begin_suppress_tokens": IDS}
)


def as_tuple(value):
    return tuple(value) if isinstance(value, list) else (value,)


@given(CONTENT, CONTENT)
def test_the_first_file_that_names_ids_says_them(tmp_path_factory, first, second):
    folder = tmp_path_factory.mktemp("m")
    contents = [first, second]
    for name, content in zip(FILES, contents, strict=True):
        if content is not None:
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
    found = hub.read_generation_ids(folder)
    keys = ("eos_token_id", "suppress_tokens", "begin_suppress_tokens")
    for key, ids in zip(keys, found, strict=True):
        said = [c[key] for c in contents if c is not None and c.get(key) is not None]
        assert ids == (as_tuple(said[0]) if said else ())


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("value", ["</s>", -1, True, 1.5, [1, "2"], {"id": 1}])
def test_what_is_no_id_is_refused_by_name(tmp_path, file, value):
    (tmp_path / file).write_text(json.dumps({"eos_token_id": value}), encoding="utf-8")
    with pytest.raises(ValueError, match=f"{file}: eos_token_id must be a token id or a list"):
        hub.read_generation_ids(tmp_path)


def test_what_a_folder_says_is_in_the_one_that_is_saved_again(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    GPT(GPTConfig(12, 8, n_layers=1, n_heads=1, d_model=4)).save_pretrained(first)
    said = {"eos_token_id": [2, 7], "suppress_tokens": [3, 5], "begin_suppress_tokens": [1]}
    (first / "generation_config.json").write_text(json.dumps(said))
    GPT.from_pretrained(first).save_pretrained(second)
    assert hub.read_generation_ids(second) == ((2, 7), (3, 5), (1,))
