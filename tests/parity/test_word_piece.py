"""WordPiece against Hugging Face's tokenizers and transformers: ids, files, trained vocabularies."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npgpt.data import load_corpus
from npgpt.tokenizers import WordPieceTokenizer, load, load_folder
from npgpt.tokenizers.for_transformers import files_for_transformers
from npgpt.tokenizers.word_piece_file import ROLES
from tests.tokenizers.strategies import TEXTS
from tests.tokenizers.test_word_piece import HARD

huggingface = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")
MIXED = st.lists(TEXTS | HARD | st.sampled_from(["[MASK]", "[mask]", "[SEP]"])).map("".join)
FLAGS = [(True, None), (False, None), (True, False), (False, True)]


@pytest.fixture(scope="module")
def corpus():
    return "\n".join(load_corpus("python-docs").documents)


def theirs_of(ours, folder):
    """Let the library read what we write; special tokens are not looked for."""
    ours.save(folder / "ours.json")
    theirs = huggingface.Tokenizer.from_file(str(folder / "ours.json"))
    theirs.encode_special_tokens = True
    return theirs


@pytest.mark.slow
@pytest.mark.parametrize(("low", "strip"), FLAGS)
def test_ids_of_drawn_texts_and_of_every_code_point_are_the_librarys(corpus, tmp_path, low, strip):
    ours = WordPieceTokenizer.train(corpus + "é中ᄒ##", 2000, lowercase=low, strip_accents=strip)
    theirs = theirs_of(ours, tmp_path)

    @settings(max_examples=1000 if strip is None else 100)
    @given(MIXED)
    def same(text):
        ids = ours.encode(text)
        assert ids.tolist() == theirs.encode(text, add_special_tokens=False).ids
        assert ours.decode(ids) == theirs.decode(ids.tolist(), skip_special_tokens=False)

    same()
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for between in ("a", ".é ") if strip is None else ("a",):
        for start in range(0, len(points), 1000):  # small enough for both of our ways
            text = between.join(points[start : start + 1000])
            assert ours.encode(text).tolist() == theirs.encode(text, add_special_tokens=False).ids


@settings(max_examples=50)
@given(MIXED, MIXED, st.integers(3, 20))
def test_pairs_and_their_truncation_are_the_librarys(first, second, length):
    ours = WordPieceTokenizer([*ROLES.values(), *"abcdefghij", *"'.,_-0123"])
    theirs = huggingface.Tokenizer.from_str(ours.to_json())
    theirs.enable_truncation(length)
    expected = theirs.encode(first, second)
    pair = ours.encode_pair(first, second, length, allowed_special="all")
    assert [*map(list, pair)] == [expected.ids, expected.type_ids]


def trained_by_the_library(texts, vocab_size):
    tokenizer = huggingface.Tokenizer(huggingface.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = huggingface.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = huggingface.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = huggingface.decoders.WordPiece()
    trainer = huggingface.trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=[*ROLES.values()],
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@pytest.mark.slow
@pytest.mark.parametrize("vocab_size", [1000, 3000])
def test_a_trained_vocabulary_is_almost_the_librarys(corpus, vocab_size):
    theirs = trained_by_the_library([corpus], vocab_size)
    ours = WordPieceTokenizer.train(corpus, vocab_size)
    names = {*ours.tokens}
    common = len(names & theirs.get_vocab().keys()) / len(names | theirs.get_vocab().keys())
    lengths = len(ours.encode(corpus)), len(theirs.encode(corpus).ids)
    assert len(names) == vocab_size
    assert common >= 0.99
    assert abs(lengths[0] / lengths[1] - 1) < 0.005


CATS = "The cat sat on the mat. Unaffable élan. [MASK] low lower lowest 中文 "


@pytest.mark.parametrize("lower", [True, False])
def test_transformers_reads_our_folder_and_we_read_its(tmp_path, lower):
    ours = WordPieceTokenizer.train(CATS * 3, 90, lowercase=lower)
    for name, content in files_for_transformers(ours).items():
        (tmp_path / name).write_bytes(content)
    readers = [
        transformers.AutoTokenizer.from_pretrained(tmp_path),
        transformers.BertTokenizerFast.from_pretrained(tmp_path),
    ]
    assert all(isinstance(theirs, transformers.BertTokenizerFast) for theirs in readers)

    @settings(max_examples=100)
    @given(MIXED | st.text("thecasonlwrESMA[]#. "), st.text("the cat", min_size=1, max_size=9))
    def same(first, second):
        pair = ours.encode_pair(first, second, allowed_special="all")
        for theirs in readers:
            found = theirs(first, second)
            assert found["input_ids"] == pair.token_ids.tolist()
            assert found["token_type_ids"] == pair.segments.tolist()

    same()
    assert readers[0].mask_token_id == ours.mask_id
    readers[0].save_pretrained(tmp_path / "again")
    assert load_folder(tmp_path / "again").fingerprint == ours.fingerprint


def test_we_read_the_librarys_file(tmp_path):
    theirs = trained_by_the_library([CATS * 3], 80)
    theirs.save(str(tmp_path / "theirs.json"))
    ids = load(tmp_path / "theirs.json").encode(CATS).tolist()
    theirs.encode_special_tokens = True
    assert ids == theirs.encode(CATS).ids
