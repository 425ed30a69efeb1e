"""The npgpt command, as a user meets it: in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from npgpt.cli import COMMANDS
from tests.hub.folders import saved
from tests.runs.tiny_run import TEXT

SMALL = [
    "--tokenizer=char", "--context-length=8", "--n-layers=1", "--n-heads=2", "--d-model=16",
    "--batch-size=4", "--eval-batches=4",
]  # fmt: skip


def npgpt(*arguments, cwd, stdin=None, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "npgpt", *map(str, arguments)],
        cwd=cwd, input=stdin, capture_output=True, text=True, timeout=300, check=False, **kwargs,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a text, and a run trained on it."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    result = npgpt("train", "text.txt", *SMALL, "--steps=30", "--out=run", cwd=folder)
    assert result.returncode == 0, result.stderr
    (folder / "train.out").write_text(result.stdout, encoding="utf-8")
    return folder


def contents(run):
    return {path.name: path.read_bytes() for path in run.iterdir()}


def test_train_says_what_it_does_and_is_quiet_when_piped(folder):
    out = (folder / "train.out").read_text(encoding="utf-8")
    assert "text.txt: 3,120 characters" in out
    assert "held-out loss" in out
    assert "npgpt generate run" in out
    assert "\x1b" not in out  # no bar, no colours
    assert set(contents(folder / "run")) == {
        "best.safetensors", "config.json", "last.safetensors", "loss.png", "metrics.jsonl",
        "tokenizer.json",
    }  # fmt: skip


def test_generate_continues_the_prompt_and_a_seed_repeats_it(folder):
    arguments = ("generate", "run", "the cat", "--max-new-tokens=20", "--seed=1")
    first, second = (npgpt(*arguments, cwd=folder) for _ in range(2))
    assert first.returncode == 0
    assert first.stdout.startswith("the cat")
    assert len(first.stdout) == len("the cat") + 20 + 1
    assert first.stdout == second.stdout
    assert npgpt(*arguments[:-1], "--seed=2", cwd=folder).stdout != first.stdout


def test_generate_reads_a_prompt_from_standard_input(folder):
    result = npgpt("generate", "run", "-", "--max-new-tokens=3", cwd=folder, stdin="the dog")
    assert result.stdout.startswith("the dog")
    assert npgpt("generate", "run", "--max-new-tokens=3", cwd=folder).returncode == 0


def test_eval_prints_loss_perplexity_and_bits_per_byte(folder):
    plain = npgpt("eval", "run", cwd=folder)
    assert plain.returncode == 0
    for word in ("loss", "perplexity", "bits per byte"):
        assert word in plain.stdout
    numbers = json.loads(npgpt("eval", "run", "text.txt", "--json", cwd=folder).stdout)
    assert numbers["text"] == "text.txt"
    assert numbers["loss"] > 0
    assert numbers["bits_per_byte"] == pytest.approx(numbers["loss"] / 0.6931471805599453)


@pytest.mark.slow
def test_flow_shows_a_run_now_and_as_training_measured_it(folder):
    flags = [*SMALL, "--steps=6", "--gradient-flow=3", "--out=flow-run"]
    assert npgpt("train", "text.txt", *flags, cwd=folder).returncode == 0
    assert (folder / "flow-run" / "gradient_flow.png").read_bytes().startswith(b"\x89PNG")
    now = npgpt("flow", "flow-run", "--plot", "flow.png", cwd=folder)
    assert "blocks.0.residual" in now.stdout
    assert (folder / "flow.png").is_file()
    measured = json.loads(npgpt("flow", "flow-run", "--step=6", "--json", cwd=folder).stdout)
    assert measured["step"] == 6
    assert measured["parameters"][0]["update_ratio"] > 0
    missing = npgpt("flow", "flow-run", "--step=5", cwd=folder)
    assert missing.returncode == 1
    assert "has no step 5; the nearest measured one is 6" in missing.stderr
    unmeasured = npgpt("flow", "run", "--step=5", cwd=folder)
    assert "train with --gradient-flow N" in unmeasured.stderr


def test_info_describes_a_run_and_the_installation(folder):
    run = npgpt("info", "run", cwd=folder)
    assert run.returncode == 0
    for word in ("d_model", "30 of 30 steps", "attention.qkv.weight", "48 x 16", "total"):
        assert word in run.stdout
    assert "numba" in npgpt("info", cwd=folder).stdout


def test_info_describes_a_size_of_gpt2(folder):
    shown = npgpt("info", "124M", cwd=folder).stdout
    assert "124,439,808" in shown


@pytest.mark.slow
def test_memory_is_predicted_and_measured_and_has_its_old_spelling(folder):
    result = npgpt("memory", "run", "--measure", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "run: a training step of 4 x 8 tokens in float32" in result.stdout
    assert "predicted / measured" in result.stdout
    longer = ["--batch-size=2", "--time=4", "--generate"]
    of_today = npgpt("memory", "run", *longer, cwd=folder)
    assert of_today.stderr == ""
    words = re.compile(r"run: generation of 2 x 4 tokens in float32|^[a-z ]+(?=  )", re.M)
    for spelled in (["info", "--memory", "run", *longer], ["info", *longer, "--memory=run"]):
        result = npgpt(*spelled, cwd=folder)
        assert result.returncode == 0, result.stderr
        assert words.findall(result.stdout) == words.findall(of_today.stdout) != []
        assert result.stderr == "Note: npgpt info --memory is npgpt memory now.\n"


@pytest.fixture(scope="module")
def hugging_face(folder):
    """A small model in Hugging Face's format."""
    saved(folder / "hf")
    return folder / "hf"


