"""The files of a run's folder, and the one that says what the run is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from npgpt.files import CONFIG, refuse_used, write_atomically
from npgpt.training.trainer import BEST, LAST
from npgpt.version import __version__

METRICS, LOSS_PLOT = "metrics.jsonl", "loss.png"
FLOW, FLOW_PLOT = "gradient_flow.jsonl", "gradient_flow.png"
CHECKPOINTS = {"best": BEST, "last": LAST}
TEXT = "corpus.txt"  # of a run on standard input
BASE = "base.safetensors"  # the weights that a fine-tuning began with
ADAPTER = "adapter"
CONFUSION_PLOT, REWARDS_PLOT, RESPONSES = "confusion.png", "rewards.png", "responses.jsonl"

KIND = "kind"


def refuse_used_by_run(folder: Path) -> None:
    """Raise FileExistsError if a new run cannot be made here."""
    refuse_used(folder, f"choose another folder with --out, or go on with --resume {folder}")


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write a run's settings, with the version that wrote them."""
    content = json.dumps({"npgpt_version": __version__, **settings}, indent=2) + "\n"
    write_atomically(folder / CONFIG, content.encode())


def read_settings(folder: Path) -> dict[str, Any]:
    """Read what `write_settings` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no run.
    ValueError
        If the file is damaged.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not a run: there is no {CONFIG} in it.")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("its JSON is not an object")
    except ValueError as error:
        raise ValueError(f"{path} is not a whole run config ({error}).") from None
    return settings
