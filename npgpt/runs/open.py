"""What a command's MODEL stands for: a run folder, a Hugging Face folder, or a name on the hub."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from npgpt import hub
from npgpt.files import CONFIG
from npgpt.generation import ids_without_token
from npgpt.layers.quantized import KINDS as FEWER_BITS
from npgpt.models import LanguageModel, Model
from npgpt.models.config import check_is_gpt
from npgpt.models.pretrained import load_pretrained
from npgpt.runs.run import Run, kind_of, writes_no_text
from npgpt.runs.tokenizer import open_tokenizer
from npgpt.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True)
class OpenedModel:
    """A model and what belongs to it.

    Attributes
    ----------
    name : str
        As it was asked for.
    model : LanguageModel
        Ready to generate; a `GPT`, unless it is of another family.
    tokenizer : Tokenizer
    folder : Path
        Of the run, or of the files in Hugging Face's format.
    run : Run or None
        Of a model that npgpt trained or fine-tuned.
    """

    name: str
    model: Any
    tokenizer: Tokenizer
    folder: Path
    run: Run | None = None

    @property
    def kind(self) -> str:
        """The kind of the run ("training", "finetuning"), or "pretrained"."""
        return self.run.kind if self.run else "pretrained"


def open_model(
    name_or_folder: str | Path,
    checkpoint: str = "best",
    dtype: Any = np.float32,
    revision: str | None = None,
) -> OpenedModel:
    """Load a model that writes text and its tokenizer, whichever kind of place it is in.

    Parameters
    ----------
    name_or_folder : str or path
        A run folder of ``npgpt train`` or ``npgpt finetune``, a folder in Hugging Face's format, or
        a name on the hub such as ``gpt2``; tried in this order.
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
        If a file of it is damaged, its parts do not fit each other, or it writes no text.
    RuntimeError
        If it must be downloaded and huggingface_hub is not installed.
    """
    name, folder = str(name_or_folder), hub.fetch(name_or_folder, revision)
    if (run := find_run(folder)) is not None:
        model: Any = run.load_language_model(checkpoint)
        _convert(model, dtype)
        return OpenedModel(name, _drawing_tokens(model, run.tokenizer), run.tokenizer, folder, run)
    tokenizer = open_tokenizer(folder)
    model = load_pretrained(Model, folder, dtype)
    if not isinstance(model, LanguageModel):
        raise ValueError(writes_no_text(folder, model))
    rows = model.config.vocab_size
    # special tokens without a row are never drawn, nor what a text is encoded to
    if np.any(tokenizer.bytes_per_token()[rows:]):
        raise ValueError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, more than the model's "
            f"{rows}."
        )
    return OpenedModel(name, _drawing_tokens(model, tokenizer), tokenizer, folder)


def find_run(folder: Path) -> Run | None:
    """Open the run in a folder of a model; None if the folder is in Hugging Face's format.

    Raises
    ------
    FileNotFoundError
        If it is no model's folder.
    ValueError
        If a file of it is damaged.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} is not a model: there is no {CONFIG} in it, as a run folder of npgpt train "
            "and a folder in Hugging Face's format have."
        )
    return Run.open(folder) if kind_of(hub.read_json(path)) else None


def _drawing_tokens(model: Any, tokenizer: Tokenizer) -> Any:
    """Let a model never draw an id that stands for no token; returns it."""
    if without := ids_without_token(tokenizer, model.config.vocab_size):
        suppressed = {*model.sampling.suppressed, *without}
        model.sampling = dataclasses.replace(model.sampling, suppressed=suppressed)
    return model


def _convert(model: Any, dtype: Any) -> None:
    if isinstance(dtype, str) and dtype in FEWER_BITS:
        check_is_gpt(model.config, f"dtype {dtype}")
        model.quantize(dtype)
    elif next(iter(model.parameters())).value.dtype != np.dtype(dtype):
        model.astype(dtype)