@pytest.mark.slow
def test_a_hugging_face_folder_is_a_model_too(folder, hugging_face):
    text = npgpt("generate", "hf", "the cat", "--max-new-tokens=5", "--seed=1", cwd=folder)
    assert text.returncode == 0, text.stderr
    assert text.stdout.startswith("the cat")
    numbers = json.loads(npgpt("eval", "hf", "text.txt", "--json", cwd=folder).stdout)
    assert numbers["loss"] > 0
    closer = npgpt("eval", "hf", "text.txt", "--json", "--stride=2", cwd=folder)
    assert json.loads(closer.stdout)["tokens"] == numbers["tokens"]
    assert json.loads(closer.stdout)["loss"] != numbers["loss"]
    fewer_bits = npgpt("eval", "hf", "text.txt", "--json", "--dtype=int8", cwd=folder)
    rounded = json.loads(fewer_bits.stdout)
    assert rounded["float32_loss"] == numbers["loss"]
    assert rounded["loss"] - rounded["float32_loss"] == rounded["loss_above_float32"] != 0.0
    info = npgpt("info", "hf", cwd=folder)
    for word in ("270", "0.0 MB in 1 files", "F32", "BPETokenizer", "attention.qkv.weight"):
        assert word in info.stdout
    assert "hf: a training step of 4 x" in npgpt("memory", "hf", cwd=folder).stdout
    without_text = npgpt("eval", "hf", cwd=folder)
    assert without_text.returncode == 2
    assert "give a TEXT" in without_text.stderr


def test_gradcheck_prints_a_row_a_layer(folder):
    result = npgpt("gradcheck", "--layer=LayerNorm", "--layer=rmsnorm", cwd=folder)
    assert result.returncode == 0
    assert result.stdout.count("passed") == 2
    assert "LayerNorm" in result.stdout


