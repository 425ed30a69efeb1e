"""Write everything that is stored here anew, with the npgpt that is there.

    python -m tests.stored.make            # all of it: what is stored now is lost
    python -m tests.stored.make digests    # only the digests, for one more processor

What is stored was written by commit 1c62a3e, the last one before the redesign, and proves that later
versions read it and compute the same. So both are for that commit: `git worktree add ../before
1c62a3e`, copy `tests/stored` there, and run it there. `NPGPT_NUM_THREADS=1` is set if it is not.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("NPGPT_NUM_THREADS", "1")

import numpy as np
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from npgpt import GPT, GPTConfig, ops
from npgpt.cli import app
from npgpt.finetuning import FineTuningRun
from npgpt.tokenizers import BPETokenizer, WordBPETokenizer
from npgpt.training import open_model
from tests.stored import folders
from tests.stored import golden_numbers as numbers
from tests.stored.folders import DATA, PLACE, RUNS, STOPPED, TUNED

WRITTEN = ("tokenizers", "tokens", "runs", "tuned", "pretrained")  # the rest was written by hand
HEADER = {"format": "pt"}


def make_tokenizers(place):
    """Write the tokenizers that are not learned by a run: of words' letters, and GPT-2's two files."""
    text = (place / "corpus.txt").read_text(encoding="utf-8")
    folder = place / "tokenizers"
    (folder / "gpt2").mkdir(parents=True)
    WordBPETokenizer.train(text, num_merges=40).save(folder / "word_bpe.json")
    BPETokenizer.train([text], vocab_size=275).save(folder / "bpe.json")
    model = json.loads((folder / "bpe.json").read_text(encoding="utf-8"))["model"]
    (folder / "bpe.json").unlink()
    vocabulary = json.dumps(model["vocab"], ensure_ascii=False)
    (folder / "gpt2" / "vocab.json").write_text(vocabulary, encoding="utf-8")
    merges = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"]), ""]
    (folder / "gpt2" / "merges.txt").write_text("\n".join(merges), encoding="utf-8")


def make_run(name, place):
    """Train a run up to where it is stopped."""
    run = folders.create_anew(name, place, place / name)
    if name.startswith("tuned/"):
        make_movable(run, place)
        run = FineTuningRun.open(run.folder)
    stopped = STOPPED[run.folder.parent.name]
    trainer = run.trainer([folders.StopAt(stopped)])
    trainer.fit()
    state = trainer.state
    assert 0 < state.best_step <= state.evaluated_step < state.step == stopped < trainer.steps, name
    if name.startswith("tuned/") and run.config.method == "lora":
        run.save_adapter()


def make_movable(run, place):
    """Name a run's records from where the test works, in its fingerprint of them too."""
    path = run.folder / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    data = Path(run.config.data).relative_to(place).as_posix()
    content = {
        part: [[r.where.replace(run.config.data, data), r.fields] for r in records]
        for part, records in run.task.records.items()
    }
    text = json.dumps(content, sort_keys=True).encode()
    settings["finetuning"]["data"] = data
    settings["data_fingerprint"] = hashlib.sha256(text).hexdigest()
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def make_pretrained(place):
    """Write a model as Hugging Face's transformers, nanoGPT and OpenAI keep it."""
    folder = place / "pretrained"
    opened = open_model(place / "runs" / "bpe")
    opened.model.save_pretrained(folder / "single", opened.tokenizer)
    small = {"vocab_size": opened.tokenizer.vocab_size, "context_length": 16, "n_layers": 2}
    small |= {"n_heads": 2, "d_model": 8}
    config = GPTConfig(**small, d_ff=20, tie_embeddings=False, activation="gelu_exact")
    model = shaken(config)
    model.save_pretrained(folder / "shards", opened.tokenizer, shard_size=6000)

    shutil.copytree(folder / "single", folder / "float16")
    path = folder / "float16" / "model.safetensors"
    arrays = load_file(path)
    save_file({name: a.astype(np.float16) for name, a in arrays.items()}, path, HEADER)

    shaken(GPTConfig(**small, bias=False)).save_pretrained(folder / "nanogpt", opened.tokenizer)
    (folder / "nanogpt" / "generation_config.json").unlink()
    path = folder / "nanogpt" / "model.safetensors"
    arrays = {
        f"_orig_mod.{name}": np.ascontiguousarray(a.T)
        if re.search(r"c_(attn|proj|fc)\.weight$", name)
        else a
        for name, a in load_file(path).items()
        if not name.endswith(".bias")
    }
    arrays["_orig_mod.lm_head.weight"] = arrays["_orig_mod.transformer.wte.weight"]
    save_file(arrays, path, HEADER)
    fields = {"n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 16, "bias": False}
    fields |= {"vocab_size": small["vocab_size"], "dropout": 0.0}
    write_json(folder / "nanogpt" / "config.json", fields)

    small["vocab_size"] = 275
    shaken(GPTConfig(**small)).save_pretrained(folder / "openai")
    for name in ("config.json", "generation_config.json"):
        (folder / "openai" / name).unlink()
    path = folder / "openai" / "model.safetensors"
    save_file(dict(map(openai_array, *zip(*load_file(path).items(), strict=True))), path, HEADER)
    hparams = {"n_vocab": 275, "n_ctx": 16, "n_embd": 8, "n_head": 2, "n_layer": 2}
    write_json(folder / "openai" / "hparams.json", hparams)
    for ours, theirs in (("vocab.json", "encoder.json"), ("merges.txt", "vocab.bpe")):
        shutil.copyfile(place / "tokenizers" / "gpt2" / ours, folder / "openai" / theirs)


def openai_array(name, array):
    """Name an array as OpenAI's checkpoints do, and give it the form that it has there."""
    name = re.sub(r"^transformer\.(h\.(\d+)\.)?", lambda m: f"h{m[2]}/" if m[1] else "", name)
    if name.startswith(("wte", "wpe")):
        return f"model/{name.removesuffix('.weight')}", array
    module, _, end = name.rpartition(".")
    norm = "ln_" in module
    end = {"weight": "g" if norm else "w", "bias": "b"}[end]
    return f"model/{module.replace('.', '/')}/{end}", array[None] if array.ndim == 2 else array


def shaken(config):
    """Make a model in which no parameter is where it starts."""
    model, rng = GPT(config, seed=9), np.random.default_rng(9)
    for parameter in model.parameters():
        parameter.value += (0.2 * rng.standard_normal(parameter.shape)).astype(np.float32)
    return model.eval()


def make_folders(place):
    """Write all folders to a place, and take from there what is stored."""
    for name in folders.INPUTS:
        if name not in WRITTEN:
            folders.copy_entry(name, place)
    os.chdir(place)
    make_tokenizers(place)
    arguments = ["tokenize", "corpus.txt", "--vocab-size=280", "--out=tokens"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    for name in RUNS:
        make_run(f"runs/{name}", place)
    make_pretrained(place)
    for name in TUNED:
        make_run(f"tuned/{name}", place)
    for name in WRITTEN:
        shutil.rmtree(DATA / name, ignore_errors=True)
        shutil.copytree(place / name, DATA / name)
    folders.exchange(DATA, place.as_posix(), PLACE)
    for path in DATA.rglob("*"):
        assert path.is_dir() or place.name.encode() not in path.read_bytes(), path


def make_expected():
    """Note what the stored folders say, and how the runs end."""
    said = {}
    for name in folders.FOLDERS:
        with tempfile.TemporaryDirectory() as place, ops.use("reference"):
            place = Path(place)
            folder = folders.copy(name, place)
            os.chdir(place)
            exact, arrays = folders.said_by(name, place)
            said[name] = {
                "exact": exact,
                "numbers": {k: folders.plain(v) for k, v in arrays.items()},
            }
            if name.startswith("pretrained/"):
                model = GPT.from_pretrained(folder)
                said[name]["config"] = model.config.to_dict()
                said[name]["weights"] = numbers.digest(model.state_dict())
            else:
                said[name]["losses"] = folders.losses(folders.resume(folder)[1])
    for command in folders.COMMANDS:
        with tempfile.TemporaryDirectory() as place, ops.use("reference"):
            os.chdir(place)
            said[command] = folders.printed_by(command, Path(place))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(said[name])}" for name in said)
    folders.EXPECTED.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def make_golden():
    """Write the golden numbers' values, and the names and shapes of all parameters."""
    shutil.rmtree(numbers.GOLDEN, ignore_errors=True)
    numbers.GOLDEN.mkdir()
    shapes = {}
    for name in numbers.CONFIGS:
        arrays = {}
        for dropout in numbers.DROPOUTS:
            for part, values in numbers.measured(name, dropout, "float64", "reference").items():
                if not part.startswith("fused"):
                    arrays |= {f"{dropout}/{part}/{key}": array for key, array in values.items()}
        save_file(arrays, numbers.GOLDEN / f"{numbers.file_name(name)}.safetensors")
        shapes[name] = numbers.names_and_shapes(numbers.model_of(name))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(shapes[name])}" for name in shapes)
    numbers.PARAMETERS.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def make_digests():
    """Write the digests of this processor beside those of others."""
    golden = {
        numbers.case_name(*case): {
            part: numbers.digest(arrays) for part, arrays in numbers.measured(*case).items()
        }
        for case in numbers.CASES
    }
    said, ended = {}, {}
    for name in folders.FOLDERS:
        for backend in ops.BACKENDS:
            with tempfile.TemporaryDirectory() as place, ops.use(backend):
                place = Path(place)
                folder = folders.copy(name, place)
                os.chdir(place)
                case = f"{name}, {backend}"
                said[case] = numbers.digest(folders.said_by(name, place)[1])
                if not name.startswith("pretrained/"):
                    ended[case] = numbers.digest(folders.resume(folder)[0])
    path = numbers.DIGESTS
    digests = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    digests[numbers.key()] = {"golden": golden, "said": said, "ended": ended}
    write_json(path, digests)


def write_json(path, content):
    """Write JSON with a line for each field."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["digests"]:
        with tempfile.TemporaryDirectory() as work, ops.use("reference"):
            make_folders(Path(work).resolve())
        make_expected()
        make_golden()
        numbers.DIGESTS.unlink(missing_ok=True)  # of what was stored before
    make_digests()
