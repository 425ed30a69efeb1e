"""The stored folders: what is in each, and what a folder writes, says and becomes when resumed."""

import dataclasses
import json
import shutil
import signal
import warnings
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from npgpt import GPT, tokenizers
from npgpt.cli import app
from npgpt.finetuning import FineTuningConfig, FineTuningRun, encode_text, respond
from npgpt.generation import ContextWarning
from npgpt.training import Callback, Run, TrainingConfig, evaluate, load_checkpoint

DATA = Path(__file__).parent / "data"
EXPECTED = Path(__file__).parent / "expected.json"
INPUTS = ("corpus.txt", "documents.jsonl", "records", "tokenizers", "tokens")
PLACE = "<stored>"  # stands for the folder of the copy in which a test works
STOPPED = {"runs": 50, "tuned": 20}  # the step after which runs were interrupted, not evaluated

RUN = {
    "corpus": f"{PLACE}/corpus.txt", "tokenizer": "char", "validation_fraction": 0.15,
    "context_length": 16, "n_layers": 2, "n_heads": 2, "d_model": 8, "batch_size": 8,
    "steps": 60, "eval_every": 15, "eval_batches": 3, "lr": 6e-2,
    "tie_embeddings": False, "seed": 3,
}  # fmt: skip
BPE = {"tokenizer": "bpe", "vocab_size": 280, "context_length": 64}
LLAMA = {"position": "rope", "norm": "rms", "activation": "swiglu", "bias": False}
RUNS = {
    "bpe": {**BPE, "gradient_flow": 15},
    "char": {"stride": 5, "tie_embeddings": True},
    "word": {"tokenizer": "word", "tie_embeddings": True},
    "word_bpe": {"tokenizer": f"{PLACE}/tokenizers/word_bpe.json"},
    "gpt2_files": {"tokenizer": f"{PLACE}/tokenizers/gpt2", "tie_embeddings": True},
    "documents": {"corpus": f"{PLACE}/documents.jsonl", "field": "body", "errors": "replace"},
    "tokens": {"corpus": f"{PLACE}/tokens", "tie_embeddings": True},
    "llama": {
        **BPE, **LLAMA, "n_heads": 4, "n_kv_heads": 2, "gradient_flow": 20,
    },
    "qwen": {**LLAMA, "n_kv_heads": 1, "qkv_bias": True, "rope_theta": 500.0, "d_ff": 12},
    "t5": {"position": "t5", "norm": "rms", "activation": "relu", "bias": False},
    "alibi": {"position": "alibi", "window": 5},
    "original": {"position": "sinusoidal", "norm_position": "post", "activation": "relu"},
    "post": {"norm_position": "post", "activation": "gelu_exact", "d_ff": 20},
    "bare": {"position": "none", "norm": "none", "shortcut": False},
    "tied": {"tie_embeddings": True, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.0},
    "recompute": {"recompute": True, "dropout": 0.1, "gradient_flow": 20},
    "dropout": {"dropout": 0.2, "clip_norm": 0.0, "min_lr": 0.0, "warmup_steps": 2},
    "accumulated": {"grad_accumulation": 3, "clip_norm": 0.5},
}  # fmt: skip

