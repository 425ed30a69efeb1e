"""What npgpt train does with a run that learns to translate."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from npgpt.cli.shared.console import console
from npgpt.cli.shared.training import described, train
from npgpt.data.pairs import Pair
from npgpt.files import quoted
from npgpt.generation.translated import translate_texts
from npgpt.models.sequence_to_sequence import SequenceToSequence
from npgpt.runs import TranslationRun
from npgpt.runs.folder import LOSS_PLOT
from npgpt.training import Trainer

NUM_SAMPLES, NUM_SHOWN = 3, 6  # held-out pairs: at an evaluation, and at the end


def train_translator(run: TranslationRun, resuming: bool) -> None:
    """Train to the end, and show what the model makes of held-out sources."""
    train(
        run,
        resuming,
        lambda trainer: _introduction(run, trainer),
        f"npgpt train --resume {quoted(run.folder)}",
        sample=lambda model: translated(run, model, run.some_held_out(NUM_SAMPLES)),
    )
    shown = run.some_held_out(NUM_SHOWN)
    console.print("The model translates:")
    console.print(translated(run, run.load_translator(), shown), soft_wrap=True)
    if (run.folder / LOSS_PLOT).is_file():
        console.print(f"Loss curve: {run.folder / LOSS_PLOT}", soft_wrap=True)
    console.print(
        f"Next: npgpt translate {quoted(run.folder)} {quoted(shown[0].source)}", soft_wrap=True
    )


def translated(run: TranslationRun, model: SequenceToSequence, pairs: list[Pair]) -> str:
    """Write sources, what a model makes of them, and what it should where that differs."""
    sources = [pair.source for pair in pairs]
    most = run.config.context_length
    lines = []
    for pair, (best,) in zip(
        pairs, translate_texts(model, run.tokenizer, sources, max_new_tokens=most), strict=True
    ):
        expected = "" if best.text == pair.target else f"  (expected: {pair.target})"
        lines.append(f"{pair.source} -> {best.text}{expected}")
    return "\n".join(lines)


def _introduction(run: TranslationRun, trainer: Trainer) -> list[str | Text]:
    tokenizers = run.tokenizer
    sizes = [f"{each.vocab_size:,}" for each in (tokenizers.source, tokenizers.target)]
    vocabularies = (
        f"one vocabulary of {sizes[0]}"
        if tokenizers.is_joint
        else f"vocabularies of {' and '.join(sizes)}"
    )
    name, _, counts = str(run.parts).partition(":")
    kind = type(tokenizers.target).__name__
    return [
        console.styled(Path(name).name, rest=f":{counts}, {vocabularies} ({kind})"),
        *run.corpus.left_out.sentences(),
        described(trainer.model),
    ]
