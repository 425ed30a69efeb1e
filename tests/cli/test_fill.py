"""npgpt fill, npgpt embed and npgpt eval on a BERT, as a user meets them."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from npgpt.cli import app
from npgpt.runs import open_bert
from tests.hub.folders import saved as saved_gpt
from tests.runs.test_opened_bert import saved_bert


def npgpt(*arguments, stdin=None):
    return CliRunner().invoke(app, [*map(str, arguments)], input=stdin)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    saved_bert(folder / "bert")
    saved_bert(folder / "headless", masked_head=False)
    saved_gpt(folder / "gpt")
    (folder / "texts.txt").write_text("the cat\nthe mat sat.\n", encoding="utf-8")
    return folder


@pytest.fixture
def folder(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def test_fill_prints_a_table_and_the_text(folder):
    result = npgpt("fill", "bert", "the [MASK] sat on [MASK].", "--top-k=2")
    assert result.exit_code == 0, result.output
    filled = open_bert("bert").fill("the [MASK] sat on [MASK].", 2)
    assert result.stdout.splitlines()[-1] == filled.text
    for found in filled.masks:
        for candidate in found:
            assert f"{candidate.probability:.4f}" in result.stdout


def test_fill_reads_standard_input_and_prints_json(folder):
    result = npgpt("fill", "bert", "-", "--json", stdin="[MASK] cat\n")
    told = json.loads(result.stdout)
    (found,) = open_bert("bert").fill("[MASK] cat").masks
    assert told["text"] == "[MASK] cat"
    assert told["masks"] == [[candidate._asdict() for candidate in found]]


def test_embed_prints_cosines_and_writes_vectors(folder, tmp_path):
    texts = ["the cat", "the mat sat."]
    vectors = open_bert("bert").vectors(texts)
    out = tmp_path / "x.npy"
    result = npgpt("embed", "bert", *texts, "--out", out)
    assert result.exit_code == 0, result.output
    assert "2 texts, 8 numbers each" in result.stdout
    assert f"{vectors[0] @ vectors[1]:.2f}" in result.stdout
    np.testing.assert_array_equal(np.load(out), vectors)
    assert "exists already" in npgpt("embed", "bert", "cat", "--out", out).stderr
    plain = npgpt("embed", "bert", "--file=texts.txt", "--no-normalize", "--out", out, "--force")
    assert plain.exit_code == 0, plain.output
    lengths = np.linalg.norm(np.load(out), axis=1, keepdims=True)
    np.testing.assert_allclose(np.load(out) / lengths, vectors, atol=1e-6)
    told = json.loads(npgpt("embed", "bert", "--json", stdin="the cat\nthe mat sat.\n").stdout)
    np.testing.assert_allclose(told["vectors"], vectors, atol=1e-6)
    assert npgpt("embed", "bert", "the cat").exit_code == 0


@pytest.mark.parametrize("options", [[], ["--pseudo-perplexity", "--limit=4"]])
def test_eval_measures_masked_words_of_a_text(folder, options):
    result = npgpt("eval", "bert", "texts.txt", "--json", *options)
    numbers = json.loads(result.stdout)
    if options:
        assert numbers["masked_words"] == 4
        assert numbers["pseudo_perplexity"] == pytest.approx(np.exp(numbers["loss"]))
    assert numbers["loss"] > 0
    assert 0 <= numbers["accuracy"] <= 1


BAD = [
    (["fill", "bert", "the cat"], 1, "the text has no [MASK]"),
    (["fill", "bert", ""], 1, "the text is empty"),
    (["fill", "bert", "[MASK]" + " cat" * 11], 1, "more than the 12 of the model's context"),
    (["fill", "headless", "[MASK]"], 1, "headless is a BERT without a head for masked words"),
    (["fill", "gpt", "[MASK]"], 1, "gpt holds a GPT, not a BERT"),
    (["fill", "nowhere", "[MASK]"], 1, "nowhere"),
    (["embed", "gpt", "cat"], 1, "gpt holds a GPT, not a BERT"),
    (["embed", "bert", "cat", " "], 1, "TEXT 2: the text is empty"),
    (["embed", "bert", "cat " * 11], 1, "TEXT: the text has 13 tokens"),
    (["embed", "bert", "cat", "--file=texts.txt"], 2, "two sources"),
    (["embed", "bert", "--file=no.txt"], 1, "There is no file no.txt"),
    (["embed", "bert", "cat", "--out=x.txt"], 2, "must end with .npy"),
    (["embed", "bert", "cat", "--out=no/x.npy"], 1, "There is no folder no"),
    (["embed", "bert", *["cat"] * 11], 2, "give --out FILE.npy"),
    (["eval", "bert"], 2, "give a TEXT"),
    (["eval", "bert", "texts.txt", "--stride=2"], 2, "leave out --stride"),
    (["eval", "headless", "texts.txt"], 1, "without a head for masked words"),
    (["eval", "gpt", "texts.txt", "--pseudo-perplexity"], 2, "goes with a model of masked"),
    (["generate", "bert", "the"], 1, "npgpt fill finds its masked words"),
    (["chat", "bert"], 1, "npgpt fill finds its masked words"),
    (["trace", "the cat", "--model=bert", "--out=t.html"], 1, "npgpt fill finds its masked"),
    (["finetune", "classify", "bert", "--out=c"], 1, "BertForClassification makes a classifier"),
]


@pytest.mark.parametrize(("arguments", "status", "message"), BAD)
def test_what_cannot_be_done_is_said_in_a_sentence(folder, arguments, status, message, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    result = npgpt(*arguments)
    assert result.exit_code == status, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert {path.name for path in folder.iterdir()} == {"bert", "headless", "gpt", "texts.txt"}