SINGLE, OF_BPE, OF_LLAMA = (
    f"{PLACE}/{name}" for name in ("pretrained/single", "runs/bpe", "runs/llama")
)
TUNING = {
    "template": "chat", "epochs": 8, "batch_size": 6, "lr": 2e-2, "rank": 2, "alpha": 4.0,
    "evals_per_epoch": 1, "patience": 0, "seed": 3,
}  # fmt: skip
CLASSES = {
    "task": "classify", "base": SINGLE, "data": "records/labelled.csv", "text_column": "sentence",
    "label_column": "kind", "split_column": "part",
}  # fmt: skip
INSTRUCTIONS = {"task": "instruct", "base": OF_BPE, "data": "records/instructions.jsonl"}
PREFERENCES = {"task": "dpo", "base": SINGLE, "data": "records/preferences.jsonl"}
TUNED = {
    "classify-full": {**CLASSES, "method": "full", "lm_coef": 0.5},
    "classify-last-block": {**CLASSES, "method": "last-block", "dropout": 0.1},
    "classify-lora": {
        "task": "classify", "base": OF_BPE, "data": "records/labelled.jsonl", "method": "lora",
        "lora_dropout": 0.1,
    },
    "instruct-full": {**INSTRUCTIONS, "method": "full", "mask_prompt": False},
    "instruct-last-block": {**INSTRUCTIONS, "method": "last-block", "packing": True, "epochs": 16},
    "instruct-lora": {
        **INSTRUCTIONS, "base": OF_LLAMA, "method": "lora",
        "target_modules": ("qkv", "feed_forward.*"), "lr": 5e-2,
    },
    "dpo-full": {**PREFERENCES, "method": "full", "beta": 0.3, "lr": 1e-3},
    "dpo-last-block": {**PREFERENCES, "method": "last-block", "dropout": 0.1, "lr": 2e-3},
    "dpo-lora": {
        **PREFERENCES, "base": OF_LLAMA, "method": "lora", "grad_accumulation": 2, "epochs": 16,
        "patience": 3, "lr": 2e-3,
    },
}  # fmt: skip
# npgpt info and open_model need a config.json, which OpenAI's form does not have
PRETRAINED = ("single", "shards", "float16", "nanogpt", "openai")
FOLDERS = (
    *(f"runs/{name}" for name in RUNS),
    *(f"tuned/{name}" for name in TUNED),
    *(f"pretrained/{name}" for name in PRETRAINED),
)
# what the command line prints for them, in a copy
COMMANDS = (
    "generate runs/llama The-kettle --max-new-tokens=20 --seed=1",
    "generate pretrained/single The --max-new-tokens=20 --seed=1 --temperature=0.7 --top-k=9",
    "generate tuned/instruct-full Hello --max-new-tokens=12 --seed=1",
    "eval runs/word_bpe --json",
    "eval runs/tokens --json --checkpoint=last",
    "eval pretrained/shards corpus.txt --json",
    "eval tuned/dpo-lora corpus.txt --json",
    "classify tuned/classify-last-block rain --json",
)
SENTENCES = ("a pear and a plum", "the saw", "rain, and then more rain before the frost")
PROMPT = "<|user|>\nWhat is fig?\n<|assistant|>\n"


class StopAt(Callback):
    """Ask for a stop after a step, as Ctrl-C would."""

    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, metrics):
        """Send the signal."""
        if metrics.step == self.step:
            signal.raise_signal(signal.SIGINT)


# --- copies -------------------------------------------------------------------------------------


def copy(name, place):
    """Copy a stored folder, and all that it speaks of, to a place; returns the folder there."""
    for entry in (*INPUTS, name):
        copy_entry(entry, place)
    exchange(place / name, PLACE, place.as_posix())
    return place / name


def copy_entry(entry, place):
    """Copy one stored file or folder as it is, if it is not there yet."""
    source, target = DATA / entry, place / entry
    if not target.exists():
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)


def exchange(folder, old, new):
    """Put one path in the place of another in the settings of a folder."""
    for path in folder.rglob("*config.json"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(old, new), encoding="utf-8")


def open_run(folder):
    """Open a run of either kind."""
    return (FineTuningRun if folder.parent.name == "tuned" else Run).open(folder)


def create_anew(name, place, folder):
    """Make the run that is stored under a name once more, in a folder, before its first step."""
    kind, _, name = name.partition("/")
    settings = {**RUN, **RUNS[name]} if kind == "runs" else {**TUNING, **TUNED[name]}
    for field, value in settings.items():
        if isinstance(value, str):
            settings[field] = value.replace(PLACE, place.as_posix())
    if kind == "runs":
        return Run.create(folder, TrainingConfig(**settings))
    return FineTuningRun.create(folder, FineTuningConfig(**settings))


def resume(folder):
    """Take up a run, and go on to its end; returns its last arrays and lines of metrics."""
    run = open_run(folder)
    trainer = run.trainer()
    trainer.resume()
    trainer.fit()
    arrays, state = load_checkpoint(folder / "last.safetensors")
    lines = [line for line in run.metrics if line["step"] > STOPPED[folder.parent.name]]
    return arrays | {"best loss": np.array(state["training"]["best_loss"])}, lines


def losses(lines):
    """Take from lines of metrics what does not depend on the clock."""
    return [[line["kind"], line["step"], line["loss"]] for line in lines]


