"""What every run is, and the table of the kinds of runs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import Self

from npgpt import tokenizers
from npgpt.data import DataLoader
from npgpt.evaluation.loss import Batches
from npgpt.files import CONFIG, TOKENIZER
from npgpt.gradients import Flow
from npgpt.layers import Parameter
from npgpt.models import Bert, GPTForClassification, LanguageModel, Model
from npgpt.optim import OPTIMIZERS, Adam, Optimizer, make_schedule
from npgpt.runs.config import OptimisationConfig
from npgpt.runs.flow_log import GradientFlowLog, read_flows
from npgpt.runs.folder import (
    CHECKPOINTS,
    FLOW,
    KIND,
    METRICS,
    read_settings,
    write_settings,
)
from npgpt.training.callbacks import Callback
from npgpt.training.checkpoints import load_checkpoint, without_prefix
from npgpt.training.metrics import MetricsLog, read_metrics
from npgpt.training.trainer import Trainer

KINDS: dict[str, type[Run]] = {}  # by what config.json has under `kind`; each class adds itself


@dataclasses.dataclass
class Run:
    """A run folder: settings, a tokenizer, metrics, checkpoints.

    `Run.create` makes one of the kind that the config is for, `Run.open` finds one of any kind; the
    same methods of a kind take only its own. The settings in ``config.json`` say under ``kind``
    what the run is; its config stands under that name, the other attributes under theirs.

    Attributes
    ----------
    folder : Path
    config : RunConfig, FineTuningConfig or TranslationConfig
    model_config : ModelConfig
        The model's shape, with the tokenizer's vocabulary.
    tokenizer : Tokenizer or PairTokenizers
    """

    folder: Path
    config: Any
    model_config: Any
    tokenizer: Any

    kind: ClassVar[str] = ""
    Config: ClassVar[Any]
    command: ClassVar[str] = ""  # which makes such runs
    refusal: ClassVar[str] = ""  # behind the folder's name, where another kind is asked for

    def __init_subclass__(cls) -> None:
        KINDS[cls.kind] = cls

    @classmethod
    def create(cls, folder: str | Path, config: Any, *options: Any) -> Run:
        """Read and check what the run needs, and make the folder; or write nothing.

        Parameters
        ----------
        folder : path
            Must not exist, or be empty.
        config : RunConfig, FineTuningConfig or TranslationConfig
        *options
            Of the kind.

        Raises
        ------
        FileExistsError
            If the folder holds something.
        FileNotFoundError, ValueError
            If something cannot be read, or does not fit.
        """
        kind = next(kind for kind in KINDS.values() if isinstance(config, kind.Config))
        return kind.create(folder, config, *options)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Find the run in a folder.

        Raises
        ------
        FileNotFoundError
            If there is no run.
        ValueError
            If its config or tokenizer is damaged, or it is of another kind.
        """
        folder = Path(folder)
        settings = read_settings(folder)
        found = kind_of(settings)
        if found is None or not issubclass(found, cls):
            refusal = f"{folder} {found.refusal}" if found and found.refusal else ""
            raise ValueError(refusal) if refusal else cls._refused(folder, found)
        try:
            config = found.Config.from_dict(settings[found.kind])
            model_config = config.family.Config.from_dict(settings["model"])
            others = {
                field.name: settings[field.name] for field in dataclasses.fields(found)[SHARED:]
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{folder / CONFIG} is not a whole run config ({error}).") from None
        return found(folder, config, model_config, found._read_tokenizer(folder), **others)

    @contextlib.contextmanager
    def _made(self) -> Iterator[None]:
        """Make the folder; the block writes what else belongs in it, the settings come last."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_tokenizer()
        yield
        settings = {
            KIND: self.kind,
            self.kind: self.config.to_dict(),
            "model": self.model_config.to_dict(),
            **{
                field.name: getattr(self, field.name) for field in dataclasses.fields(self)[SHARED:]
            },
        }
        write_settings(self.folder, settings)

    def _write_tokenizer(self) -> None:
        self.tokenizer.save(self.folder / TOKENIZER)

    @classmethod
    def _read_tokenizer(cls, folder: Path) -> Any:
        return tokenizers.load(folder / TOKENIZER)

    @classmethod
    def _refused(cls, folder: Path, found: type[Run] | None) -> ValueError:
        if found is None:
            path = folder / CONFIG
            return ValueError(f"{path} is not a whole run config (it says no kind of run).")
        return ValueError(f"{folder} is not a run of {cls.command}, but of {found.command}.")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``."""
        return read_metrics(self.folder / METRICS)

    @property
    def flows(self) -> list[Flow]:
        """The measurements in ``gradient_flow.jsonl``, oldest first."""
        return read_flows(self.folder / FLOW)

    @property
    def item(self) -> str:
        """What the loss is the mean over."""
        return "token"

    @property
    def template(self) -> str | None:
        """How instructions become prompts, if the run learns from them."""
        return None

    # --- models -------------------------------------------------------------------------------

    def new_model(self) -> Model:
        """Make the model as it is before the first step."""
        raise TypeError(f"{type(self).__name__} has no new_model; a kind of run must define it.")

    def load_trained(self, checkpoint: str = "best") -> Model:
        """Make the model as it is trained, with the weights of a checkpoint ("best" or "last")."""
        path = self.folder / CHECKPOINTS[checkpoint]
        arrays, _ = load_checkpoint(path)
        model = self.new_model()
        try:
            model.load_trained_state_dict(without_prefix("model", arrays))
        except ValueError as error:
            raise ValueError(f"{path} does not fit the run's config: {error}") from None
        return model

    def load_model(self, checkpoint: str = "best") -> Any:
        """Make the model with the weights of a checkpoint, ready to use.

        Parameters
        ----------
        checkpoint : {"best", "last"}

        Returns
        -------
        Model
        """
        return self.load_trained(checkpoint).eval()

    def load_language_model(self, checkpoint: str = "best") -> LanguageModel:
        """Make a model that writes text with the weights of a checkpoint; see `load_model`.

        Raises
        ------
        ValueError
            If the run makes another model.
        """
        model = self.load_model(checkpoint)
        if isinstance(model, LanguageModel):
            return model
        if isinstance(model, GPTForClassification):
            raise ValueError(
                f"{self.folder} is a classifier, which writes no text; npgpt classify asks it for "
                "classes."
            )
        raise ValueError(writes_no_text(self.folder, model))

    # --- training -----------------------------------------------------------------------------

    def trainer(self, callbacks: Sequence[Callback] = ()) -> Trainer:
        """Make the trainer of this run, at its first step; ``resume()`` takes up a checkpoint."""
        raise TypeError(f"{type(self).__name__} has no trainer; a kind of run must define it.")

    def _trainer(
        self,
        model: Model,
        loader: DataLoader,
        held_out: Batches,
        config: OptimisationConfig,
        callbacks: Sequence[Callback],
        **options: Any,
    ) -> Trainer:
        """Make a trainer whose checkpoints and metrics are in the folder."""
        logs: list[Callback] = [MetricsLog(self.folder / METRICS)]
        if config.gradient_flow:
            logs.append(GradientFlowLog(self.folder / FLOW, config.gradient_flow))
        return make_trainer(
            model,
            loader,
            held_out,
            config,
            folder=self.folder,
            callbacks=[*logs, *callbacks],
            **options,
        )


SHARED = len(dataclasses.fields(Run))  # fields that stand in the settings under other names


def writes_no_text(folder: Path, model: Model) -> str:
    """Say that a model does not go on with a text, and what does something with it."""
    others = (
        "; npgpt fill finds its masked words, and npgpt embed makes vectors of texts"
        if isinstance(model, Bert)
        else ""
    )
    return f"{folder} holds a {type(model).__name__}, which writes no text{others}."


def kind_of(settings: Mapping[str, Any]) -> type[Run] | None:
    """Return what the settings of a folder are the settings of; None if of no run.

    A run of earlier versions is known by its config's key.
    """
    named = settings.get(KIND)
    names = [named] if isinstance(named, str) else [*settings]
    return next((KINDS[name] for name in names if name in KINDS), None)


def make_optimizer(parameters: Iterable[Parameter], config: OptimisationConfig) -> Optimizer:
    """Make the optimiser that a config names."""
    kind: Any = OPTIMIZERS[config.optimizer]
    if issubclass(kind, Adam):
        own: dict[str, Any] = {"betas": (config.beta1, config.beta2)}
    else:
        own = {"momentum": config.momentum, "nesterov": config.nesterov}
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay, **own)


def make_trainer(
    model: Model,
    loader: DataLoader,
    held_out: Batches | None,
    config: OptimisationConfig,
    **options: Any,
) -> Trainer:
    """Make a trainer with the optimiser and schedule of a config; the options are `Trainer`'s."""
    return Trainer(
        model,
        loader,
        held_out,
        steps=config.steps,
        optimizer=make_optimizer(model.parameters(), config),
        schedule=make_schedule(
            config.schedule,
            config.lr,
            config.min_lr,
            config.warmup_steps,
            config.steps,
            config.decay_steps,
        ),
        grad_accumulation=config.grad_accumulation,
        clip_norm=config.clip_norm,
        eval_every=config.eval_every,
        **options,
    )
