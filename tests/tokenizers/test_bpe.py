"""BPETokenizer: encoding, decoding, and what training promises about them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npgpt.tokenizers import BPETokenizer
from npgpt.tokenizers.bpe import PRE_TOKEN

SEA = (
    "She sells sea shells by the sea shore; the shells she sells are sea shells, I'm sure.\n"
    "We'll see: 100 shells, 200 shells!\n"
)
# What Hugging Face tokenizers 0.23.3 learns from SEA: BpeTrainer(vocab_size=275, min_frequency=2,
# initial_alphabet=ByteLevel.alphabet(), special_tokens=["<|endoftext|>"]); its ids minus 1,
# because it puts <|endoftext|> first.
SEA_MERGES = [
    (b" ", b"s"), (b"h", b"e"), (b"l", b"l"), (b"ll", b"s"), (b" s", b"e"), (b" s", b"he"),
    (b" she", b"lls"), (b"r", b"e"), (b" se", b"a"), (b"0", b"0"), (b"t", b"he"), (b" ", b"the"),
    (b" se", b"lls"),
]  # fmt: skip
SENTENCE = "The sea's shells — 7 naïve\tshells!  日本🙂"
SENTENCE_IDS = [
    51, 257, 264, 6, 82, 262, 220, 158, 222, 242, 220, 22, 220, 77, 64, 127, 107, 85, 68, 197, 82,
    257, 259, 0, 220, 220, 162, 245, 98, 162, 250, 105, 172, 253, 247, 224,
]  # fmt: skip
# The pre-tokens that Hugging Face's ByteLevel(add_prefix_space=False) finds
SPLIT = "I'm  sure it's 100% naïve,\n\n  don't you'LL?\t日本 x² ١٢٣ _a_ \u00a0z  "
PRE_TOKENS = [
    "I", "'m", " ", " sure", " it", "'s", " 100", "%", " naïve", ",", "\n\n ", " don", "'t",
    " you", "'", "LL", "?", "\t", "日本", " x", "²", " ١٢٣", " _", "a", "_", " ", "\u00a0", "z",
    "  ",
]  # fmt: skip


SEA_TOKENIZER = BPETokenizer.train(SEA, vocab_size=275)


@pytest.fixture
def sea():
    return SEA_TOKENIZER


def byte_tokens(tokenizer):
    return {tokenizer.token_bytes(i): i for i in range(256)}


def encode_naively(tokenizer, text):
    """Do every merge in the order of learning, all over the text."""
    tokens, of_byte = [], byte_tokens(tokenizer)
    for pre_token in PRE_TOKEN.findall(text):
        ids = [of_byte[bytes([byte])] for byte in pre_token.encode()]
        for rank, (left, right) in enumerate(tokenizer.merges):
            i = 0
            while i < len(ids) - 1:
                if (ids[i], ids[i + 1]) == (left, right):
                    ids[i : i + 2] = [256 + rank]
                i += 1
        tokens += ids
    return tokens


# --- the vocabulary --------------------------------------------------------------------------


def test_merges_are_those_of_hugging_face(sea):
    merges = [(sea.token_bytes(left), sea.token_bytes(right)) for left, right in sea.merges]
    assert merges == SEA_MERGES


def test_ids_of_a_sentence_are_those_of_hugging_face(sea):
    assert sea.encode(SENTENCE).tolist() == SENTENCE_IDS
    assert sea.decode(SENTENCE_IDS) == SENTENCE


def test_pre_tokens_are_those_of_gpt2():
    assert PRE_TOKEN.findall(SPLIT) == PRE_TOKENS


def test_the_first_256_ids_are_the_bytes_in_the_order_of_gpt2(sea):
    # from GPT-2's encoder.json: "!" 0, "A" 32, "~" 93, "\xa1" 94, "\xff" 187, "\x00" 188,
    # "\n" 198, " " 220, "\x7f" 221, "\xad" 255
    ids = byte_tokens(sea)
    assert len(ids) == 256
    for byte, expected in [
        (b"!", 0), (b"A", 32), (b"~", 93), (b"\xa1", 94), (b"\xff", 187), (b"\x00", 188),
        (b"\n", 198), (b" ", 220), (b"\x7f", 221), (b"\xad", 255),
    ]:  # fmt: skip
        assert ids[byte] == expected


def test_vocabulary_is_bytes_then_merges_then_end_of_text(sea):
    assert sea.vocab_size == 256 + len(SEA_MERGES) + 1
    assert sea.end_of_text_id == sea.vocab_size - 1
    for i, (left, right) in enumerate(SEA_MERGES):
        assert sea.token_bytes(256 + i) == left + right
    assert sea.token_bytes(sea.end_of_text_id) == b"<|endoftext|>"


def test_bytes_per_token_adds_up_to_the_bytes_of_the_text(sea):
    lengths = sea.bytes_per_token()
    assert lengths.shape == (sea.vocab_size,)
    assert lengths[sea.encode(SENTENCE)].sum() == len(SENTENCE.encode())
    assert lengths[sea.end_of_text_id] == 0


@pytest.mark.parametrize("merges", [[(0, 256)], [(-1, 0)], [(0, 1), (300, 0)]])
def test_a_merge_of_tokens_that_are_not_there_is_refused(merges):
    with pytest.raises(ValueError, match="but there are only"):
        BPETokenizer(merges)


# 64, 65, 66 are a, b, c: "abc" can be made as ab + c and as a + bc
@pytest.mark.parametrize("merges", [[(64, 65)] * 2, [(64, 65), (65, 66), (256, 66), (64, 257)]])
def test_a_merge_that_makes_a_token_again_is_refused(merges):
    with pytest.raises(ValueError, match="which is a token already"):
        BPETokenizer(merges)


# --- encoding --------------------------------------------------------------------------------


@settings(max_examples=100)
@given(st.text())
def test_decode_of_encode_is_the_text_for_every_string(text):
    assert SEA_TOKENIZER.decode(SEA_TOKENIZER.encode(text), errors="strict") == text


def test_decode_of_encode_is_the_text_for_every_character_at_once(sea):
    text = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    assert sea.decode(sea.encode(text), errors="strict") == text


@settings(max_examples=100)
@given(st.text("ab c", max_size=40), st.text("ab c", min_size=1, max_size=60))
def test_encoding_does_the_merges_in_the_order_of_learning(text, corpus):
    tokenizer = BPETokenizer.train(corpus, vocab_size=265)
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int64
    assert ids.tolist() == encode_naively(tokenizer, text)


def test_a_stranger_cannot_smuggle_in_end_of_text(sea):
    text = "a<|endoftext|>b"
    ids = sea.encode(text)
    assert sea.end_of_text_id not in ids
    assert sea.decode(ids) == text


@pytest.mark.parametrize("allowed", ["all", ["<|endoftext|>"], {"<|endoftext|>"}])
def test_end_of_text_is_recognised_where_it_is_allowed(sea, allowed):
    ids = sea.encode("<|endoftext|>the sea<|endoftext|>", allowed_special=allowed)
    end = sea.end_of_text_id
    assert ids.tolist() == [end, *sea.encode("the sea"), end]
    assert sea.decode(ids) == "<|endoftext|>the sea<|endoftext|>"


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        (["<|pad|>"], r"only special token is <\|endoftext\|>, got <\|pad\|>"),
        ("<|endoftext|>", 'must be "all" or a collection of names'),
    ],
)
def test_an_unknown_special_token_is_refused(sea, allowed, message):
    with pytest.raises(ValueError, match=message):
        sea.encode("a", allowed_special=allowed)


def test_a_lone_surrogate_is_refused_with_its_place(sea):
    message = r"'\\ud83d' at position 2 is half of a surrogate pair"
    with pytest.raises(ValueError, match=message):
        sea.encode("ab\ud83d")
    with pytest.raises(ValueError, match=message):
        BPETokenizer.train(["fine", "ab\ud83d"], vocab_size=300)


def test_the_empty_text_is_no_ids(sea):
    assert sea.encode("").shape == (0,)
    assert sea.encode("").dtype == np.int64
    assert sea.decode([]) == ""
    assert sea.decode_bytes(np.empty(0, np.int64)) == b""


# --- decoding --------------------------------------------------------------------------------


def test_half_a_character_is_replaced_or_refused_as_asked(sea):
    ids = sea.encode("é")[:1]
    assert sea.decode_bytes(ids) == b"\xc3"
    assert sea.decode(ids) == "\ufffd"
    assert sea.decode(ids, errors="ignore") == ""
    with pytest.raises(UnicodeDecodeError):
        sea.decode(ids, errors="strict")


@given(st.binary(max_size=30))
def test_any_bytes_can_be_written_as_ids(content):
    tokenizer = BPETokenizer([])
    ids = byte_tokens(tokenizer)
    assert tokenizer.decode_bytes(ids[bytes([byte])] for byte in content) == content


def test_an_id_outside_the_vocabulary_is_named_with_its_place(sea):
    for bad in (-1, sea.vocab_size):
        message = rf"id {bad} at position 1 is outside the vocabulary of {sea.vocab_size} tokens"
        with pytest.raises(ValueError, match=message):
            sea.decode([0, bad])
        with pytest.raises(ValueError, match="outside the vocabulary"):
            sea.token_bytes(bad)
