"""npgpt chat: a line in, an answer out."""

import os
import pty
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import npgpt
from npgpt.training import open_model
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
def test_at_a_terminal_ctrl_c_ends_the_answer_and_the_talk_goes_on(folder):
    config = npgpt.GPTConfig(270, 512, n_layers=4, n_heads=2, d_model=256)
    if not (folder / "slow").exists():
        npgpt.GPT(config).save_pretrained(folder / "slow", TOKENIZER)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "npgpt", "chat", "slow", "--max-new-tokens=100000"],
        cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen = b""

    def wait_for(condition):
        nonlocal seen
        deadline = time.monotonic() + 120
        while not condition() and time.monotonic() < deadline:
            seen += os.read(ours, 4096)
        assert condition(), seen

    try:
        wait_for(lambda: seen.endswith(b"> "))
        os.write(ours, b"hello\n")
        begin = len(seen)
        wait_for(lambda: len(seen) > begin + 40)
        process.send_signal(signal.SIGINT)
        wait_for(lambda: seen.endswith(b"> "))
        os.write(ours, b"/exit\n")
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"Traceback" not in seen
    assert np.char.find(seen.decode(errors="replace"), "/exit or Ctrl-D") >= 0
