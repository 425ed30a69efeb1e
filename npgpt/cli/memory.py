"""npgpt memory."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from npgpt import hub
from npgpt.cli.app import tells_errors
from npgpt.cli.shared.console import console
from npgpt.cli.shared.options import usage_errors, with_options
from npgpt.cli.shared.tables import plain_table
from npgpt.fields import check_options, names_of, option
from npgpt.finetuning.config import METHODS
from npgpt.layers import Parameter
from npgpt.models import MODELS, ModelConfig
from npgpt.models.config import GPT2_SIZES, GPTConfig, check_is_gpt
from npgpt.models.sequence_to_sequence import SequenceToSequenceConfig
from npgpt.optim import OPTIMIZERS
from npgpt.runs import OptimisationConfig, RunConfig, TranslationConfig
from npgpt.runs.run import make_optimizer


@dataclasses.dataclass(frozen=True)
class Step:
    """What is trained, and how; by default as for what is no run.

    Parameters
    ----------
    config : ModelConfig
    batch_size : int
        Sequences, or pairs.
    time : int, optional
        Tokens of each sequence, or of each side.
    recompute : bool
        Compute each block again for backward.
    method : {"full", "last-block", "lora"}
        What is trained, as of npgpt finetune: full, last-block or lora.
    rank : int
        Of LoRA.
    optimizer : {"adamw", "adam", "sgd"}
        As of npgpt train: adamw, adam or sgd.
    momentum : float
        Of sgd; 0 is none.
    """

    config: Any
    batch_size: int = option(default=4, minimum=1, shown_default="the run's, or 4")
    time: int | None = option(default=None, minimum=1, shown_default="the context length")
    recompute: bool = option(
        default=False,
        names=("--recompute/--no-recompute",),
        shown_default="the run's, or no-recompute",
    )
    method: str = option(default="full", choices=METHODS, shown_default="the run's, or full")
    rank: int = option(default=8, minimum=1, shown_default="the run's, or 8")
    optimizer: str = option(
        default="adamw", choices=tuple(OPTIMIZERS), shown_default="the run's, or adamw"
    )
    momentum: float = option(default=0.9, shown_default="the run's, or 0.9")

    def __post_init__(self) -> None:
        check_options(self)
        self.optimisation  # noqa: B018  (raises if the momentum is out of range)

    @property
    def optimisation(self) -> OptimisationConfig:
        """The settings of the optimiser."""
        return OptimisationConfig(optimizer=self.optimizer, momentum=self.momentum)

    @property
    def trained(self) -> str:
        """What is trained, in words behind "a training step"."""
        lora = f" of LoRA of rank {self.rank}"
        return {"full": "", "last-block": " of the last block", "lora": lora}[self.method]


@tells_errors
@with_options(Step, names=names_of(Step)[1:])
def memory_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help=f"A size of GPT-2 ({', '.join(GPT2_SIZES)}), a family ({', '.join(MODELS)}) as "
            "npgpt train makes it, a run folder, a folder in Hugging Face's format, or a JSON file "
            "with the fields of a config, and the family under kind where it is not gpt.",
            show_default=False,
        ),
    ],
    generate: Annotated[
        bool, typer.Option("--generate", help="Not training, but generation.")
    ] = False,
    measure: Annotated[bool, typer.Option("--measure", help="Do it and compare.")] = False,
    **settings: Any,
) -> None:
    """Predict the memory that a training step, or generation, takes at its peak.

    [bold]Examples[/bold]

      npgpt memory 124M --batch-size 4 --time 256

      npgpt memory 124M --method lora --measure

      npgpt memory 124M --batch-size 8 --generate

      npgpt memory runs/python-docs-1

      npgpt memory lstm --batch-size 32 --measure
    """
    from npgpt.models import MemoryPlan

    found = _find(model)
    with usage_errors():
        step = dataclasses.replace(found, **settings)
        if step.recompute or step.method != "full":
            check_is_gpt(step.config, "npgpt memory --recompute or --method")
    config, time = step.config, step.time or step.config.context_length
    if time > config.context_length:
        raise typer.BadParameter(
            f"--time {time} is longer than the context of {config.context_length}."
        )
    if generate:
        plan = MemoryPlan.of_generation(config, step.batch_size, time)
    else:
        kept = make_optimizer([Parameter(np.zeros(1))], step.optimisation).num_kept
        plan = MemoryPlan.of(
            config,
            step.batch_size,
            time,
            step.recompute,
            method=step.method,
            rank=step.rank,
            num_moments=kept,
        )
    libraries = _size_of_libraries(config)
    predicted = plan.total + libraries
    sizes = {
        "parameters": plan.parameters,
        "gradients": plan.gradients,
        f"what {step.optimizer} keeps": plan.moments,
        "saved for backward": plan.saved,
        "working arrays": plan.working,
        "logits" if generate else "a chunk of logits": plan.logits,
        "cached keys and values" if isinstance(config, GPTConfig) else "states": plan.cache,
        "Python and its libraries": libraries,
    }
    table = plain_table(justify="right")
    for part, size in sizes.items():
        if size:
            table.add_row(part, _megabytes(size))
    table.add_section()
    table.add_row("peak, predicted", _megabytes(predicted), style="bold")
    what = "generation" if generate else f"a training step{step.trained}"
    how = ", recomputing blocks" if step.recompute and not generate else ""
    of_pairs = isinstance(config, SequenceToSequenceConfig)
    each = f"pairs of {time} tokens a side" if of_pairs else f"x {time} tokens"
    console.print(f"{model}: {what} of {step.batch_size} {each} in float32{how}", soft_wrap=True)
    try:
        if measure:
            measured = _measured(step, time, generate)
            table.add_row("peak, measured", _megabytes(measured))
            table.add_row("predicted / measured", f"{predicted / measured:.3f}")
    finally:  # the prediction stands, whatever becomes of the measurement
        console.print(table)


def _find(name: str) -> Step:
    """Return the model's shape, and what belongs to its run."""
    path = Path(name)
    if path.is_dir():
        from npgpt.models.pretrained import read_config
        from npgpt.runs.open import find_run

        run = find_run(path)
        if run is None:
            return Step(read_config(path))
        settings = run.config.to_dict()
        names = [name for name in names_of(Step) if name in settings]
        if isinstance(run.config, TranslationConfig):
            settings["batch_size"] = _num_pairs(run.config)
        return Step(run.model_config, **{name: settings[name] for name in names})
    if name in GPT2_SIZES:
        return Step(GPTConfig.gpt2(name))
    if name in RunConfig.families():
        default = RunConfig(name)
        return Step(default.model_config(default.vocab_size))
    if name in {**MODELS, **TranslationConfig.families()}:
        pairs = TranslationConfig(name)
        return Step(pairs.model_config(pairs.data.vocab_size), _num_pairs(pairs))
    if not path.exists():
        raise FileNotFoundError(
            f"{name} is neither a GPT-2 size ({', '.join(GPT2_SIZES)}), nor a family, nor the "
            "folder of a run or of a model, nor a JSON file."
        )
    fields = dict(hub.read_json(path))
    kind = fields.pop("kind", "gpt")
    if kind not in MODELS:
        raise ValueError(f"{path}: kind must be one of {', '.join(MODELS)}, got {kind!r}.")
    Config: Any = MODELS[kind].Config
    return Step(Config.from_dict(fields))


def _num_pairs(config: TranslationConfig) -> int:
    """Return how many of the longest pairs are in a batch."""
    return config.batch_size or max(1, config.batch_tokens // config.context_length)


def _measured(step: Step, time: int, generate: bool) -> int:
    from npgpt.finetuning import LoRAConfig
    from npgpt.finetuning.freezing import train_by
    from npgpt.runs import measure_generation, measure_step

    with console.status("Measuring a step in a process of its own"):
        if generate:
            return measure_generation(step.config, step.batch_size, time)
        prepare = functools.partial(train_by, method=step.method, lora=LoRAConfig(step.rank))
        optimizer = functools.partial(make_optimizer, config=step.optimisation)
        return measure_step(step.config, step.batch_size, time, step.recompute, prepare, optimizer)


def _size_of_libraries(config: ModelConfig) -> int:
    """What this process holds with the kernels loaded and no model."""
    import numpy as np

    from npgpt import ops
    from npgpt.cli.shared.progress import compile_kernels
    from npgpt.runs import resident_size

    compile_kernels(console, config)
    square = np.ones((1024, 1024), np.float32)
    ops.linear_forward(square, square)  # BLAS takes its buffers with the first large product
    del square
    return resident_size()


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
