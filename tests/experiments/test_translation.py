"""Translators beside each other."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from npgpt.cli import app
from npgpt.experiments import compare_translators
from npgpt.experiments.translation import BINS, _bins, compare_scores
from npgpt.plots.translation import plot_translators
from tests.runs.tiny_run import tiny_pairs_config


def test_models_learn_from_the_same_pairs_and_are_scored_by_length(tmp_path):
    found, times = [], []
    results = compare_translators(
        tiny_pairs_config(tmp_path),
        ["rnn", "rnn-attention"],
        seconds=1e-4,
        pairs=7,
        on_time=lambda model, spent: times.append((model, spent)),
        on_result=lambda *each: found.append(each),
    )
    assert times == [("rnn", 1e-4), ("rnn-attention", 1e-4)]
    assert [result for result, _ in found] == results
    assert found[0][1] is None
    best = found[1][1].found
    assert best.alignment.shape == (len(best.token_ids), len(best.source_ids))
    for result in results:
        assert result.steps == 1
        assert result.metric == "chrF2"
        assert sum(each.count for each in result.by_length) == len(result.translations) == 7
        assert result.references == results[0].references
        assert result.longest_learned == 6
    assert [score.p_value is None for score in compare_scores(results)] == [True, False] * 2
    beyond = [dataclasses.replace(result, longest_learned=1) for result in results]
    plot_translators(beyond, tmp_path / "lengths.png")
    with Image.open(tmp_path / "lengths.png") as image:
        assert image.width > 300


def test_bins_have_all_pairs_once_and_about_equally_many():
    lengths = np.random.default_rng(0).integers(1, 36, 2000)
    bins = _bins(lengths)
    assert len(bins) == BINS
    assert sorted(np.concatenate(bins)) == [*range(2000)]
    assert max(map(len, bins)) < 2 * min(map(len, bins))
    for shorter, longer in itertools.pairwise(bins):
        assert lengths[shorter].max() < lengths[longer].min()
    assert len(_bins(np.full(5, 3))) == 1


@pytest.mark.slow
def test_the_command_shows_a_table_and_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_pairs_config(tmp_path)
    options = ["pairs.tsv", "--models=rnn,rnn-attention", "--tokenizer=char", "--d-model=8"]
    options = [*options, "--layers=1", "--seconds=0.001", "--limit=5"]
    command = ["experiment", "translation"]
    result = CliRunner().invoke(
        app, [*command, *options, "--plot=lengths.png", "--align=looks.png"]
    )
    assert result.exit_code == 0, result.output
    assert "rnn-attention: BLEU" in result.output
    assert {path.name for path in tmp_path.iterdir()} == {"pairs.tsv", "lengths.png", "looks.png"}
    result = CliRunner().invoke(app, [*command, *options, "--models=rnn", "--json"])
    assert [each["model"] for each in json.loads(result.stdout)] == ["rnn"]
    for wrong in (["--models=gpt"], ["--seconds=0"], ["--d-model=0"]):
        assert CliRunner().invoke(app, [*command, *wrong]).exit_code == 2
    with pytest.raises(ValueError, match="seconds must be positive"):
        compare_translators(tiny_pairs_config(tmp_path), seconds=0.0)
