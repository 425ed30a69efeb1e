"""Special tokens in a text, ids in another order, and fingerprints."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    for ids in ([0] * size, range(size - 1), range(-1, size - 1), [*range(size - 1), 2**20]):
        with pytest.raises(ValueError, match=f"ids must be {size}, one for each token"):
            BPETokenizer(CHAT.merges, NAMES, ids)


@given(st.lists(st.integers(0, 3), min_size=CHAT.vocab_size, max_size=CHAT.vocab_size))
def test_ids_between_those_of_tokens_stand_for_nothing(steps):
    ids = [int(i) for i in np.cumsum(np.array(steps) + 1) - 1]
    apart = BPETokenizer(CHAT.merges, NAMES, ids)
    assert apart.vocab_size == ids[-1] + 1
    assert sorted([*apart.unused_ids, *ids]) == list(range(apart.vocab_size))
    text = "the sea shells, é <|user|>"
    encoded = apart.encode(text, allowed_special="all")
    assert encoded.tolist() == [ids[i] for i in CHAT.encode(text, allowed_special="all")]
    assert apart.decode([*encoded, *apart.unused_ids]) == text
    assert not apart.bytes_per_token()[[*apart.unused_ids]].any()
    again = BPETokenizer.from_dict(json.loads(apart.to_json()))
    assert again.fingerprint == apart.fingerprint
    assert again.unused_ids == apart.unused_ids
    if apart.unused_ids:
        with pytest.raises(ValueError, match="template's id"):
            BPETokenizer(CHAT.merges, NAMES, ids, [apart.unused_ids[0], None])


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
