"""Runs that learn pairs: what they keep, stopped and resumed, refused in a sentence."""

import pytest

from npgpt.generation import translate_texts
from npgpt.models import MODELS
from npgpt.models.sequence_to_sequence import translators
from npgpt.runs import (
    FineTuningRun,
    PairsConfig,
    PretrainingRun,
    Run,
    TranslationConfig,
    TranslationRun,
    open_model,
)
from npgpt.training import load_checkpoint
from npgpt.training.trainer import LAST
from tests.runs.tiny_run import tiny_pairs_config
from tests.training.test_trainer import StopAt, assert_same_weights, losses, weights


def run_in(folder, model="transformer", **changes):
    folder.mkdir(exist_ok=True)
    return Run.create(folder / "run", tiny_pairs_config(folder, model, **changes))


def trained(run, *callbacks):
    trainer = run.trainer(callbacks)
    trainer.fit()
    return trainer


@pytest.mark.parametrize(
    ("model", "stop", "changes"),
    [
        ("transformer", 5, {"grad_accumulation": 2}),
        ("rnn", 4, {"batch_size": 6}),
        ("rnn-attention", 7, {"tokenizer": "joint", "vocab_size": 270, "context_length": 20}),
    ],
)
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path, model, stop, changes):
    whole = run_in(tmp_path / "whole", model, **changes)
    uninterrupted = trained(whole)
    parts = run_in(tmp_path / "parts", model, **changes)
    assert trained(parts, StopAt(stop)).state.step == stop
    rest = Run.open(parts.folder).trainer()
    rest.resume()
    rest.fit()
    assert_same_weights(weights(uninterrupted), weights(rest))
    assert losses(whole) == losses(parts)
    ours, theirs = (load_checkpoint(run.folder / LAST) for run in (whole, parts))
    assert_same_weights(ours[0], theirs[0])
    assert ours[1] == theirs[1]


def test_a_run_that_is_opened_is_the_one_that_was_made(tmp_path):
    run = run_in(tmp_path, steps=2, eval_every=2)
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "config.json", "source-tokenizer.json", "target-tokenizer.json"
    ]  # fmt: skip
    trainer = trained(run)
    opened = Run.open(run.folder)
    assert isinstance(opened, TranslationRun)
    assert opened.config == run.config
    assert opened.tokenizer.fingerprint == run.tokenizer.fingerprint
    pairs = run.some_held_out(3)
    assert [*pairs] == opened.some_held_out(3)
    assert not {pair.source for pair in pairs} & {pair.source for pair in run.parts.train}
    sources = [pair.source for pair in pairs]
    found = [
        [best.text for (best,) in translate_texts(model, run.tokenizer, sources, max_new_tokens=9)]
        for model in (trainer.model.eval(), opened.load_translator("last"))
    ]
    assert found[0] == found[1]


def test_texts_are_translated_in_their_order_whatever_is_translated_beside_them(tmp_path):
    run = run_in(tmp_path)
    model = run.new_model().eval()
    texts = ["owl 7", "o", "two 33", "two 3", "ow"]
    options = {"max_new_tokens": 7, "num_beams": 2, "num_best": 2}
    done = []
    found = translate_texts(
        model, run.tokenizer, texts, batch_size=2, on_batch=lambda *at: done.append(at), **options
    )
    assert done == [(2, 5), (4, 5), (5, 5)]
    for text, of_one in zip(texts, found, strict=True):
        ((*alone,),) = translate_texts(model, run.tokenizer, [text], **options)
        assert [best.text for best in of_one] == [best.text for best in alone]
        assert of_one[0].score == pytest.approx(alone[0].score, rel=1e-5)
        assert of_one[0].score >= of_one[1].score
        assert run.tokenizer.source.decode(of_one[0].source_ids[:-1]) == text


@pytest.mark.slow
def test_the_scores_of_a_built_in_task_are_its_exact_match(tmp_path):
    config = TranslationConfig(
        "rnn", pairs="reverse", n_layers=1, d_model=4, steps=1, eval_batches=1, batch_tokens=200
    )
    run = Run.create(tmp_path / "run", config)
    trainer = run.trainer()
    assert trainer.scores() == {"exact match": 0.0}
    assert run.corpus.built_in
    assert {len(pair.source) for pair in run.held_out} >= {26, 35}


def test_settings_of_pairs_follow_from_the_pairs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert TranslationConfig().tokenizer == "char"
    assert not TranslationConfig().share_embeddings
    assert TranslationConfig(pairs="gettext:de").share_embeddings
    assert PairsConfig("a.tsv").tokenizer == "joint"
    (tmp_path / "dates").write_text("")
    assert PairsConfig("dates").tokenizer == "joint"
    assert TranslationConfig.from_dict(TranslationConfig("rnn").to_dict()) == TranslationConfig(
        "rnn"
    )
    assert {*translators()} >= {"transformer", "rnn", "rnn-attention"}
    assert TranslationConfig("rnn").family is MODELS["rnn-encoder-decoder"]
    for settings, message in (
        ({"tokenizer": "separate", "share_embeddings": True}, "one vocabulary for both sides"),
        ({"tokenizer": "bpe"}, "tokenizer must be one of joint, separate, char"),
        ({"validation_fraction": 1.0}, "validation_fraction must be above 0 and below 1"),
        ({"corpus": "a.txt"}, "no field is named 'corpus'"),
        ({"model": "gpt"}, "model must be one of .*transformer.*, got 'gpt'"),
        ({"model": "rnn", "recompute": True}, "'rnn-encoder-decoder' cannot do it"),
    ):
        with pytest.raises(ValueError, match=message):
            TranslationConfig(**settings)


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        (b"one\teins\ntwo  zwei\n", {}, r"pairs\.tsv, line 2: there is no tab"),
        (b"one\teins\n\tzwei\n", {}, r"pairs\.tsv, line 2: the source is empty"),
        (b"one\teins\ntwo\t \n", {}, r"pairs\.tsv, line 2: the target is empty"),
        (b"one\teins\ntw\xff\tzwei\n", {}, r"pairs\.tsv, line 2 is not UTF-8"),
        (b"one\teins\n", {}, "1 pairs none"),
        (None, {"context_length": 3}, "fits into a context of 3 tokens"),
        (None, {"batch_tokens": 5}, "more than the 5 of a batch"),
    ],
)
def test_pairs_that_cannot_be_learned_are_refused_and_nothing_is_written(
    tmp_path, content, changes, message
):
    config = tiny_pairs_config(tmp_path, **changes)
    if content is not None:
        (tmp_path / "pairs.tsv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        Run.create(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_a_catalogue_that_is_cut_in_the_middle_is_refused(tmp_path):
    path = tmp_path / "cut.mo"
    path.write_bytes(b"\xde\x12\x04\x95" + b"\0" * 9)
    with pytest.raises(ValueError, match=r"cut\.mo"):
        Run.create(tmp_path / "run", tiny_pairs_config(tmp_path, pairs=str(path)))
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_go_on_with_other_pairs(tmp_path):
    run = run_in(tmp_path)
    with open(tmp_path / "pairs.tsv", "a", encoding="utf-8") as file:
        file.write("one\tmore\n")
    with pytest.raises(ValueError, match=r"are not those that .* was begun with"):
        Run.open(run.folder).trainer()


def test_what_asks_for_another_kind_of_run_is_sent_to_npgpt_translate(tmp_path):
    run = run_in(tmp_path, steps=1)
    trained(run)
    for ask in (open_model, PretrainingRun.open, FineTuningRun.open):
        with pytest.raises(ValueError, match=r"translates, .* npgpt translate asks it"):
            ask(run.folder)
