"""Saving and loading tokenizers, and files that are not whole."""

import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npgpt import tokenizers
from npgpt.tokenizers import BPETokenizer, CharTokenizer
from npgpt.tokenizers.for_transformers import SPACES

BPE = BPETokenizer.train("low lower lowest newest widest naïve naïve", vocab_size=270)
CHAR = CharTokenizer('aé日🙂\ud83d\ude00\n"\\')  # with two halves of a surrogate pair


@pytest.fixture(params=[BPE, CHAR], ids=["bpe", "char"])
def tokenizer(request):
    return request.param


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "tokenizer.json"


def saved(tokenizer, path) -> dict:
    tokenizer.save(path)
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_tokenizer_that_was_saved_is_the_same_when_loaded(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    for loaded in (tokenizers.load(path), type(tokenizer).load(str(path))):
        assert type(loaded) is type(tokenizer)
        assert vars(loaded).keys() == vars(tokenizer).keys()
        assert loaded.vocab_size == tokenizer.vocab_size
        assert loaded.end_of_text_id == tokenizer.end_of_text_id
        every_id = range(tokenizer.vocab_size)
        assert loaded.decode(every_id) == tokenizer.decode(every_id)
    again = tmp_path / "again.json"
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()


@given(st.text(st.characters(), min_size=1), st.booleans())
def test_every_vocabulary_of_characters_survives_a_file(scratch, text, end_of_text):
    tokenizer = CharTokenizer.train(text, end_of_text)
    tokenizer.save(scratch)
    loaded = CharTokenizer.load(scratch)
    assert loaded.characters == tokenizer.characters
    assert loaded.end_of_text_id == tokenizer.end_of_text_id


@given(st.text(min_size=1))
def test_every_merge_survives_a_file(scratch, text):
    tokenizer = BPETokenizer.train(text * 2, vocab_size=300)
    tokenizer.save(scratch)
    assert BPETokenizer.load(scratch).merges == tokenizer.merges


def test_the_bpe_file_is_laid_out_as_hugging_face_reads_it(tmp_path):
    content = saved(BPE, tmp_path / "tokenizer.json")
    assert content["model"]["type"] == "BPE"
    assert content["model"]["vocab"]["Ġlow"] == 256 + content["model"]["merges"].index(["Ġ", "low"])
    assert content["model"]["vocab"]["<|endoftext|>"] == BPE.end_of_text_id
    for part in ("pre_tokenizer", "decoder"):
        assert content[part]["type"] == "ByteLevel"
        assert content[part]["add_prefix_space"] is False
    (added,) = content["added_tokens"]
    assert (added["content"], added["id"], added["special"]) == (
        "<|endoftext|>",
        BPE.end_of_text_id,
        True,
    )


def test_merges_written_as_one_string_are_read_as_well(tmp_path):
    path = tmp_path / "tokenizer.json"
    content = saved(BPE, path)
    content["model"]["merges"] = [" ".join(merge) for merge in content["model"]["merges"]]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert BPETokenizer.load(path).merges == BPE.merges


def test_a_file_of_the_other_kind_is_refused(tmp_path):
    BPE.save(tmp_path / "bpe.json")
    CHAR.save(tmp_path / "char.json")
    with pytest.raises(ValueError, match=r"bpe\.json .* 'tokenizer\.json', not 'npgpt-char'\.$"):
        CharTokenizer.load(tmp_path / "bpe.json")
    with pytest.raises(ValueError, match=r"char\.json .* 'npgpt-char', not 'tokenizer\.json'\.$"):
        BPETokenizer.load(tmp_path / "char.json")


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"no tokenizer file {path}"):
            tokenizers.load(path)


# --- damaged files ---------------------------------------------------------------------------


def assert_refused(path):
    with pytest.raises(ValueError, match="is not a whole tokenizer file: ") as error:
        tokenizers.load(path)
    assert str(error.value).startswith(str(path))
    assert str(error.value).endswith(".")
    assert not str(error.value).endswith("..")


def load_unless_refused(path):
    """Load a file that may be damaged: anything but a ValueError that names it is a failure."""
    try:
        return tokenizers.load(path)
    except ValueError as error:
        message = str(error)
    assert str(path) in message
    return None


