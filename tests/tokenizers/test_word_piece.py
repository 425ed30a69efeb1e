"""WordPiece: what it makes of texts, proved equal to its plain form, and held by golden ids."""

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from npgpt import tokenizers
from npgpt.tokenizers import AddedToken, WordPieceTokenizer, word_piece, word_piece_training
from npgpt.tokenizers.bert_characters import Normalization
from npgpt.tokenizers.compiled import forms as compiled
from npgpt.tokenizers.compiled import word_pieces
from npgpt.tokenizers.pairs import STRATEGIES, kept_lengths
from npgpt.tokenizers.reference import forms as plain
from npgpt.tokenizers.reference.word_pieces import spaced
from npgpt.tokenizers.word_piece_file import ROLES
from tests.tokenizers.strategies import TEXTS, WITH_SURROGATES

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "word_piece.json").read_text(encoding="utf-8")
)
WAYS = [  # of normalizing
    Normalization(),
    Normalization(lowercase=False),
    Normalization(strip_accents=False),
    Normalization(handle_chinese_chars=False, strip_accents=True, lowercase=False),
]
# marks that change places, capitals that become two letters, Chinese, Korean, controls
HARD = st.sampled_from(
    [
        *"\u302e\U0001d165\U0001d16d\u0301\u0902\u1b44İßΣǅ中\uf900한각≮\u037e\x85\x0b\xad\ufffd\ue000`^~",
        "##",
    ]
)
MIXED = st.lists(TEXTS | HARD).map("".join)
VOCABULARY = [*ROLES.values(), "un", "una", "##able", "##ble", "to", "##a", "a", "中", "##é", "é"]
TOKENIZER = WordPieceTokenizer(VOCABULARY)
TEXT = "The cat sat on the mat. The dog sat on the log, and the cat saw the dog.\n"


@settings(max_examples=60)
@given(st.lists(WITH_SURROGATES | HARD).map("".join), st.sampled_from(WAYS))
@example("a\u302e\U0001d165", Normalization())
def test_words_of_any_text_are_those_of_the_plain_form(text, how):
    assert compiled.Speller(how)(text) == spaced(text, how).encode("utf-8", "surrogatepass")


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS, ids=repr)
def test_every_code_point_becomes_the_same_in_both_forms(how):
    speller, kinds = compiled.Speller(how), word_pieces.tables(how)[0]
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    text = "a".join(chr(c) for c in points if kinds[c] != word_pieces.ORDERED)
    assert speller(text) == spaced(text, how).encode()


@settings(max_examples=100)
@given(
    st.sets(st.text("ab#é", min_size=1, max_size=4), min_size=1),
    st.text("ab é", max_size=60),
    st.integers(1, 9),
)
@example({"a", "##a"}, "a" * 60, 9)
def test_the_longest_match_is_that_of_the_plain_form(names, text, longest):
    arguments = [*names], range(5, 5 + len(names)), 3, "##", longest
    fast, slow = compiled.PieceEncoder(*arguments), plain.PieceEncoder(*arguments)
    fast._cache = word_pieces.new_cache(2)  # words push each other out
    for _ in range(2):
        assert fast(text.encode()).tolist() == slow(text.encode()).tolist()


def test_a_word_that_is_too_long_or_has_no_tokens_is_unknown():
    tokenizer = WordPieceTokenizer(VOCABULARY, max_characters=3)
    unknown = tokenizer.unknown_id
    assert tokenizer.encode("aaa aaaa éa").tolist()[-2:] == [
        unknown,
        *tokenizer.encode("aa")[:0],
        *tokenizer.encode("ea"),
    ]
    assert tokenizer.encode("unab zzz").tolist() == [unknown, unknown]
    assert TOKENIZER.tokenize("Unable to") == ["una", "##ble", "to"]
    assert TOKENIZER.encode("").tolist() == TOKENIZER.encode(" \n\x00").tolist() == []


def test_special_tokens_are_found_only_where_they_are_allowed():
    text = "a[MASK] to [SEP]"
    assert not {*TOKENIZER.special_ids.values()} & {*TOKENIZER.encode(text)[:1]}
    assert TOKENIZER.mask_id not in TOKENIZER.encode(text)
    ids = TOKENIZER.encode(text, allowed_special=["[MASK]"])
    assert (ids == TOKENIZER.mask_id).sum() == 1
    assert TOKENIZER.sep_id not in ids
    assert TOKENIZER.encode(text, allowed_special="all").tolist()[-1] == TOKENIZER.sep_id
    with pytest.raises(
        ValueError, match=r"the special token \[MASK\] at position 1 is not allowed"
    ):
        TOKENIZER.encode(text, disallowed_special="all")
    bare = WordPieceTokenizer(["[UNK]", "to", "go"], special_tokens=["[UNK]", "go"])
    assert bare.encode("to go").tolist() == [1, 0]
    assert bare.encode("to go", allowed_special="all").tolist() == [1, 2]
    assert bare.mask_id is None
    added = WordPieceTokenizer(["[UNK]", "to", "go"], special_tokens=[AddedToken("go")])
    assert added.tokenize("to go") == ["to", "go"]


