"""Run folders, checkpoints, evaluation and the plot."""

import dataclasses
import io
import json
import math

import numpy as np
import pytest

from npgpt.data import HeldOutBatches, TokenWindows
from npgpt.optim import OPTIMIZERS
from npgpt.plots.training import plot_loss
from npgpt.runs import Run, TrainingConfig
from npgpt.tokenizers import BPETokenizer
from npgpt.training import evaluate, load_checkpoint, save_checkpoint
from tests.runs.tiny_run import tiny_config


@pytest.fixture
def finished(tmp_path):
    run = Run.create(tmp_path / "run", tiny_config(tmp_path))
    run.trainer().fit()
    return run


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_is_found_again(finished):
    again = Run.open(finished.folder)
    assert again.config == finished.config
    assert again.tokenizer.characters == finished.tokenizer.characters
    model = again.load_model("last")
    assert not model.training
    assert model.generate([0], 5, seed=0).shape == (6,)


def test_a_folder_that_exists_is_not_touched(finished, tmp_path):
    before = contents(finished.folder)
    with pytest.raises(FileExistsError, match=r"exists already; .*--resume"):
        Run.create(finished.folder, tiny_config(tmp_path))
    assert contents(finished.folder) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"short", "has 4 tokens, but a context of 8 needs at least 9"),
        (b"good \xff bad", "is not UTF-8 text: byte 0xff at offset 5"),
        (b"0123456789" * 5, "held-out part of text.txt has 5 tokens"),
    ],
)
def test_a_text_that_cannot_be_learned_from_makes_no_folder(tmp_path, text, message):
    config = tiny_config(tmp_path)
    (tmp_path / "text.txt").write_bytes(text)
    with pytest.raises(ValueError, match=message):
        Run.create(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("name", ["last.safetensors", "best.safetensors"])
def test_a_checkpoint_cut_short_is_refused_and_left_alone(finished, name, share):
    path = finished.folder / name
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    before = contents(finished.folder)
    trainer = finished.trainer()
    with pytest.raises(ValueError, match=f"{name} is not a whole checkpoint"):
        if name.startswith("last"):
            trainer.resume()
        else:
            finished.load_model("best")
    assert contents(finished.folder) == before


def test_a_checkpoint_of_another_model_is_refused(finished, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    run = Run.create(other / "run", tiny_config(other, d_model=8))
    trainer = run.trainer()
    last = finished.folder / "last.safetensors"
    (run.folder / "last.safetensors").write_bytes(last.read_bytes())
    with pytest.raises(
        ValueError, match=r"does not fit this run: .*token_embedding.weight has shape"
    ):
        trainer.resume()


def test_a_text_that_changed_is_refused(finished, tmp_path):
    (tmp_path / "text.txt").write_text("another text " * 50, encoding="utf-8")
    with pytest.raises(ValueError, match=r"not the one that .* was trained on"):
        _ = Run.open(finished.folder).corpus


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"training": {"depth": 3}}'])
def test_a_damaged_config_is_refused(finished, content):
    (finished.folder / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.json is not a whole run config"):
        Run.open(finished.folder)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not a run: there is no config\.json in it"):
        Run.open(tmp_path)


def test_a_checkpoint_holds_arrays_and_state(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array(7)}
    save_checkpoint(tmp_path / "c", arrays, {"step": 3, "loss": math.inf})
    loaded, state = load_checkpoint(tmp_path / "c")
    np.testing.assert_array_equal(loaded["a"], arrays["a"])
    assert loaded["b"] == 7
    assert state == {"step": 3, "loss": math.inf}
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        load_checkpoint(tmp_path / "d")


def test_a_failed_save_keeps_the_old_checkpoint(tmp_path):
    path = tmp_path / "c"
    save_checkpoint(path, {"a": np.ones(3)}, {})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_checkpoint(path, {"a": np.zeros(3)}, {"not json": object()})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_an_evaluation_is_the_mean_over_all_tokens_and_counts_bytes(finished):
    model = finished.load_model()
    ids = finished.tokenizer.encode("the cat sat on the mat, and the dog ")
    windows = TokenWindows(ids, 8)
    lengths = finished.tokenizer.bytes_per_token()
    whole = evaluate(model, [windows.batch(range(4))], lengths)
    in_parts = evaluate(model, HeldOutBatches(windows, 3), lengths)  # batches of 3 and 1 windows
    assert abs(whole.loss - in_parts.loss) < 1e-6
    assert whole.tokens == in_parts.tokens == 32
    assert whole.num_bytes == 32
    assert abs(whole.bits_per_byte - whole.loss / math.log(2)) < 1e-12
    assert abs(whole.perplexity - math.exp(whole.loss)) < 1e-12
    with pytest.raises(ValueError, match="no target"):
        evaluate(model, [])


def test_the_plot_is_a_png(finished):
    path = finished.folder / "loss.png"
    plot_loss(finished.metrics, path, "a run")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_metrics_are_json_lines(finished):
    lines = (finished.folder / "metrics.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds.count("step") == 12
    assert kinds.count("evaluation") == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"tokenizer": "words"},
            "tokenizer must be one of bpe, char, word, wordpiece, gpt2, or the path",
        ),
        ({"lr": -1.0}, "lr must be at least 0"),
        ({"lr": 1e-3, "min_lr": 1e-2}, "0 <= min_lr <= lr"),
        ({"steps": 0}, "steps must be a positive integer, got 0"),
        ({"warmup_steps": 700}, "warmup_steps must not exceed steps"),
        ({"validation_fraction": 1.0}, "validation_fraction must be above 0 and below 1"),
        ({"clip_norm": -1.0}, "clip_norm must be at least 0"),
        ({"beta2": 1.0}, "beta2 must be at least 0 and below 1"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
        ({"optimizer": "lion"}, "optimizer must be one of adamw, adam, sgd, got 'lion'"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov needs a momentum above 0"),
        ({"schedule": "step"}, "schedule must be one of cosine, constant, linear"),
        ({"schedule": "wsd", "decay_steps": 590}, "decay_steps together must not exceed steps"),
        ({"d_model": 100, "n_heads": 3}, "n_heads must divide d_model"),
    ],
)
def test_a_config_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**{"steps": 600, **change})


