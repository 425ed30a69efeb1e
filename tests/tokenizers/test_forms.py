"""The plain forms of a tokenizer's code, for where Numba does not compile."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.tokenizers import BPETokenizer, WordBPETokenizer, bpe, word_bpe
from npgpt.tokenizers.compiled import forms as compiled
from npgpt.tokenizers.reference import forms as plain

TEXTS = st.lists(st.text(st.sampled_from("ab c'é\n1"), max_size=40), min_size=1, max_size=4)


def both(monkeypatch_context, work):
    results = []
    for code in (compiled, plain):
        with monkeypatch_context() as patch:
            for module in (bpe, word_bpe):
                patch.setattr(module, "forms", lambda code=code: code)
            results.append(work())
    return results


def test_the_plain_forms_have_the_names_of_the_compiled_ones():
    names = {name for name in vars(compiled) if not name.startswith("_")}
    assert {"MergeEncoder", "PieceDecoder"} <= names
    assert all(hasattr(plain, name) for name in names)


@given(TEXTS.filter(lambda texts: any(map(str.strip, texts))), st.binary(max_size=30))
def test_both_learn_encode_and_decode_the_same(texts, content):
    def byte_pairs():
        tokenizer = BPETokenizer.train(texts, 270, record=True)
        ids = [*map(tokenizer.encode, texts), tokenizer.encode_bytes(content)]
        back = [tokenizer.decode_bytes(each) for each in ids]
        return tokenizer.merges, tokenizer.steps, [i.tolist() for i in ids], ids[0].dtype, back

    def words():
        tokenizer = WordBPETokenizer.train(texts, record=True)
        return tokenizer.merges, tokenizer.steps

    for work in (byte_pairs, words):
        ours, theirs = both(pytest.MonkeyPatch.context, work)
        assert ours == theirs


def test_progress_is_told_alike():
    text, calls = "low lower lowest " * 3, ([], [])
    for code, told in zip((compiled, plain), calls, strict=True):
        words = code.PreTokenCounts()
        words.update(text.encode())
        ids = words.content.astype(np.int64)
        code.learn_merges(ids, words.starts, words.counts, 5, 256, lambda *c, t=told: t.append(c))
    assert calls[0] == calls[1]


COMMANDS = """
import os, sys
from pathlib import Path
os.chdir(sys.argv[1])
Path("t.txt").write_text("the cat sat on the mat. " * 60)
from npgpt.cli import app
shape = ["--n-layers", "1", "--d-model", "8", "--n-heads", "1", "--context-length", "8"]
for line in (
    ["info"],
    ["train", "t.txt", "--vocab-size", "260", "--steps", "2", "--out", "run", *shape],
    ["generate", "run", "the", "--max-new-tokens", "3"],
    ["eval", "run"],
    ["tokenize", "t.txt", "--steps", "2"],
    ["gradcheck", "--layer", "LayerNorm"],
):
    try:
        app(line)
    except SystemExit as end:
        assert not end.code, line
assert "npgpt.ops.compiled" not in sys.modules
print("all")
"""


def test_without_numbas_compiler_the_commands_work(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(tmp_path)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.splitlines()[-1:] == ["all"], result.stderr
    assert "NUMBA_DISABLE_JIT is set" in result.stdout