def test_a_file_cut_short_anywhere_is_refused(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    content = path.read_bytes().rstrip()
    for length in range(0, len(content), max(1, len(content) // 200)):
        path.write_bytes(content[:length])
        assert_refused(path)


@settings(max_examples=150)
@given(st.sampled_from([BPE, CHAR]), st.data())
def test_a_changed_byte_is_refused_or_harmless(scratch, tokenizer, data):
    tokenizer.save(scratch)
    content = bytearray(scratch.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    scratch.write_bytes(content)
    loaded = load_unless_refused(scratch)
    if loaded:
        loaded.decode(range(loaded.vocab_size))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
PLACES = {
    "char": "format, version, characters, characters 0, end_of_text",
    "bpe": "model, model type, model vocab, model vocab a, model merges, model merges 0, "
    "model merges 0 0, model dropout, normalizer, pre_tokenizer, pre_tokenizer type, "
    "added_tokens, added_tokens 0, added_tokens 0 id",
}


@settings(max_examples=150)
@given(st.sampled_from(list(PLACES)), st.data())
def test_any_json_in_any_place_is_refused_or_harmless(scratch, kind, data):
    content = saved({"char": CHAR, "bpe": BPE}[kind], scratch)
    place = data.draw(st.sampled_from(PLACES[kind].split(", ")))
    value = data.draw(JSON)
    *way, last = [int(key) if key.isdigit() else key for key in place.split()]
    part = content
    for key in way:
        part = part[key]
    part[last] = value
    scratch.write_text(json.dumps(content), encoding="utf-8")
    loaded = load_unless_refused(scratch)
    if loaded:
        loaded.decode(loaded.encode(loaded.decode([0])))


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 200_000])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    assert_refused(path)


@pytest.mark.parametrize("key", ["version", "characters", "end_of_text"])
def test_a_character_file_with_a_part_missing_is_refused(tmp_path, key):
    path = tmp_path / "tokenizer.json"
    content = saved(CHAR, path)
    del content[key]
    path.write_text(json.dumps(content))
    assert_refused(path)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"end_of_text": "yes"},
        {"characters": ["b", "a"]},
        {"characters": ["a", "a"]},
        {"characters": ["ab"]},
        {"characters": []},
        {"characters": "ab"},
    ],
)
def test_a_character_file_that_save_would_not_write_is_refused(tmp_path, change):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(saved(CHAR, path) | change))
    assert_refused(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["model"]["merges"].reverse(),
        lambda content: content["model"]["merges"].insert(0, ["a", "nothing"]),
        lambda content: content["model"]["vocab"].update(a=65),
        lambda content: content["model"]["vocab"].pop("a"),
        lambda content: content["model"]["vocab"].update(l=float("inf")),
        lambda content: content["added_tokens"][0].update(id=0),
        lambda content: content["added_tokens"][0].update(lstrip="yes"),
        lambda content: content["added_tokens"][0].pop("id"),
        lambda content: content.pop("model"),
        lambda content: content["model"].pop("vocab"),
        lambda content: content["model"].pop("merges"),
        lambda content: content.update(post_processor={"type": "TemplateProcessing"}),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(tmp_path, change):
    path = tmp_path / "tokenizer.json"
    content = saved(BPE, path)
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    assert_refused(path)


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ],
    "pair": [],
    "special_tokens": {
        "<|endoftext|>": {"id": "<|endoftext|>", "ids": [269], "tokens": ["<|endoftext|>"]}
    },
}
VOCABULARY = json.loads(BPE.to_json())["model"]["vocab"]
UNSUPPORTED = [
    ({"normalizer": {"type": "NFC"}}, "its normalizer is 'NFC'"),
    (
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}]}},
        "its normalizer is 'Sequence' of NFD, Lowercase",
    ),
    ({"pre_tokenizer": None}, "it has no pre_tokenizer"),
    ({"pre_tokenizer": {"type": "Whitespace"}}, "its pre_tokenizer is 'Whitespace'"),
    ({"pre_tokenizer": {"type": "Metaspace"}}, "its pre_tokenizer is 'Metaspace'"),
    (
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits"}, BYTE_LEVEL]}},
        "its pre_tokenizer is 'Sequence' of Digits, ByteLevel",
    ),
    (
        {"pre_tokenizer": {**BYTE_LEVEL, "add_prefix_space": True}},
        "its pre_tokenizer sets add_prefix_space to True, not False",
    ),
    ({"pre_tokenizer": {"type": "ByteLevel"}}, "sets add_prefix_space to True"),
    ({"pre_tokenizer": {**BYTE_LEVEL, "use_regex": False}}, "sets use_regex to False, not True"),
    ({"decoder": {"type": "WordPiece"}}, "its decoder is 'WordPiece'"),
    ({"post_processor": {"type": "BertProcessing"}}, "its post_processor is 'BertProcessing'"),
    (
        {"post_processor": {"type": "Sequence", "processors": [TEMPLATE, {"type": "RobertaProcessing"}]}},
        "its post_processor is 'RobertaProcessing'",
    ),
    *(
        ({"model": {"type": kind, "vocab": {}}}, f"its model is '{kind}', not 'BPE'")
        for kind in ("Unigram", "WordLevel")
    ),
    ({"model": {"ignore_merges": True}}, "its model sets ignore_merges to True"),
    ({"model": {"dropout": 0.1}}, "its model sets dropout to 0.1"),
    ({"model": {"end_of_word_suffix": "</w>"}}, "its model sets end_of_word_suffix to '</w>'"),
    ({"model": {"continuing_subword_prefix": "##"}}, "sets continuing_subword_prefix"),
    (
        {"added_tokens": [{"id": 999, "content": "<|pad|>"}]},
        f"its added token '<|pad|>' has the id 999, not the following one, {BPE.vocab_size}",
    ),
    ({"model": {"vocab": VOCABULARY | {"zz": 999}}}, "its token 'zz' is neither a byte nor a merge"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), UNSUPPORTED)
