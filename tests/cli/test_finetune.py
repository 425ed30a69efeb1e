"""npgpt finetune and npgpt classify, as a user meets them."""

import json

import pytest

from npgpt.runs import FineTuningRun
from tests.cli.test_commands import SMALL, npgpt
from tests.runs.tiny_run import TEXT


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a base model, and a classifier made from it."""
    folder = tmp_path_factory.mktemp("finetune")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    bpe = ["--tokenizer=bpe", "--vocab-size=280", "--context-length=64", *SMALL[2:]]
    result = npgpt("train", "text.txt", *bpe, "--steps=5", "--out=base", cwd=folder)
    assert result.returncode == 0, result.stderr
    rows = [f"{kind}\tthe {thing} sat {i} times" for i in range(20)
            for kind, thing in (("animal", "cat"), ("place", "mat"))]  # fmt: skip
    (folder / "data.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    records = [{"instruction": f"say {i}", "output": "the cat"} for i in range(12)]
    (folder / "instructions.json").write_text(json.dumps(records), encoding="utf-8")
    options = ("--data=data.tsv", "--method=lora", "--epochs=1", "--lr=0.01", "--out=classifier")
    result = npgpt("finetune", "classify", "base", *options, cwd=folder)
    assert result.returncode == 0, result.stderr
    (folder / "classify.out").write_text(result.stdout, encoding="utf-8")
    return folder


def test_a_classifier_is_made_tested_and_asked(folder):
    out = (folder / "classify.out").read_text(encoding="utf-8")
    assert "data.tsv: 28 train, 4 held-out, 8 test" in out
    assert "accuracy" in out
    assert "held-out loss" in out
    assert "validation" not in out  # one word on a screen for what is held out
    assert "Confusion" in out
    names = {path.name for path in (folder / "classifier").iterdir()}
    assert {"confusion.png", "loss.png", "adapter", "best.safetensors"} <= names
    result = npgpt("classify", "classifier", "the cat sat", "--json", cwd=folder)
    answer = json.loads(result.stdout)
    assert set(answer["probabilities"]) == {"animal", "place"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1.0)
    assert answer["label"] in npgpt("classify", "classifier", "-", cwd=folder, stdin="a cat").stdout


def said(result):
    """What a command printed, however its lines are broken."""
    assert result.returncode == 0, result.stderr
    return " ".join(result.stdout.split())


def test_info_describes_a_fine_tuned_run(folder):
    run = FineTuningRun.open(folder / "classifier")
    about, model = said(npgpt("info", "classifier", cwd=folder)), run.new_model()
    trained, whole = model.num_parameters(trained_only=True), model.num_parameters()
    evaluations = [line for line in run.metrics if line["kind"] == "evaluation"]
    best = min(evaluations, key=lambda line: line["loss"])
    assert 0 < trained < whole
    for words in (
        f"Run {run.folder.name}", "task classify", f"base {folder / 'base'}", "method lora", "rank 8",
        "epochs 1", "labels animal, place", f"parameters trained {trained:,} of {whole:,}",
        f"Progress: {evaluations[-1]['step']} steps",
        f"best held-out loss {best['loss']:.4f} at step {best['step']}", "best checkpoint: 0.0 MB",
        "attention.qkv.weight",
    ):  # fmt: skip
        assert words in about, words


def test_memory_of_a_run_is_that_of_its_method(folder):
    tuned, asked = (npgpt("memory", *run, cwd=folder) for run in (
        ["classifier"], ["base", "--method=lora", "--batch-size=16"],
    ))  # fmt: skip
    assert "a training step of LoRA of rank 8 of 16 x 64 tokens" in said(tuned)
    one, other = (said(result).partition("float32")[2] for result in (tuned, asked))
    assert [w for w in one.split() if w.isdigit()][:3] == [w for w in other.split() if w.isdigit()][
        :3
    ]


@pytest.mark.slow
def test_instructions_are_learned_and_compared_with_the_base(folder):
    pytest.importorskip("rouge_score", reason="ROUGE-L needs the extra 'rouge'")
    options = ("--data=instructions.json", "--template=chat", "--samples=1", "--out=instruct")
    result = npgpt("finetune", "instruct", "base", *options, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "ROUGE-L" in result.stdout
    line = json.loads((folder / "instruct" / "responses.jsonl").read_text().splitlines()[0])
    assert set(line) == {"prompt", "expected", "base", "fine-tuned"}
    result = npgpt("generate", "instruct", "the", "--max-new-tokens=3", cwd=folder)
    assert result.returncode == 0, result.stderr
    without_text = npgpt("eval", "instruct", cwd=folder)
    assert without_text.returncode == 2
    assert "is not a run with a held-out text" in without_text.stderr
    about = said(npgpt("info", "instruct", cwd=folder))
    assert "task instruct" in about
    assert "template chat" in about
    assert "labels" not in about
    # it is talked with in the template that it was tuned with, unless told otherwise
    own, chat, plain = (
        npgpt("chat", "instruct", "--seed=1", *option, cwd=folder, stdin="say 3\n").stdout
        for option in ([], ["--template=chat"], ["--template=plain"])
    )
    assert own == chat != plain


def test_preferences_are_learned_and_tested(folder):
    pairs = [{"instruction": f"say {i}", "chosen": "the cat", "rejected": "mat"} for i in range(20)]
    (folder / "pairs.json").write_text(json.dumps(pairs), encoding="utf-8")
    options = ("--data=pairs.json", "--template=chat", "--lr=0.01", "--out=preferring")
    result = npgpt("finetune", "dpo", "base", *options, cwd=folder)
    assert result.returncode == 0, result.stderr
    rows = {line.split()[1]: line for line in result.stdout.splitlines() if line.startswith("│")}
    assert "0.693" in rows["base"]  # log 2
    assert "1.000" in rows["fine-tuned"]
    assert (folder / "preferring" / "rewards.png").is_file()
    lines = (folder / "preferring" / "metrics.jsonl").read_text().splitlines()
    scores = [line["scores"] for line in map(json.loads, lines) if line["kind"] == "evaluation"]
    assert scores[0]["rewards/margins"] == 0.0
    assert scores[-1]["rewards/margins"] > 0.0
    assert set(scores[0]) == {
        *(f"rewards/{name}" for name in ("chosen", "rejected", "accuracies", "margins")),
        *(f"logps/{name}" for name in ("chosen", "rejected")),
    }


def test_what_is_wrong_is_said_in_one_sentence(folder):
    for arguments, message, status in (
        (("finetune", "classify", "base", "--data=no.csv", "--out=x"), "There is no file", 1),
        (("finetune", "classify", "base", "--label-column=kind", "--data=data.csv", "--out=x"),
         "There is no file", 1),
        (("finetune", "instruct", "classifier", "--out=x"), "is a classifier", 1),
        (("finetune", "classify", "base", "--method=half"), "method must be one of", 2),
        (("finetune", "classify", "classifier", "--resume", "--epochs=2"), "leave out", 2),
        (("finetune", "classify", "base", "--data=data.tsv", "--out=classifier"), "exists already", 1),
        (("finetune", "dpo", "classifier", "--resume"), "is a run of npgpt finetune classify", 1),
        (("finetune", "classify", "base", "--resume"), "is not a fine-tuned model", 1),
        (("train", "--resume=classifier"), "not a run of npgpt train, but of npgpt finetune", 1),
        (("classify", "base", "text"), "is not a fine-tuned model", 1),
        (("classify", "classifier", " "), "no text to classify", 1),
    ):  # fmt: skip
        result = npgpt(*arguments, cwd=folder)
        assert result.returncode == status, arguments
        said = " ".join(result.stderr.replace("│", " ").split())
        assert message in said
        assert "Traceback" not in result.stderr
    assert not (folder / "x").exists()


@pytest.mark.slow
def test_questions_are_asked_with_no_one_and_some_examples(folder):
    task = ("eval", "base", "--task=task.jsonl")
    lines = [
        {"question": f"is {i} odd", "answer": i % 2, "choices": ["no", "yes"]} for i in range(8)
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "task.jsonl").write_text(content, encoding="utf-8")
    result = npgpt(*task, "--shots", "0", "1", "3", "--json", "--plot=shots.png", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["chance"] == 0.5
    assert (folder / "shots.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads(result.stdout)["results"]
    assert [r["shots"] for r in results] == [0, 1, 3]
    assert all(r["interval"][0] <= r["accuracy"] <= r["interval"][1] for r in results)
    for spelled in (["--shots", "0,1,3"], ["--shots=0", "--shots=1,3"]):
        again = npgpt(*task, *spelled, "--json", cwd=folder)
        assert again.stdout == result.stdout, again.stderr
    assert "95 % interval" in npgpt(*task, "--limit=2", cwd=folder).stdout
    prompt = npgpt(*task, "--shots", "2", "--show-prompt", cwd=folder).stdout
    assert prompt.count("Q: ") == 3
    result = npgpt(*task, "--shots", "8", cwd=folder)
    assert result.returncode == 1
    assert "8 shots need a task of at least 9 questions" in result.stderr
    assert npgpt("eval", "base", "--shots", "1", cwd=folder).returncode == 2
    for wrong, message in (("one", "must be numbers such as"), ("-1", "must be at least 0")):
        result = npgpt(*task, "--shots", wrong, cwd=folder)
        assert result.returncode == 2
        assert message in result.stderr