# --- two texts ------------------------------------------------------------------------------------


def test_two_texts_stand_between_special_tokens_with_their_segments():
    pair = TOKENIZER.encode_pair("unable to", "to a")
    names = [TOKENIZER.tokens[i] for i in pair.token_ids]
    assert names == ["[CLS]", "una", "##ble", "to", "[SEP]", "to", "a", "[SEP]"]
    assert pair.segments.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    one = TOKENIZER.encode_pair("a [MASK]", max_length=4, allowed_special=["[MASK]"])
    assert [TOKENIZER.tokens[i] for i in one.token_ids] == ["[CLS]", "a", "[MASK]", "[SEP]"]
    assert one.segments.tolist() == [0] * 4


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 20), st.sampled_from(STRATEGIES))
def test_truncation_leaves_the_room_that_there_is(first, second, room, truncation):
    loses = {"only_first": first, "only_second": second}.get(truncation, first + second)
    if first + second - room > loses:
        with pytest.raises(ValueError, match="too small"):
            kept_lengths(first, second, room, truncation)
        return
    kept = kept_lengths(first, second, room, truncation)
    assert sum(kept) == min(first + second, room)
    assert kept[0] <= first
    assert kept[1] <= second
    if truncation == "longest_first" and sum(kept) < first + second:
        lost = {i for i, size in enumerate((first, second)) if kept[i] < size}
        assert max(kept[i] for i in lost) + 1 >= max(kept)


def test_a_pair_that_has_no_room_or_no_special_tokens_is_refused():
    for options, message in (
        ({"max_length": 1}, "leaves no room"),
        ({"truncation": "last"}, "truncation must be one of longest_first"),
        ({"truncation": "only_second", "max_length": 3}, "there is only one text"),
    ):
        with pytest.raises(ValueError, match=message):
            TOKENIZER.encode_pair("a to", **{"max_length": 3, **options})
    with pytest.raises(ValueError, match="too small"):
        TOKENIZER.encode_pair("a to a", "a", max_length=4, truncation="only_second")
    with pytest.raises(ValueError, match=r"no \[CLS\]"):
        WordPieceTokenizer(["[UNK]"]).encode_pair("a")


# --- decoding -------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, len(VOCABULARY) - 1)))
def test_decoding_joins_what_goes_on_and_puts_blanks_between_words(ids):
    names = [VOCABULARY[i] for i in ids]
    text = " ".join(names).replace(" ##", "")
    assert TOKENIZER.decode(ids) == text


def test_decoding_takes_blanks_before_marks_back():
    tokenizer = WordPieceTokenizer.train(TEXT + " who ? me !", 60)
    assert tokenizer.decode(tokenizer.encode("The cat, the dog. Who?")) == "the cat, the dog. who?"


# --- training -------------------------------------------------------------------------------------


def learned_slowly(words, merges):
    """Count all pairs anew before each merge."""
    spelled = {w: [c if i == 0 else "##" + c for i, c in enumerate(w)] for w in words}
    letters = {c for w in words for c in w}
    names = [*sorted(letters), *sorted({p for w in spelled.values() for p in w} - letters)]
    place = {name: i for i, name in enumerate(names)}
    while merges:
        counts = Counter()
        for word, parts in spelled.items():
            for pair in pairwise(parts):
                counts[pair] += words[word]
        best = min(counts, key=lambda p: (-counts[p], place[p[0]], place[p[1]]), default=None)
        if best is None or counts[best] < 2:
            break
        new = best[0] + best[1].removeprefix("##")
        place.setdefault(new, len(place))
        for word, parts in spelled.items():
            done, i = [], 0
            while i < len(parts):
                hit = tuple(parts[i : i + 2]) == best
                done.append(new if hit else parts[i])
                i += 1 + hit
            spelled[word] = done
        merges -= 1
    return [*place]


@settings(max_examples=60)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=6), st.integers(1, 9), min_size=1))
@example({"aaaa": 3, "aa": 2, "aaa": 1})
def test_the_most_frequent_pair_becomes_a_token(words):
    letters = {c for w in words for c in w}
    smallest = 5 + len(letters) + len({c for w in words for c in w[1:]})
    found = []
    for code in (compiled, plain):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(word_piece_training, "forms", lambda code=code: code)
            patch.setattr(word_piece, "forms", lambda code=code: code)
            text = " ".join(w for word, n in words.items() for w in [word] * n)
            found.append(WordPieceTokenizer.train(text, smallest + 8).tokens)
    assert found[0] == found[1] == [*ROLES.values(), *learned_slowly(words, 8)]


