"""Pairs are held out by the hash of their source."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.data.pairs import Pair, PairCorpus, split_pairs
from npgpt.data.pairs.corpus import is_held_out, key_of

WORDS = st.text("abcA \u00e4", min_size=1, max_size=3)
CORPORA = st.lists(st.tuples(WORDS, WORDS), min_size=20, max_size=30).map(
    lambda pairs: PairCorpus("drawn", [Pair(*pair) for pair in pairs])
)


@given(CORPORA, st.floats(0.2, 0.8))
def test_no_source_is_in_both_parts_and_no_pair_is_lost(corpus, fraction):
    try:
        parts = split_pairs(corpus, fraction)
    except ValueError:
        return  # of few sources all may be in one part
    assert not {key_of(p) for p in parts.train} & {key_of(p) for p in parts.held_out}
    assert {*parts.train, *parts.held_out} == {*corpus.pairs}
    assert len({*parts.held_out}) == len(parts.held_out)
    assert all(is_held_out(key_of(p), fraction) for p in parts.held_out)


@given(CORPORA)
def test_a_pairs_part_depends_on_its_source_alone(corpus):
    try:
        parts = split_pairs(corpus, 0.5)
        fewer = split_pairs(PairCorpus("fewer", corpus.pairs[::-2]), 0.5)
    except ValueError:
        return
    assert {*fewer.train} <= {*parts.train}
    assert {*fewer.held_out} <= {*parts.held_out}


def test_about_as_many_are_held_out_as_are_asked_for():
    pairs = [Pair(f"sentence {i}", "x") for i in range(4000)]
    parts = split_pairs(PairCorpus("many", pairs), 0.1)
    assert 320 < len(parts.held_out) < 480
    assert (
        str(parts)
        == f"many: {len(parts.train):,} pairs to train on, {len(parts.held_out)} held out"
    )
    assert repr(parts) == f"PairParts({parts})"


def test_some_of_what_is_held_out_are_spread_evenly():
    parts = split_pairs(PairCorpus("many", [Pair(f"s{i}", "x") for i in range(200)]), 0.5)
    some = parts.some_held_out(10)
    places = [parts.held_out.index(pair) for pair in some]
    assert len(some) == 10
    assert len({*np.diff(places)}) <= 2
    assert parts.some_held_out(0) == parts.some_held_out(10**6) == parts.held_out


def test_a_corpus_can_be_learned_backwards_with_the_same_split():
    corpus = PairCorpus("some", [Pair(f"s{i}", f"t{i}") for i in range(50)])
    there, back = split_pairs(corpus), split_pairs(corpus.swapped())
    assert [(p.target, p.source) for p in there.held_out] == [p[:2] for p in back.held_out]


@pytest.mark.parametrize(
    ("fraction", "message"),
    [
        (
            1e-9,
            "few: of 2 pairs none is held out with a validation_fraction of 1e-09; choose another",
        ),
        (0.999999, "few: of 2 pairs none is left to train on"),
        (0.0, "validation_fraction must be above 0 and below 1, got 0"),
        (1.0, "validation_fraction must be above 0 and below 1, got 1"),
    ],
)
def test_an_empty_part_is_an_error(fraction, message):
    with pytest.raises(ValueError, match=message):
        split_pairs(PairCorpus("few", [Pair("a", "b"), Pair("c", "d")]), fraction)
