"""npgpt chat: a line in, an answer out."""

import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

import npgpt
from npgpt.runs import open_model
from tests.cli.test_commands import npgpt as command
from tests.hub.folders import TOKENIZER, saved


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    saved(folder / "hf", context_length=512)
    return folder


def chat(folder, stdin, *options):
    result = command("chat", "hf", "--temperature=0", *options, cwd=folder, stdin=stdin)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_each_line_that_is_piped_in_is_answered(folder):
    out = chat(folder, "the cat\n\nthe mat\n/exit\nthe dog\n", "--max-new-tokens=4")
    model, decode = open_model(folder / "hf").model, TOKENIZER.decode
    first = model.generate(TOKENIZER.encode("the cat\n"), 4, temperature=0.0)
    end = TOKENIZER.end_of_text_id
    assert end not in first
    said = decode(first)
    second_prompt = TOKENIZER.encode(f"{said}\nthe mat\n")
    second = model.generate(second_prompt, 4, temperature=0.0)
    expected = f"{said[len('the cat') + 1 :]}\n{decode(second[len(second_prompt) :])}\n"
    assert out == expected.replace("\r", "\n")  # as subprocess reads it


def test_reset_forgets_and_a_template_of_one_turn_has_no_past(folder):
    for options in ([], ["--template=alpaca"]):
        out = chat(folder, "the cat\n/reset\nthe cat\n", "--max-new-tokens=3", *options)
        assert len(out) % 2 == 0
        assert out[: len(out) // 2] == out[len(out) // 2 :]


def test_a_template_that_is_not_known_is_a_usage_error(folder):
    result = command("chat", "hf", "--template=none", cwd=folder)
    assert result.returncode == 2
    assert "--template must be one of alpaca, chat, plain" in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("inherited", [signal.default_int_handler, signal.SIG_IGN])
def test_at_a_terminal_ctrl_c_ends_the_answer_and_the_talk_goes_on(folder, inherited):
    config = npgpt.GPTConfig(TOKENIZER.vocab_size, 512, n_layers=4, n_heads=2, d_model=256)
    npgpt.GPT(config, seed=0).save_pretrained(folder / "slow", TOKENIZER, overwrite=True)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "npgpt", "chat", "slow", "--max-new-tokens=100000", "--seed=6"],
        cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, inherited),
    )  # fmt: skip
    os.close(theirs)
    seen = b""

    def holds(condition, seconds):
        nonlocal seen
        deadline = time.monotonic() + seconds
        while not condition():
            if not select.select([ours], [], [], max(0, deadline - time.monotonic()))[0]:
                return False
            seen += os.read(ours, 4096)
        return True

    def wait_for(condition):
        assert holds(condition, seconds=120), seen

    def prompts():
        return seen.count(b"\n> ")

    try:
        wait_for(lambda: prompts() == 1)
        os.write(ours, b"hello\n")
        # the answer has begun; with this seed it has about 950 tokens
        begin = len(seen)
        wait_for(lambda: len(seen) > begin + 10)
        process.send_signal(signal.SIGINT)
        wait_for(lambda: seen.endswith(b"\n> "))
        before = prompts()
        for _ in range(60):  # Python's input() misses a signal that comes as it begins to wait
            process.send_signal(signal.SIGINT)
            if holds(lambda: prompts() > before, seconds=2):
                break
        assert prompts() == before + 1, seen
        os.write(ours, b"/exit\n")
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"Traceback" not in seen
    assert b"/exit or Ctrl-D" in seen


@pytest.mark.parametrize("line", ["    if x:", "\tthe cat  ", " a\u2028b"])
def test_a_line_is_said_with_its_white_space(folder, line):
    model = open_model(folder / "hf").model
    prompt = TOKENIZER.encode(f"{line}\n")
    answer = model.generate(prompt, 4, temperature=0.0)[len(prompt) :]
    out = chat(folder, f"{line}\n /exit \n", "--max-new-tokens=4")
    assert out == f"{TOKENIZER.decode(answer)}\n".replace("\r", "\n")
