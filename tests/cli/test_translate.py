"""npgpt translate, and what other commands do with a run that translates."""

import json
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from npgpt.cli import app
from npgpt.runs import Run
from tests.runs.tiny_run import tiny_pairs_config

SOURCES = ["two 7", "o", "owl 31", "one 4"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Runs that have learned a little: one of attention, one with a single vector."""
    made = {}
    for model in ("rnn-attention", "rnn"):
        folder = tmp_path_factory.mktemp(model)
        run = Run.create(folder / "run", tiny_pairs_config(folder, model, steps=2, eval_every=2))
        run.trainer().fit()
        made[model] = run.folder
    return made


def told(*arguments, status=0, text=None):
    result = CliRunner().invoke(app, [*map(str, arguments)], input=text)
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result


def translated(*arguments, **options):
    return told("translate", *arguments, **options).stdout.split("\n")[:-1]


def test_an_argument_a_file_and_standard_input_are_translated_alike(folders, tmp_path):
    run = folders["rnn"]
    one_by_one = [line for source in SOURCES for line in translated(run, source)]
    assert len(one_by_one) == len(SOURCES)
    lines = tmp_path / "lines.txt"
    lines.write_text("\r\n".join(SOURCES), encoding="utf-8")
    assert translated(run, "--file", lines, "--batch-size", 3) == one_by_one
    for arguments in ([], ["-"]):
        assert translated(run, *arguments, text="\n".join([*SOURCES, ""])) == one_by_one


def test_n_best_come_with_their_source_and_score_best_first(folders):
    run = folders["rnn-attention"]
    lines = translated(run, "--beams=3", "--n-best=2", text="\n".join(SOURCES))
    rows = [line.split("\t") for line in lines]
    assert [row[0] for row in rows] == [str(i) for i in range(1, 5) for _ in range(2)]
    assert all(float(rows[i][1]) >= float(rows[i + 1][1]) for i in range(0, 8, 2))
    gnmt = translated(run, "--beams=3", "--n-best=2", "--penalty=gnmt", text="two 7\n")
    assert float(gnmt[0].split("\t")[1]) < float(rows[0][1])  # 12 tokens divide more than 17 / 6
    content = json.loads(
        told("translate", run, "two 7", "--beams=3", "--n-best=2", "--json").stdout
    )
    ((found),) = content["results"]
    assert found["source"] == "two 7"
    assert [best["text"] for best in found["translations"]] == [row[2] for row in rows[:2]]
    assert f"{found['translations'][0]['score']:.4f}" == rows[0][1]


def test_the_alignment_is_drawn(folders, tmp_path):
    picture = tmp_path / "$a$.png"
    plain = translated(folders["rnn-attention"], "two 7")
    assert translated(folders["rnn-attention"], "two 7", "--align", picture) == plain
    with Image.open(picture) as image:
        assert image.width > 100
    result = told("translate", folders["rnn"], "two 7", "--align", tmp_path / "b.png", status=1)
    assert "one vector of the whole source" in result.stderr
    assert not result.stdout
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    ("arguments", "text", "status", "message"),
    [
        ([""], None, 1, "TEXT: the source is empty."),
        ([], "two 7\n\nowl\n", 1, "Standard input, line 2: the source is empty."),
        (["-"], "two 7\nowl ö\n", 1, "Standard input, line 2: CharTokenizer: the character 'ö'"),
        (["owl 1234567890"], None, 1, "TEXT: the source has 15 tokens with its end, more than"),
        (["--file", "missing.txt"], None, 1, "There is no file missing.txt."),
        (["--file", "latin.txt"], None, 1, "latin.txt, line 2 is not UTF-8"),
        (["owl", "--file", "latin.txt"], None, 2, "are two sources"),
        (["owl", "--n-best=2"], None, 2, "--n-best 2 needs --beams of at least 2"),
        (["--align=a.png"], "owl\none\n", 2, "--align draws one source"),
        (["owl", "--penalty=square"], None, 2, "--penalty must be one of power, gnmt"),
        (["owl", "--checkpoint=first"], None, 2, "--checkpoint must be best or last"),
    ],
)
def test_what_cannot_be_translated_is_said_in_a_sentence_and_nothing_is_written(
    folders, tmp_path, monkeypatch, arguments, text, status, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.txt").write_bytes(b"owl\n\xf6wl\n")
    result = told("translate", folders["rnn"], *arguments, status=status, text=text)
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["latin.txt"]


def test_held_out_pairs_are_scored_with_signatures(folders):
    run = folders["rnn"]
    content = json.loads(told("eval", run, "--limit=5", "--json").stdout)
    assert (content["pairs"], content["translated"], content["beams"]) == ("pairs.tsv", 5, 1)
    assert [score["metric"] for score in content["scores"]] == ["BLEU", "chrF2"]
    assert "version:" in content["scores"][0]["signature"]
    assert 0.0 <= content["exact_match"] <= 1.0
    shown = told("eval", run, "--limit=5", "--beams=2").stdout
    assert "chrF2" in shown
    assert "exact match" in shown
    for arguments in (["text.txt"], ["--stride=2"], ["--dtype=int8"]):
        told("eval", run, *arguments, status=2)


def test_without_sacrebleu_a_sentence_says_how_to_get_it(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    result = told("eval", folders["rnn"], status=1)
    assert "pip install 'npgpt[translate]'" in result.stderr
    assert not result.stdout


def test_flow_info_and_memory_read_such_a_run(folders):
    run = folders["rnn-attention"]
    assert "target.embedding" in told("flow", run, "--batch-size=2").stdout
    shown = told("info", run).stdout
    assert "2 of 2 steps" in shown
    assert "rnn-attention" in shown
    told("flow", run, "text.txt", status=2)
    assert "6 pairs of 12 tokens a side" in told("memory", run).stdout
    assert "needs a GPT" in told("memory", run, "--generate", status=1).stderr


@pytest.mark.parametrize("command", ["generate", "chat", "classify", "trace", "finetune"])
def test_commands_of_other_models_name_npgpt_translate(folders, command):
    run = folders["rnn"]
    arguments = {
        "classify": [run, "owl"],
        "trace": ["owl", "--model", run],
        "finetune": ["classify", run],
    }.get(command, [run])
    assert "npgpt translate asks it" in told(command, *arguments, status=1).stderr


def test_a_run_is_trained_and_resumed_by_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_pairs_config(tmp_path)
    options = ["--tokenizer=char", "--layers=1", "--d-model=8", "--steps=2", "--batch-tokens=200"]
    shown = told("train", "--model=rnn", "--pairs=pairs.tsv", "--out=run", *options).stdout
    assert "RNNEncoderDecoder of" in shown
    assert "The model translates:" in shown
    assert "Next: npgpt translate run" in shown
    told("train", "--resume=run")
    told("train", "--resume=run", "--pairs=dates", status=2)
    for wrong in (
        ["--model=gpt", "--pairs=pairs.tsv"],
        ["text.txt", "--pairs=pairs.tsv"],
        ["--model=rnn", "--pairs=pairs.tsv", "--n-heads=2"],
        ["--pairs=pairs.tsv", "--bptt=4"],
        ["--model=transformer", "--d-model=10", "--n-heads=3"],
        ["--pairs=pairs.tsv", "--source-vocab-size=4"],
    ):
        told("train", *wrong, status=2)
    assert "did you mean" in told("train", "--pairs=date", status=1).stderr
    assert {path.name for path in tmp_path.iterdir()} == {"pairs.tsv", "run"}