def test_training_says_what_is_too_small_or_empty_and_keeps_to_the_alphabet():
    with pytest.raises(ValueError, match="vocab_size must be at least 11 "):
        WordPieceTokenizer.train("ab cd", 10)
    with pytest.raises(ValueError, match="the text to train on is empty"):
        WordPieceTokenizer.train(" \n", 80)
    limited = WordPieceTokenizer.train("aaa bbb xay", 30, limit_alphabet=2)
    assert not any("x" in name or "y" in name for name in limited.tokens)
    assert len(limited.tokens) == len({*limited.tokens})


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"lowercase": False}, {"strip_accents": False}], ids=str)
def test_a_tokenizer_survives_its_files(tmp_path, how):
    from npgpt.tokenizers.for_transformers import files_for_transformers

    tokenizer = WordPieceTokenizer.train(TEXT + "É 中", 70, **how)
    tokenizer.save(tmp_path / "tokenizer.json")
    for name, content in files_for_transformers(tokenizer).items():
        (tmp_path / name).write_bytes(content)
    found = [tokenizers.load(tmp_path / "tokenizer.json"), tokenizers.load_folder(tmp_path)]
    (tmp_path / "tokenizer.json").unlink()
    found.append(tokenizers.load_folder(tmp_path))  # vocab.txt and the flags beside it
    for loaded in found:
        assert isinstance(loaded, WordPieceTokenizer)
        assert loaded.fingerprint == tokenizer.fingerprint
        assert loaded.tokens == tokenizer.tokens
        assert loaded.special_ids == tokenizer.special_ids


def written(change):
    content = json.loads(TOKENIZER.to_json())
    change(content)
    return content


REFUSED = {
    "its normalizer is 'NFC', not 'BertNormalizer'": lambda c: c.update(normalizer={"type": "NFC"}),
    "its pre_tokenizer is 'Whitespace'": lambda c: c.update(pre_tokenizer={"type": "Whitespace"}),
    "it sets unk_token to '<unk>', not '[UNK]'": lambda c: c["model"].update(unk_token="<unk>"),
    "it sets continuing_subword_prefix to '@@'": lambda c: c["model"].update(
        continuing_subword_prefix="@@"
    ),
    "it sets clean_text to False": lambda c: c["normalizer"].update(clean_text=False),
    "its post_processor is not BERT's": lambda c: c["post_processor"]["single"].pop(),
    "its max_input_chars_per_word is 0": lambda c: c["model"].update(max_input_chars_per_word=0),
    "its lowercase is 3, not true or false": lambda c: c["normalizer"].update(lowercase=3),
    "has the id of another, 0": lambda c: c["model"]["vocab"].update(zz=0),
    "the vocabulary has no '[UNK]'": lambda c: (
        c["model"]["vocab"].pop("[UNK]"), c["added_tokens"].clear()
    ),
    "is to be found in normalized text": lambda c: c["added_tokens"].append(
        {"id": 5, "content": "un", "normalized": True}
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_a_file_that_asks_for_something_else_is_refused_with_what_it_is(tmp_path, message):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(written(REFUSED[message])), encoding="utf-8")
    with pytest.raises(ValueError, match=f"^{path} .*{re.escape(message)}"):
        tokenizers.load(path)
    with pytest.raises(ValueError, match=re.escape(message)):
        tokenizers.load_folder(tmp_path)


def test_truncation_and_padding_of_a_file_are_not_read(tmp_path):
    content = written(lambda c: c.update(truncation={"max_length": 2}, padding={"pad_id": 0}))
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert tokenizers.load_folder(tmp_path).tokenize("to a to a") == ["to", "a", "to", "a"]


def test_of_a_token_that_a_vocabulary_has_twice_the_last_one_counts(tmp_path):
    (tmp_path / "vocab.txt").write_text("[UNK]\nto\na\nto\n", encoding="utf-8")
    tokenizer = tokenizers.load_folder(tmp_path)
    assert tokenizer.encode("to a").tolist() == [3, 2]
    assert tokenizer.decode([1, 2, 3]) == "a to"
    assert tokenizer.vocab_size == 4


# --- what the library made of it ------------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN)
def test_texts_have_the_ids_of_the_library(tmp_path, name):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(GOLDEN[name]["tokenizer"]), encoding="utf-8")
    tokenizer = tokenizers.load(path)
    for text, ids, pair in GOLDEN[name]["texts"]:
        assert tokenizer.encode(text).tolist() == ids
        assert np.array(tokenizer.encode_pair(text, text[::-1], max_length=16)).tolist() == pair
