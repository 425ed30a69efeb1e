"""How well a model finds masked words, for npgpt eval."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer

from npgpt.cli.shared.console import console
from npgpt.cli.shared.tables import print_numbers

if TYPE_CHECKING:
    import numpy as np

    from npgpt.data import Corpus
    from npgpt.runs import OpenedBert

BATCH_SIZE, TOKENS = 32, 2000


def measure(
    opened: OpenedBert,
    corpus: Corpus | None,
    checkpoint: str,
    each: bool,
    limit: int | None,
    batch_size: int | None,
    as_json: bool,
) -> None:
    """Print loss and accuracy of a model on masked words; the masks are always the same.

    Parameters
    ----------
    opened : OpenedBert
    corpus : Corpus or None
        None stands for a run's held-out text.
    checkpoint : str
        That was opened, to be told.
    each : bool
        Whether tokens are masked one at a time, for the pseudo-perplexity.
    limit : int, optional
        Tokens to mask one at a time.
    batch_size : int, optional
    as_json : bool
    """
    from npgpt.cli.shared.progress import compile_kernels, counting_bar
    from npgpt.data import EachTokenMasked, HeldOutBatches, masked_words, never_asked_for
    from npgpt.data.sequences import PaddedTexts
    from npgpt.evaluation.masked import evaluate_masked, frequency_accuracy
    from npgpt.runs import PretrainingRun

    mask_id = opened.mask_id()
    run = opened.run if isinstance(opened.run, PretrainingRun) else None
    if corpus is None and run is None:
        raise typer.BadParameter(f"{opened.name} is not a run with a held-out text: give a TEXT.")
    pieces: list[np.ndarray] = []
    if corpus is not None:
        texts: Iterable[np.ndarray] = map(opened.tokenizer.encode, corpus.documents)
        name = corpus.name
    elif run is not None:
        texts, name = [run.windows[1].ids], f"held-out part of {run.corpus.name}"
    if corpus is not None or each:
        pieces = [piece for ids in texts for piece in opened.pieces(ids)]
        if not pieces:
            raise ValueError(f"{name} has no tokens.")
    size = batch_size or BATCH_SIZE
    if each:
        special = never_asked_for(opened.tokenizer)
        batches = HeldOutBatches(EachTokenMasked(pieces, mask_id, special, limit or TOKENS), size)
    elif pieces:
        chosen = run.config.data.chosen_masks if run else {}
        batches = HeldOutBatches(
            masked_words(PaddedTexts(pieces), opened.tokenizer, **chosen), size
        )
    else:
        assert run is not None
        batches = run.held_out_batches()
    compile_kernels(console, opened.model.config)
    with counting_bar(console, "Evaluating", len(batches)) as on_batch:
        found = evaluate_masked(opened.model, batches, on_batch)
    numbers: dict[str, Any] = {
        "text": name,
        "checkpoint": checkpoint,
        "masked_words": found.words,
        "loss": found.loss,
        "accuracy": found.accuracy,
        "standard_error": found.standard_error,
    }
    if each:
        numbers["pseudo_perplexity"] = math.exp(found.loss)
    if run is not None:
        numbers["commonest_word"] = frequency_accuracy(run.windows[0].ids, batches)
    print_numbers(numbers, as_json)
