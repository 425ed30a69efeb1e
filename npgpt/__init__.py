"""GPT in NumPy, with every gradient written by hand."""

from npgpt import interruption  # noqa: F401  (Ctrl-C may come while the others load)

# isort: split
from npgpt import (
    data,
    evaluation,
    experiments,
    finetuning,
    generation,
    gradients,
    layers,
    models,
    ops,
    optim,
    runs,
    tokenizers,
    trace,
    training,
)
from npgpt.gradients import gradcheck
from npgpt.models import GPT, GPTConfig
from npgpt.ops import get_num_threads, set_num_threads
from npgpt.plots import experiments as _pictures
from npgpt.training import Trainer
from npgpt.version import __version__

__all__ = [
    "GPT",
    "GPTConfig",
    "Trainer",
    "__version__",
    "data",
    "evaluation",
    "finetuning",
    "generation",
    "get_num_threads",
    "gradcheck",
    "gradients",
    "layers",
    "models",
    "ops",
    "optim",
    "runs",
    "set_num_threads",
    "tokenizers",
    "trace",
    "training",
]

# Public names that stand in a room above the one where they are known from earlier versions: the
# rooms below cannot import them, so the package's face hands them down.
for _room, _home, _names in (
    (finetuning, runs, ("FineTuningRun",)),
    (gradients, trace, ("Trace", "trace")),
    (experiments, _pictures, ("plot_positions", "plot_vanishing_gradients")),
    (
        training,
        runs,
        (
            "OpenedModel",
            "Run",
            "TrainingConfig",
            "measure_generation",
            "measure_step",
            "open_model",
            "peak_resident_size",
            "resident_size",
        ),
    ),
):
    for _name in _names:
        setattr(_room, _name, getattr(_home, _name))
        _room.__all__.append(_name)
