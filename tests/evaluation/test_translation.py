"""Scores of translations."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.evaluation import exact_match, paired_bootstrap, score_translations

REFERENCES = ["the cat sat on the mat", "a dog barks loudly at night", "two birds sing in the tree"]
GOOD = ["the cat sat on a mat", "a dog barks at night", "two birds sing in the tree"]
BAD = ["cat", "the a dog", "tree"]


@given(st.lists(st.tuples(st.text("ab"), st.text("ab")), min_size=1))
def test_exact_match_is_the_share_of_equal_texts(pairs):
    translations, references = zip(*pairs, strict=True)
    expected = np.mean([a == b for a, b in pairs])
    assert exact_match(translations, references) == pytest.approx(expected)
    assert exact_match([f" {t}\n" for t in translations], references) == pytest.approx(expected)


def test_without_sacrebleu_one_sentence_says_what_brings_it(monkeypatch):
    for name in ("sacrebleu", "sacrebleu.metrics", "sacrebleu.significance"):
        monkeypatch.setitem(sys.modules, name, None)
    for attempt in (
        lambda: score_translations(GOOD, REFERENCES),
        lambda: paired_bootstrap({"a": BAD, "b": GOOD}, REFERENCES),
    ):
        with pytest.raises(
            ModuleNotFoundError, match=r"sacreBLEU: pip install 'npgpt\[translate\]'"
        ):
            attempt()


def test_wrong_numbers_of_texts_are_refused():
    with pytest.raises(ValueError, match=r"as many translations as references, .* got 2 and 3"):
        score_translations(GOOD[:2], REFERENCES)
    with pytest.raises(ValueError, match=r"exact_match: .* got 0 and 0"):
        exact_match([], [])
    with pytest.raises(ValueError, match="needs two systems to compare, got 1"):
        paired_bootstrap({"a": GOOD}, REFERENCES)
    with pytest.raises(ValueError, match=r"paired_bootstrap: b: .* got 2 and 3"):
        paired_bootstrap({"a": GOOD, "b": GOOD[:2]}, REFERENCES)


def test_scores_are_sacrebleus_with_their_signatures():
    pytest.importorskip("sacrebleu", reason="BLEU and chrF need the extra 'translate'")
    from sacrebleu import corpus_bleu, corpus_chrf

    bleu, chrf = score_translations(GOOD, REFERENCES)
    assert bleu.score == pytest.approx(corpus_bleu(GOOD, [REFERENCES]).score)
    assert chrf.score == pytest.approx(corpus_chrf(GOOD, [REFERENCES]).score)
    assert bleu.signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert chrf.signature.startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    assert str(bleu) == f"BLEU = {bleu.score:.2f} ({bleu.signature})"
    assert "tok:char" in score_translations(GOOD, REFERENCES, "char")[0].signature


def test_a_better_system_is_told_from_a_worse_one_and_not_from_one_as_good():
    pytest.importorskip("sacrebleu", reason="BLEU and chrF need the extra 'translate'")
    halves = [(GOOD + REFERENCES) * 10, (REFERENCES + GOOD) * 10]
    systems = {"first": halves[0], "as good": halves[1], "worse": BAD * 20}
    scores = paired_bootstrap(systems, REFERENCES * 20, samples=200)
    assert [(s.metric, s.system) for s in scores] == [
        (metric, system) for metric in ("BLEU", "chrF2") for system in systems
    ]
    for first, as_good, worse in (scores[:3], scores[3:]):
        assert first.p_value is None
        assert worse.p_value < 0.05 < as_good.p_value
        assert worse.score < first.score == pytest.approx(as_good.score)
        assert "bs:200" in first.signature
        assert f"p = {worse.p_value:.4f}" in str(worse)