def test_a_whole_file_that_is_not_supported_is_called_so_and_the_part_is_named(
    tmp_path, change, message
):
    path = tmp_path / "tokenizer.json"
    content = saved(BPE, path)
    change = {
        **change,
        **({"model": content["model"] | change["model"]} if "model" in change else {}),
    }
    path.write_text(json.dumps(content | change), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        tokenizers.load(path)
    assert str(error.value).startswith(f"{path} is a tokenizer that npgpt does not support: ")
    assert "not a whole" not in str(error.value)


@pytest.mark.parametrize("names", [["<s>", "<pad>", "</s>"], ["[CLS]", "<mask>"], ["<a b>"]])
def test_names_in_brackets_are_special_tokens_though_no_list_has_them(tmp_path, names):
    path = tmp_path / "tokenizer.json"
    content = saved(BPE, path)
    content["added_tokens"] = None
    size = BPE.vocab_size
    content["model"]["vocab"] |= {name: size + i for i, name in enumerate(names)}
    path.write_text(json.dumps(content), encoding="utf-8")
    loaded = tokenizers.load(path)
    assert loaded.special_tokens == ("<|endoftext|>", *names)
    text = f"low {names[0]}"
    assert loaded.encode(text).tolist() == BPE.encode(text).tolist()
    assert loaded.encode(text, allowed_special=names)[-1] == size
    loaded.save(path)
    assert tokenizers.load(path).fingerprint == loaded.fingerprint


def test_a_byte_order_mark_of_an_editor_does_no_harm(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert tokenizers.load(path).fingerprint == tokenizer.fingerprint


OPTIONAL = [
    "version", "truncation", "padding", "normalizer", "post_processor", "decoder", "added_tokens",
    *(f"model {key}" for key in ("type", "dropout", "unk_token", "continuing_subword_prefix",
                                 "end_of_word_suffix", "fuse_unk", "byte_fallback")),
    *(f"added_tokens 0 {key}" for key in ("single_word", "lstrip", "rstrip", "normalized", "special")),
]  # fmt: skip


@given(st.sets(st.sampled_from(OPTIONAL)), st.booleans())
def test_what_may_be_left_out_of_a_file_has_its_default(scratch, keys, null):
    tokenizer = BPETokenizer(BPE.merges, [] if "added_tokens" in keys else BPE.special_tokens)
    content = saved(tokenizer, scratch)
    for key in keys:
        *way, last = [int(word) if word.isdigit() else word for word in key.split()]
        part = content
        for word in way:
            part = part[word] if way[0] != "added_tokens" or content.get("added_tokens") else {}
            if not part:
                break
        if part and null and last not in ("type", "version") and "added_tokens" not in way:
            part[last] = None
        elif part:
            part.pop(last, None)
    scratch.write_text(json.dumps(content), encoding="utf-8")
    loaded = tokenizers.load(scratch)
    text = "low <|endoftext|> naïve"
    assert loaded.encode(text).tolist()[:2] == tokenizer.encode(text).tolist()[:2]
    assert loaded.vocab_size == tokenizer.vocab_size


def test_the_white_space_that_is_written_is_all_that_python_knows():
    every = "".join(c for c in map(chr, range(sys.maxunicode + 1)) if c.isspace())
    assert every == SPACES
