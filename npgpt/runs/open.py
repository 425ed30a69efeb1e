"""What a command's MODEL stands for: a run folder, a Hugging Face folder, or a name on the hub."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from npgpt import hub, tokenizers
from npgpt.layers.quantized import KINDS
from npgpt.models import GPT
from npgpt.runs.folder import CONFIG
from npgpt.runs.pretraining import TOKENIZER, Run
from npgpt.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True)
class OpenedModel:
    """A model and what belongs to it.

    Attributes
    ----------
    name : str
        As it was asked for.
    model : GPT
        Ready to generate.
    tokenizer : Tokenizer
    folder : Path
        Of the run, or of the files in Hugging Face's format.
    run : Run or None
        Of a model that npgpt trained.
    """

    name: str
    model: GPT
    tokenizer: Tokenizer
    folder: Path
    run: Run | None = None


def open_model(
    name_or_folder: str | Path,
    checkpoint: str = "best",
    dtype=np.float32,
    revision: str | None = None,
) -> OpenedModel:
    """Load a model and its tokenizer, whichever of the three kinds of place it is in.

    Parameters
    ----------
    name_or_folder : str or path
        A run folder of ``npgpt train``, a folder in Hugging Face's format, or a name on the hub
        such as ``gpt2``; tried in this order.
    checkpoint : {"best", "last"}
        Of a run.
    dtype : dtype
        Of the parameters; ``"bfloat16"`` or ``"int8"`` for inference only.
    revision : str, optional
        Of a model on the hub.

    Raises
    ------
    FileNotFoundError
        If there is no such model, or a file of it is missing.
    ValueError
        If a file of it is damaged, or its parts do not fit each other.
    RuntimeError
        If it must be downloaded and huggingface_hub is not installed.
    """
    folder = hub.fetch(name_or_folder, revision)
    if is_fine_tuned(folder):
        return _open_fine_tuned(str(name_or_folder), folder, checkpoint, dtype)
    if is_run(folder):
        run = Run.open(folder)
        model = run.load_model(checkpoint)
        _convert(model, dtype)
        return OpenedModel(str(name_or_folder), model, run.tokenizer, folder, run)
    tokenizer = open_tokenizer(folder)
    model = GPT.from_pretrained(folder, dtype)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, more than the model's "
            f"{model.config.vocab_size}."
        )
    return OpenedModel(str(name_or_folder), model, tokenizer, folder)


def is_run(folder: Path) -> bool:
    """Tell whether a folder is one that ``npgpt train`` made."""
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} is not a model: there is no {CONFIG} in it, as a run folder of npgpt train "
            "and a folder in Hugging Face's format have."
        )
    return "training" in hub.read_json(path)


def is_fine_tuned(folder: Path) -> bool:
    """Tell whether a folder is one that ``npgpt finetune`` made."""
    path = folder / CONFIG
    return path.is_file() and "finetuning" in hub.read_json(path)


def _open_fine_tuned(name: str, folder: Path, checkpoint: str, dtype) -> OpenedModel:
    from npgpt.runs.finetuning import FineTuningRun  # which opens base models by this module

    run = FineTuningRun.open(folder)
    model = run.load_gpt(checkpoint)
    _convert(model, dtype)
    return OpenedModel(name, model, run.tokenizer, folder)


def _convert(model: GPT, dtype) -> None:
    if isinstance(dtype, str) and dtype in KINDS:
        model.quantize(dtype)
    elif model.dtype != np.dtype(dtype):
        model.astype(dtype)


def open_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of a folder in Hugging Face's format."""
    if not (folder / TOKENIZER).is_file() and (folder / "merges.txt").is_file():
        return tokenizers.load_folder(folder)
    return tokenizers.load(folder / TOKENIZER)
