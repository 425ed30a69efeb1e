"""Special tokens in a text, ids in another order, and fingerprints."""

import pytest

from npgpt import tokenizers
from npgpt.tokenizers import BPETokenizer

NAMES = ("<|endoftext|>", "<|user|>", "<|user|>>")
CHAT = BPETokenizer.train("the sea shells, she sells " * 4, 290, special_tokens=NAMES)
USER, LONGER = CHAT.special_ids["<|user|>"], CHAT.special_ids["<|user|>>"]


def test_special_tokens_come_last_in_the_order_they_were_named():
    assert [*CHAT.special_ids] == [*NAMES]
    assert [*CHAT.special_ids.values()] == [*range(CHAT.vocab_size - 3, CHAT.vocab_size)]
    assert CHAT.end_of_text_id == CHAT.vocab_size - 3
    assert CHAT.bytes_per_token()[-3:].tolist() == [0, 0, 0]
    assert CHAT.decode([USER]) == "<|user|>"


def test_only_the_allowed_ones_are_recognised():
    text = "<|user|>the sea<|endoftext|>"
    plain = CHAT.encode(text)
    assert not {USER, CHAT.end_of_text_id} & set(plain.tolist())
    some = CHAT.encode(text, allowed_special=["<|user|>"])
    assert (some[0], CHAT.end_of_text_id in some) == (USER, False)
    everything = CHAT.encode(text, allowed_special="all").tolist()
    assert everything == [USER, *CHAT.encode("the sea"), CHAT.end_of_text_id]
    assert {CHAT.decode(ids) for ids in (plain, some, everything)} == {text}


def test_of_two_that_begin_the_same_the_longer_is_recognised():
    assert CHAT.encode("<|user|>>", allowed_special="all").tolist() == [LONGER]
    one = CHAT.encode("<|user|>>", allowed_special=["<|user|>"])
    assert one.tolist() == [USER, *CHAT.encode(">")]


def test_those_that_are_refused_are_named_with_their_place():
    with pytest.raises(ValueError, match=r"<\|user\|> at position 4 is not allowed"):
        CHAT.encode("the <|user|>", disallowed_special=["<|user|>"])
    with pytest.raises(ValueError, match=r"<\|user\|> at position 4 is not allowed"):
        CHAT.encode("the <|user|>", ["<|endoftext|>"], "all")
    CHAT.encode("the <|user|>", disallowed_special=["<|endoftext|>"])
    with pytest.raises(ValueError, match=r"special tokens are .*, got <\|pad\|>"):
        CHAT.encode("", disallowed_special=["<|pad|>"])


def test_a_batch_is_each_text_for_itself():
    calls = []
    batch = CHAT.encode_batch(
        ["the sea", "", "<|user|>"], lambda *call: calls.append(call), allowed_special="all"
    )
    assert [ids.tolist() for ids in batch] == [CHAT.encode("the sea").tolist(), [], [USER]]
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("names", [["a"], [""], ["<|x|>", "<|x|>"]])
def test_a_special_token_that_is_a_byte_or_there_twice_is_refused(names):
    with pytest.raises(ValueError, match="special tokens must have names"):
        BPETokenizer([], names)


def test_ids_may_be_in_any_order(tmp_path):
    size = CHAT.vocab_size
    turned = BPETokenizer(CHAT.merges, NAMES, [(i + 3) % size for i in range(size)])
    text = "the sea shells, é"
    assert turned.encode(text).tolist() == ((CHAT.encode(text) + 3) % size).tolist()
    assert turned.decode(turned.encode(text)) == text
    assert turned.end_of_text_id == 0
    assert turned.bytes_per_token()[:3].tolist() == [0, 0, 0]
    turned.save(tmp_path / "tokenizer.json")
    loaded = tokenizers.load(tmp_path / "tokenizer.json")
    assert loaded.encode(text).tolist() == turned.encode(text).tolist()
    assert loaded.fingerprint == turned.fingerprint
    for ids in ([0] * size, range(size - 1), range(1, size + 1)):
        with pytest.raises(ValueError, match="ids must be 0 to"):
            BPETokenizer(CHAT.merges, NAMES, ids)


def test_fingerprints_tell_what_gives_other_ids_apart():
    size = CHAT.vocab_size
    different = [
        CHAT,
        BPETokenizer(CHAT.merges[:-1], NAMES),
        BPETokenizer(CHAT.merges, NAMES[:1]),
        BPETokenizer(CHAT.merges, NAMES[::-1]),
        BPETokenizer(CHAT.merges, NAMES, range(size)[::-1]),
    ]
    assert len({tokenizer.fingerprint for tokenizer in different}) == 5
    assert BPETokenizer(CHAT.merges, NAMES, range(size)).fingerprint == CHAT.fingerprint
