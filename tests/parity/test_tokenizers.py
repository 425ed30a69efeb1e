"""Against tiktoken and Hugging Face's tokenizers, whose ids and merges must be the same."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings

from npgpt.data import load_corpus
from npgpt.tokenizers import BPETokenizer, GPT2Tokenizer, load
from npgpt.tokenizers.byte_alphabet import BYTE_TO_CHARACTER, to_characters
from tests.tokenizers.gpt2_files import gpt2_folder
from tests.tokenizers.strategies import TEXTS, WITH_SURROGATES

tiktoken = pytest.importorskip("tiktoken")
huggingface = pytest.importorskip("tokenizers")
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
SHAKESPEARE = Path(__file__).parents[3] / "shared" / "data" / "tinyshakespeare.txt"


@pytest.fixture(scope="module")
def ours():
    return GPT2Tokenizer.from_pretrained(gpt2_folder())


@pytest.fixture(scope="module")
def theirs():
    """tiktoken's "gpt2", whose vocabulary it would fetch from the network."""
    bytes_of = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}
    names = json.loads((gpt2_folder() / "encoder.json").read_text(encoding="utf-8"))
    end = names.pop("<|endoftext|>")
    return tiktoken.Encoding(
        "gpt2",
        pat_str=PATTERN,
        mergeable_ranks={bytes(bytes_of[c] for c in name): i for name, i in names.items()},
        special_tokens={"<|endoftext|>": end},
        explicit_n_vocab=50257,
    )


@settings(max_examples=1000)
@given(TEXTS)
def test_ids_of_any_text_are_tiktokens(ours, theirs, text):
    assert ours.encode(text).tolist() == theirs.encode_ordinary(text)
    special = theirs.encode(text, allowed_special="all")
    assert ours.encode(text, allowed_special="all").tolist() == special


@settings(max_examples=200)
@given(WITH_SURROGATES)
def test_ids_of_lone_surrogates_are_tiktokens_when_they_are_replaced(ours, theirs, text):
    assert ours.encode(text, errors="replace").tolist() == theirs.encode_ordinary(text)


def test_every_code_point_in_every_surrounding_has_tiktokens_ids(ours, theirs):
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for between in ("a", "1 ", "!\n "):
        text = between.join(points)
        assert ours.encode(text).tolist() == theirs.encode_ordinary(text)


@pytest.mark.parametrize("corpus", ["python-docs", "python-source", SHAKESPEARE])
def test_ids_of_whole_corpora_are_tiktokens(ours, theirs, corpus):
    if corpus == SHAKESPEARE and not SHAKESPEARE.exists():
        pytest.skip("tinyshakespeare is not there")
    for document in load_corpus(corpus).documents:
        assert ours.encode(document).tolist() == theirs.encode_ordinary(document)


def test_a_special_token_that_is_not_allowed_is_refused_by_both(ours, theirs):
    for tokenizer in (ours, theirs):
        with pytest.raises(ValueError, match="endoftext"):
            tokenizer.encode("<|endoftext|>", disallowed_special="all")


def trained_by_huggingface(text, vocab_size, special=("<|endoftext|>",)):
    byte_level = huggingface.pre_tokenizers.ByteLevel
    tokenizer = huggingface.Tokenizer(huggingface.models.BPE())
    tokenizer.pre_tokenizer = byte_level(add_prefix_space=False)
    tokenizer.decoder = huggingface.decoders.ByteLevel()
    trainer = huggingface.trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=2, initial_alphabet=byte_level.alphabet(),
        special_tokens=[*special], show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def corpus_text():
    if SHAKESPEARE.exists():
        return SHAKESPEARE.read_text(encoding="utf-8")
    return "\n".join(load_corpus("python-docs").documents)


@pytest.mark.parametrize("vocab_size", [1024, 4096])
def test_merges_are_those_of_huggingface(vocab_size):
    text = corpus_text()
    expected = json.loads(trained_by_huggingface(text, vocab_size).to_str())["model"]["merges"]
    tokenizer = BPETokenizer.train(text, vocab_size)
    names = [to_characters(token) for token in tokenizer._tokens]
    assert [[names[left], names[right]] for left, right in tokenizer.merges] == expected


@settings(max_examples=100)
@given(TEXTS)
def test_huggingface_reads_our_file_and_we_read_its(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp()
    if not (folder / "theirs.json").exists():
        corpus = corpus_text()[:50_000]
        BPETokenizer.train(corpus, 600).save(folder / "ours.json")
        theirs = trained_by_huggingface(corpus, 600, ["<|endoftext|>", "<|user|>"])
        theirs.save(str(folder / "theirs.json"))
    for name in ("ours.json", "theirs.json"):
        theirs = huggingface.Tokenizer.from_file(str(folder / name))
        ours = load(folder / name)
        assert ours.vocab_size == theirs.get_vocab_size()
        ids = ours.encode(text, allowed_special="all")
        assert ids.tolist() == theirs.encode(text).ids
        assert ours.special_ids.keys() <= theirs.get_vocab().keys()
