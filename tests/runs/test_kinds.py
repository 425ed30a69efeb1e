"""What a run folder is: written in it, known of old ones, refused where it is another."""

import dataclasses
import json

import numpy as np
import pytest

from npgpt.data import encode_documents, load_corpus, split_corpus, write_token_folder
from npgpt.data.streams import StreamedCorpus
from npgpt.models import GPTForClassification
from npgpt.runs import (
    DataConfig,
    FineTuningRun,
    PretrainingRun,
    Run,
    TranslationRun,
    open_model,
)
from npgpt.runs.run import KINDS
from npgpt.runs.source import open_source
from npgpt.tokenizers import BPETokenizer
from tests.hub.folders import saved
from tests.runs.test_finetuning import base, config_for  # noqa: F401
from tests.runs.tiny_run import TEXT, tiny_config, tiny_pairs_config


@pytest.fixture
def runs(tmp_path, base):  # noqa: F811
    """A folder of each kind."""
    pretraining = Run.create(tmp_path / "training", tiny_config(tmp_path, steps=2, eval_every=2))
    tuning = Run.create(tmp_path / "finetuning", config_for(tmp_path, base, "classify", epochs=1))
    translating = Run.create(tmp_path / "translation", tiny_pairs_config(tmp_path))
    return {"training": pretraining, "finetuning": tuning, "translation": translating}


def settings_of(run):
    return json.loads((run.folder / "config.json").read_text(encoding="utf-8"))


def facts(run):
    """All that a run is apart from its tokenizer, which has no equality."""
    fields = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
    return fields | {"tokenizer": run.tokenizer.fingerprint}


def test_a_folder_says_of_which_kind_it_is(runs):
    classes = {
        "training": PretrainingRun,
        "finetuning": FineTuningRun,
        "translation": TranslationRun,
    }
    assert classes == KINDS
    for kind, run in runs.items():
        assert settings_of(run)["kind"] == kind
        assert type(run) is type(Run.open(run.folder)) is type(classes[kind].open(run.folder))
        assert facts(Run.open(run.folder)) == facts(run)


def test_a_folder_of_an_earlier_version_is_known_by_its_keys(runs):
    for kind, run in runs.items():
        settings = settings_of(run)
        del settings["kind"]
        (run.folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
        assert type(Run.open(run.folder)) is KINDS[kind]
        assert facts(Run.open(run.folder)) == facts(run)


def test_a_run_of_another_kind_is_refused_and_said_to_be_one(runs):
    with pytest.raises(ValueError, match="not a run of npgpt train, but of npgpt finetune"):
        PretrainingRun.open(runs["finetuning"].folder)
    with pytest.raises(ValueError, match="is not a fine-tuned model; npgpt finetune makes one"):
        FineTuningRun.open(runs["training"].folder)
    for kind in ("distilling", 7, None, ["training"]):
        run = runs["finetuning"]
        settings = {"kind": kind} if kind != 7 else {"kind": 7, "a": 1}
        (run.folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
        with pytest.raises(ValueError, match=r"config\.json is not a whole run config"):
            Run.open(run.folder)


def test_an_opened_model_knows_its_kind(runs, tmp_path, base):  # noqa: F811
    runs["training"].trainer().fit()
    run = Run.create(tmp_path / "instruct", config_for(tmp_path, base, "instruct", epochs=1))
    run.trainer().fit()
    saved(tmp_path / "hf")
    kinds = {name: open_model(tmp_path / name) for name in ("training", "instruct", "hf")}
    assert {name: opened.kind for name, opened in kinds.items()} == {
        "training": "training", "instruct": "finetuning", "hf": "pretrained"
    }  # fmt: skip
    assert [opened.run and opened.run.template for opened in kinds.values()] == [None, "chat", None]
    assert kinds["hf"].run is None


def test_what_a_loss_is_the_mean_over(runs):
    assert runs["training"].item == "token"
    assert runs["finetuning"].item == "text"
    assert runs["translation"].item == "token"
    assert isinstance(runs["finetuning"].new_model(), GPTForClassification)


# --- sources --------------------------------------------------------------------------------------


def test_a_text_and_its_token_files_are_the_same_source(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    tokenizer = BPETokenizer.train(TEXT, 280)
    tokenizer.save(tmp_path / "bpe.json")
    write_token_folder(tmp_path / "tokens", StreamedCorpus(tmp_path / "text.txt"), tokenizer)
    text = DataConfig(str(tmp_path / "text.txt"), str(tmp_path / "bpe.json"))
    parts = []
    for config in (text, DataConfig(str(tmp_path / "tokens"))):
        source = open_source(config)
        found = source.tokenizer(config)
        assert found.fingerprint == tokenizer.fingerprint
        assert source.keep(tmp_path / "run") == config.corpus
        assert len(source.fingerprint) == 64
        parts.append(source.ids(found))
    for ours, theirs in zip(*parts, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    corpus = load_corpus(tmp_path / "text.txt")
    train, held_out = (encode_documents(part, tokenizer) for part in split_corpus(corpus))
    np.testing.assert_array_equal(parts[0][0], train)
    whole, nothing = open_source(text, whole=True).ids(tokenizer)
    assert len(nothing) == 0
    assert abs(len(whole) - len(train) - len(held_out)) <= 1  # a token may have been cut in two


def test_what_a_kind_of_run_must_define_says_so(runs):
    class Another(Run):
        """A run of nothing."""

    run = Another(*[getattr(runs["training"], field.name) for field in dataclasses.fields(Another)])
    for name in ("new_model", "trainer"):
        with pytest.raises(
            TypeError, match=f"^Another has no {name}; a kind of run must define it"
        ):
            getattr(run, name)()