def test_a_run_on_standard_input_keeps_its_text(tmp_path, monkeypatch):
    text = "the cat sat on the mat; naïve\r\n" * 20
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    run = Run.create(tmp_path / "run", tiny_config(tmp_path, corpus="-"))
    again = Run.open(tmp_path / "run")
    assert again.corpus.documents == [text]
    assert again.corpus.fingerprint == run.corpus_fingerprint


def test_files_of_nanogpt_are_trained_on_with_a_tokenizer_that_is_named(tmp_path):
    tokenizer = BPETokenizer.train("the cat sat on the mat " * 5, 270)
    ids = tokenizer.encode("the cat sat on the mat " * 60).astype("<u2")
    (tmp_path / "tokens").mkdir()
    for name in ("train.bin", "val.bin"):
        ids.tofile(tmp_path / "tokens" / name)
    config = tiny_config(tmp_path, corpus=str(tmp_path / "tokens"), tokenizer="bpe")
    with pytest.raises(ValueError, match=r"come without tokenizer\.json; name the tokenizer"):
        Run.create(tmp_path / "run", config)
    tokenizer.save(tmp_path / "mine.json")
    config = dataclasses.replace(config, tokenizer=str(tmp_path / "mine.json"))
    run = Run.create(tmp_path / "run", config)
    assert run.tokenizer.merges == tokenizer.merges
    assert isinstance(run.windows[0].ids, np.memmap)
    assert Run.open(tmp_path / "run").corpus.fingerprint == run.corpus_fingerprint
    np.append(ids, ids[:1]).tofile(tmp_path / "tokens" / "train.bin")
    with pytest.raises(ValueError, match="SHA-256 differs"):
        Run.open(tmp_path / "run").corpus  # noqa: B018
    BPETokenizer([]).save(tmp_path / "mine.json")
    with pytest.raises(ValueError, match="but the tokenizer has 257 tokens: it was made with"):
        Run.create(tmp_path / "other", config)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_with_any_optimiser_goes_on_bit_for_bit(optimizer, tmp_path):
    config = tiny_config(
        tmp_path, optimizer=optimizer, schedule="wsd", warmup_steps=2, decay_steps=4, min_lr=0.0
    )
    whole = Run.create(tmp_path / "whole", config).trainer()
    whole.fit()
    rates = [line["lr"] for line in Run.open(tmp_path / "whole").metrics if line["kind"] == "step"]
    third = 1e-2 / 3
    assert rates == pytest.approx([third, 2 * third, *[1e-2] * 7, 7.5e-3, 5e-3, 2.5e-3])
    half = Run.create(tmp_path / "half", config).trainer()
    half.steps = 8
    half.fit()
    rest = Run.open(tmp_path / "half").trainer()
    rest.resume()
    rest.fit()
    for name, array in (whole.model.state_dict() | whole.optimizer.state_dict()).items():
        again = (rest.model.state_dict() | rest.optimizer.state_dict())[name]
        np.testing.assert_array_equal(again, array)
