"""A config that is made of three: a model's, its data's, and that of how it is trained."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import Self

from npgpt.fields import from_fields, names_of
from npgpt.models import Model, ModelConfig
from npgpt.models.model import family_of


@dataclasses.dataclass(frozen=True, init=False)
class ConfigOfParts:
    """Base of the configs of runs that train a model from its first weights.

    Attributes
    ----------
    model : ModelConfig
    data, optimisation : Settings
        Of the classes ``Data`` and ``Optimisation``.
    """

    model: ModelConfig
    data: Any
    optimisation: Any

    Data: ClassVar[Any]
    Optimisation: ClassVar[Any]
    FAMILY: ClassVar[str]  # the model's, if none is named
    SHAPE: ClassVar[Mapping[str, Any]]  # for fields of the model that have no default

    def __init__(
        self,
        model: str | ModelConfig | None = None,
        data: Any = None,
        optimisation: Any = None,
        **settings: Any,
    ):
        model = self.FAMILY if model is None else model
        held: dict[str, tuple[type, Mapping[str, Any]]] = {
            "model": self._family(model) if isinstance(model, str) else (type(model), vars(model)),
            "data": (self.Data, vars(data) if data else {}),
            "optimisation": (self.Optimisation, vars(optimisation) if optimisation else {}),
        }
        names = {part: names_of(config_class) for part, (config_class, _) in held.items()}
        unknown = [name for name in settings if not any(name in of for of in names.values())]
        if unknown:
            others = [
                name
                for name, family in self.families().items()
                if unknown[0] in names_of(family.Config)
            ]
            whose = f"; {unknown[0]!r} belongs to {', '.join(others)}" if others else ""
            raise ValueError(
                f"TrainingConfig: no field is named {', '.join(map(repr, unknown))}, with the "
                f"model {family_of(held['model'][0]).kind!r}{whose}."
            )
        settings = {"vocab_size": (data or self.Data()).vocab_size, **settings}
        settings = {**self._implied(model, data, settings), **settings}
        for part, (config_class, fields) in held.items():
            fields = {name: v for name, v in {**fields, **settings}.items() if name in names[part]}
            vars(self)[part] = from_fields(config_class, fields)  # the dataclass is frozen
        self._check()

    @classmethod
    def families(cls) -> dict[str, type[Model]]:
        """Map names to the families of models that such a run can be of."""
        raise TypeError(f"{cls.__name__} has no families; a config of parts must define them.")

    @classmethod
    def _family(cls, name: str) -> tuple[type, Mapping[str, Any]]:
        """Return the config of a family of models, and what a run takes for its fields."""
        families = {**cls.families(), **{family.kind: family for family in cls.families().values()}}
        if name not in families:
            raise ValueError(f"model must be one of {', '.join(cls.families())}, got {name!r}.")
        return families[name].Config, cls.SHAPE

    @classmethod
    def _implied(cls, model: Any, data: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings that others imply where they are not given."""
        return {}

    def _check(self) -> None:
        """Hold the parts against each other."""
        recompute = getattr(self.optimisation, "recompute", False)
        if recompute and "recompute" not in inspect.signature(self.family).parameters:
            raise ValueError(f"recompute: a model of the kind {self.family.kind!r} cannot do it.")

    def __getattr__(self, name: str) -> Any:
        """Read a field of a part."""
        for part in vars(self).values():
            if name in names_of(type(part)):
                return getattr(part, name)
        raise AttributeError(f"A run has no setting {name!r}.")

    def changed(self, **settings: Any) -> Self:
        """Return a config with other values of some fields."""
        return type(self)(self.model, self.data, self.optimisation, **settings)

    @property
    def family(self) -> Any:
        """The class of the model."""
        return family_of(type(self.model))

    def model_config(self, vocab_size: int) -> ModelConfig:
        """Return the model's shape for a vocabulary of this size."""
        return dataclasses.replace(self.model, vocab_size=vocab_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of all parts, ready for JSON."""
        parts = (self.data, self.model, self.optimisation)
        shown = {name: value for part in parts for name, value in dataclasses.asdict(part).items()}
        return {"model": self.family.kind, **shown}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Make a config from `to_dict`'s fields; an unknown one raises ValueError."""
        return cls(**fields)