@pytest.mark.slow
def test_tokenize_writes_what_train_trains_on(folder):
    made = npgpt("tokenize", "text.txt", "--vocab-size=280", "--out=tokens", cwd=folder)
    assert made.returncode == 0, made.stderr
    assert "text.txt: 3,120 characters" in made.stdout
    assert {p.name for p in (folder / "tokens").iterdir()} == {
        "tokenizer.json", "train.bin", "validation.bin",
    }  # fmt: skip
    small = [argument for argument in SMALL if "tokenizer" not in argument]
    trained = npgpt("train", "tokens", *small, "--steps=4", "--out=on-tokens", cwd=folder)
    assert trained.returncode == 0, trained.stderr
    resumed = npgpt("train", "--resume=on-tokens", cwd=folder)
    assert "Going on from step 4 of 4." in resumed.stdout
    shown = npgpt("data", "show", "tokens", "--batch-size=1", cwd=folder)
    assert "inputs (1, 4)" in shown.stdout
    (folder / "tokens" / "train.bin").write_bytes(b"cut")
    assert "is not a token file" in npgpt("train", "--resume=on-tokens", cwd=folder).stderr


def test_tokenize_shows_the_merges_of_words(folder):
    result = npgpt("tokenize", "text.txt", "--steps=3", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "h + e" in result.stdout
    first = npgpt("tokenize", "text.txt", "--tokenizer=word", cwd=folder).stdout
    assert "WordTokenizer" in first
    assert "'the'" in first


def test_data_show_writes_a_line_a_prediction(folder):
    arguments = ["text.txt", "--tokenizer=word", "--stride=1", "--batch-size=1"]
    result = npgpt("data", "show", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    for line in ("'the' ---> 'cat'", "'the cat' ---> 'sat'", "'the cat sat on' ---> 'the'"):
        assert line in result.stdout


def test_a_word_tokenizer_and_standard_input_can_be_trained_on(folder):
    small = [argument for argument in SMALL if "tokenizer" not in argument]
    arguments = ["train", "-", *small, "--tokenizer=word", "--steps=2", "--out=words"]
    result = npgpt(*arguments, cwd=folder, stdin=TEXT)
    assert result.returncode == 0, result.stderr
    assert "WordTokenizer" in result.stdout


def test_resuming_a_finished_run_changes_no_weight(folder):
    before = contents(folder / "run")
    result = npgpt("train", "--resume=run", cwd=folder)
    assert result.returncode == 0
    assert "Going on from step 30 of 30." in result.stdout
    after = contents(folder / "run")
    for name in ("best.safetensors", "last.safetensors", "config.json", "tokenizer.json"):
        assert after[name] == before[name]


def start_long_run(folder, name):
    process = subprocess.Popen(
        [sys.executable, "-m", "npgpt", "train", "text.txt", *SMALL, "--steps=100000",
         "--eval-every=20", f"--out={name}"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    metrics = folder / name / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / name / "last.safetensors").exists() and metrics.stat().st_size > 2000:
            return process
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"the run did not start: {process.communicate()}")


def test_ctrl_c_saves_and_says_how_to_go_on(folder):
    process = start_long_run(folder, "interrupted")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "npgpt train --resume interrupted" in out
    assert "Traceback" not in err
    assert npgpt("generate", "interrupted", "--max-new-tokens=3", cwd=folder).returncode == 0


def test_a_kill_leaves_a_run_that_can_be_resumed(folder):
    process = start_long_run(folder, "killed")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not [
        p
        for p in (folder / "killed").iterdir()
        if p.suffix == ".safetensors" and not p.stat().st_size
    ]
    resumed = subprocess.Popen(
        [sys.executable, "-m", "npgpt", "train", "--resume=killed"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        lines = iter(resumed.stdout.readline, "")
        step = next(int(line.split()[4]) for line in lines if line.startswith("Going on from step"))
        assert step % 20 == 0
        assert any(line.startswith(f"step {step + 20:>5}") for line in lines)  # it is training
        resumed.send_signal(signal.SIGINT)
        _, err = resumed.communicate(timeout=60)
        assert resumed.returncode == 130, err
    finally:
        resumed.kill()
        resumed.communicate()


@pytest.mark.parametrize(
    "command", [["info", "run"], ["data", "show", "text.txt"], ["tokenize", "text.txt"]]
)
def test_a_reader_that_goes_away_is_no_error(folder, command):
    read, write = os.pipe()
    os.close(read)  # as "| head" leaves it
    result = subprocess.run(
        [sys.executable, "-m", "npgpt", *command, *(["--tokenizer=char"] if command[0] != "info" else [])],
        cwd=folder, stdout=write, stderr=subprocess.PIPE, text=True, timeout=300, check=False,
    )  # fmt: skip
    os.close(write)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("command", ["eval", "flow"])
def test_a_text_to_measure_on_is_read_as_asked(folder, command):
    (folder / "odd.jsonl").write_bytes(b'{"body": "the cat sat on the mat \xff"}')
    asked = [command, "run", "odd.jsonl", "--field=body", "--json"]
    refused = npgpt(*asked, cwd=folder)
    assert refused.returncode == 1
    assert "is not UTF-8" in refused.stderr
    read = npgpt(*asked, "--errors=ignore", cwd=folder)
    assert read.returncode == 0, read.stderr
    json.loads(read.stdout)


BAD = {
    "an empty file": (["train", "empty.txt"], 1, "empty.txt is empty."),
    "a file shorter than the context": (
        ["train", "short.txt", "--tokenizer=char", "--context=128"], 1, "but a context of 128 needs at least 129",
    ),
    "bytes that are not UTF-8": (
        ["train", "latin1.txt"], 1, "latin1.txt is not UTF-8 text: byte 0xe9 at offset 3",
    ),
    "no such text": (["train", "nowhere.txt"], 1, "There is no file, folder or match for"),
    "a run folder that exists": (
        ["train", "text.txt", "--out=run"], 1, "run exists already; choose another folder",
    ),
    "heads that do not divide": (
        ["train", "--d-model", "100", "--heads", "3"], 2, "n_heads must divide d_model",
    ),
    "a negative learning rate": (["train", "--lr=-1"], 2, "Invalid value for '--lr'"),
    "a rate that is no number": (["train", "--lr=fast"], 2, "Invalid value for '--lr'"),
    "an unknown option": (["train", "--depth=3"], 2, "No such option: --depth"),
    "a vocabulary below the bytes": (
        ["train", "text.txt", "--vocab-size=100"], 1, "vocab_size must be at least 257",
    ),
    "settings for a resumed run": (
        ["train", "--resume=run", "--lr=1"], 2, "keeps its settings, so leave out: lr",
    ),
    "memory of nothing": (["memory", "nothing"], 1, "nothing is neither a GPT-2 size"),
    "memory of too long a text": (["memory", "run", "--time=9"], 2, "--time 9 is longer than the context of 8"),
    "memory of an unknown method": (["memory", "run", "--method=half"], 2, "method must be one of full, last-block"),
    "a run that is not there": (["generate", "./nowhere"], 1, "There is no folder nowhere"),
    "a folder without a model": (["generate", "."], 1, "there is no config.json in it"),
    "an unknown character in a prompt": (
        ["generate", "run", "the §"], 1, "the character '§' at position 4 is not in the vocabulary",
    ),
    "a negative temperature": (["generate", "run", "--temperature=-1"], 2, "Invalid value for '--temperature'"),
    "a top_p above 1": (["generate", "run", "--top-p=2"], 2, "top_p must be above 0 and at most 1"),
    "sampling beside a search": (
        ["generate", "run", "--num-beams=2", "--top-k=3"], 2, "searches and does not draw",
    ),
    "an unknown checkpoint": (["eval", "run", "--checkpoint=first"], 2, "must be best or last"),
    "an unknown dtype": (["eval", "run", "--dtype=int4"], 2, "--dtype must be one of"),
    "a stride beyond the context": (["eval", "run", "text.txt", "--stride=9"], 2, "at most the context, 8"),
    "an unknown kind of position": (
        ["experiment", "positions", "text.txt", "--kinds=rotary"], 2, "position must be one of learned",
    ),
    "a context that is not longer": (
        ["experiment", "positions", "text.txt", "--longer=64"], 2, "--longer must be above",
    ),
    "depths that are no numbers": (
        ["experiment", "vanishing-gradients", "--depths=a"], 2, "--depths must be numbers",
    ),
    "a family that is none": (
        ["experiment", "language-models", "text.txt", "--models=gpt,bert"], 2, "models must be of rnn",
    ),
    "a distance beyond the context": (
        ["experiment", "gradient-by-distance", "text.txt", "--distance=256"], 2, "--distance must be below",
    ),
    "a task that is none": (["experiment", "memory", "--tasks=sing"], 2, "tasks must be of copy"),
    "a norm that sees the future": (["train", "text.txt", "--norm=batch"], 2, "would see the future"),
    "an unknown layer": (["gradcheck", "--layer=nonsense"], 2, "no layer matches"),
    "a tokenizer that is not there": (
        ["train", "text.txt", "--tokenizer=letters"], 2, "tokenizer must be one of bpe, char, word",
    ),
    "a JSON line without the field": (
        ["tokenize", "lines.jsonl", "--field=body"], 1, "line 1 has no field 'body'; it has 'text'",
    ),
    "a folder for token files that exists": (
        ["tokenize", "text.txt", "--out=run"], 1, "run exists already",
    ),
    "too few tokens for a window": (
        ["data", "show", "short.txt", "--context=64"], 1, "too few for a context of 64",
    ),
    "a checkpoint cut in half": (["train", "--resume=cut"], 1, "last.safetensors is not a whole"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_loses_nothing(folder, case):
    arguments, status, message = BAD[case]
    (folder / "empty.txt").write_bytes(b"")
    (folder / "short.txt").write_bytes(b"too short")
    (folder / "lines.jsonl").write_text('{"text": "a"}')
    (folder / "latin1.txt").write_bytes("café".encode("latin-1"))
    if case == "a checkpoint cut in half" and not (folder / "cut").exists():
        (folder / "cut").mkdir()
        for name, content in contents(folder / "run").items():
            half = len(content) // 2 if name == "last.safetensors" else len(content)
            (folder / "cut" / name).write_bytes(content[:half])
    before = {run: contents(folder / run) for run in ("run", "cut") if (folder / run).exists()}
    wide = {**os.environ, "COLUMNS": "200"}
    result = npgpt(*arguments, cwd=folder, env=wide)
    assert result.returncode == status, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") <= (1 if status == 1 else 8)
    assert {run: contents(folder / run) for run in before} == before
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_has_an_example(folder, command):
    result = npgpt(*command, "--help", cwd=folder)
    assert result.returncode == 0
    assert f"npgpt {' '.join(command) or 'train'}" in result.stdout
    if command:
        assert "Examples" in result.stdout


@pytest.mark.slow
def test_an_experiment_prints_a_table_and_draws(folder):
    result = npgpt(
        "experiment", "vanishing-gradients", "--depths=1,3", "--d-model=16", "--plot=depth.png",
        cwd=folder,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    for word in ("blocks", "shortcut and norm", "neither", "depth.png"):
        assert word in result.stdout
    assert (folder / "depth.png").exists()
    small = ["--context=8", "--longer=24", "--layers=1", "--d-model=16", "--steps=3"]
    result = npgpt(
        "experiment", "positions", "text.txt", *small, "--kinds=learned,rope", cwd=folder
    )
    assert result.returncode == 0, result.stderr
    assert "n/a" in result.stdout
    assert "at 24" in result.stdout


@pytest.mark.slow
def test_a_llama_shaped_model_is_trained_and_described(folder):
    choices = [
        "--position=rope",
        "--norm=rms",
        "--activation=swiglu",
        "--n-kv-heads=1",
        "--no-bias",
    ]
    result = npgpt("train", "text.txt", *SMALL, *choices, "--steps=6", "--out=llama", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "position rope" in result.stdout
    info = npgpt("info", "llama", cwd=folder).stdout
    for words in (r"position +rope", r"norm +rms", r"n_kv_heads +1", "RMSNorm", "32 x 16"):
        assert re.search(words, info), words
    assert npgpt("generate", "llama", "the", "--max-new-tokens=5", cwd=folder).returncode == 0
    assert npgpt("eval", "llama", cwd=folder).returncode == 0