def still_said(name, losses):
    """Leave out what a later version says otherwise on purpose.

    The training loss of a classifier that also learns the language was that of the classes alone;
    now it is the one that is trained on. Weights and evaluations are the same.
    """
    if name != "tuned/classify-full":
        return losses
    return [line for line in losses if line[0] == "evaluation"]


# --- what a folder says ---------------------------------------------------------------------------


def said_by(name, place):
    """Return what a folder in a copy says: ids and texts, which are exact, and numbers."""
    kind, _, short = name.partition("/")
    folder = place / name
    if kind == "pretrained":
        model = GPT.from_pretrained(folder)
        tokenizer = (
            tokenizers.load_folder(folder)
            if short == "openai"
            else tokenizers.load(folder / "tokenizer.json")
        )
        return written_by(model, tokenizer)
    run = open_run(folder)
    if kind == "runs":
        exact, numbers = written_by(run.load_model(), run.tokenizer)
        for checkpoint in ("best", "last"):
            model = run.load_model(checkpoint)
            numbers[f"held-out loss, {checkpoint}"] = evaluate(model, run.held_out_batches()).loss
        return exact, numbers
    return said_by_tuned(run, run.load_model())


def written_by(model, tokenizer):
    """Let a model write in every way, and say how likely a text is."""
    ids = tokenizer.encode("The last one was on the")[:6]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ContextWarning)  # it writes past its context on purpose
        exact = {
            "greedy": model.generate(ids, 8, temperature=0.0),
            "sampled": model.generate(ids, model.config.context_length + 8, seed=4),
            "chosen": model.generate(
                ids, 8, temperature=0.9, top_k=12, top_p=0.95, seed=5, repetition_penalty=1.2
            ),
            "several": [*map(list, model.generate([ids, ids[:2]], 5, temperature=0.0))],
            "padded": model.generate(
                np.stack([ids, np.roll(ids, 2)]), 5, temperature=0.0,
                attention_mask=np.arange(len(ids)) >= [[0], [2]],
            ),
            "beams": model.beam_search(ids, 6, num_beams=3),
        }  # fmt: skip
    exact = {name: plain(ids) for name, ids in exact.items()}
    exact["text"] = tokenizer.decode(exact["sampled"])
    numbers = {
        "logits of the next token": model.forward(ids[None])[0, -1, :40],
        "log-likelihood": model.log_likelihood(ids[:2], ids[2:]),
    }
    return exact, numbers


def said_by_tuned(run, model):
    """Let a fine-tuned model do what it was tuned for."""
    tokenizer, context = run.tokenizer, run.model_config.context_length
    if run.config.task == "classify":
        texts = [encode_text(sentence, tokenizer, context) for sentence in SENTENCES]
        lengths = np.array([*map(len, texts)])
        padded = np.zeros((len(texts), lengths.max()), np.int64)
        for row, ids in zip(padded, texts, strict=True):
            row[: len(ids)] = ids
        probabilities = model.probabilities(padded, lengths)
        chosen = [run.labels[i] for i in probabilities.argmax(axis=1)]
        return {"labels": run.labels, "classes": chosen}, {"probabilities": probabilities}
    ids = tokenizer.encode(PROMPT)
    exact = {
        "response": respond(model, tokenizer, PROMPT, max_new_tokens=12),
        "sampled": plain(model.generate(ids, 12, seed=4)),
    }
    numbers = {
        "logits of the next token": model.forward(ids[None])[0, -1, :40],
        "log-likelihood": model.log_likelihood(ids, tokenizer.encode("fruit.")),
    }
    if run.config.task == "dpo":
        for who, scores in zip(("base", "tuned"), run.test_preferences(), strict=True):
            numbers |= {f"{who} {k}": v for k, v in dataclasses.asdict(scores).items()}
    return exact, numbers


def printed_by(command, place):
    """Return what a command prints about the folder that it names."""
    copy(command.split()[1], place)
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in command else result.stdout


def plain(value):
    """Turn arrays into lists of Python numbers, as JSON has them."""
    if isinstance(value, (list, tuple)):
        return [*map(plain, value)]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def expected():
    """Read what every folder said when it was made."""
    return json.loads(EXPECTED.read_text(encoding="utf-8"))
