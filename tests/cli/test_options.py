"""Options that are made from the fields of configs."""

import dataclasses
import importlib

import pytest
import typer
from typer.testing import CliRunner

from npgpt.cli import app
from npgpt.cli.shared.options import usage_errors, with_options
from npgpt.fields import FromOthers, fill_defaults, help_of, option
from npgpt.finetuning import FineTuningConfig
from npgpt.finetuning.config import OF_TASKS, TASKS
from npgpt.models import MODELS, GPTConfig
from npgpt.runs import DataConfig, OptimisationConfig, PretrainingRun, RunConfig
from npgpt.runs.config import families_of_text
from tests.models.toys import Recurrent
from tests.runs.test_config import OTHERS
from tests.runs.tiny_run import TEXT


def command_of(*path, of=app):
    command = typer.main.get_command(of)
    for name in path:
        command = command.commands[name]
    return {parameter.name: parameter for parameter in command.params}


@dataclasses.dataclass
class Shape:
    """A shape.

    Parameters
    ----------
    sides : int
        How many.
    area : float
        In all.
    colour : str
        Of the sides.
    line : str
        thin, or thick.
    filled : bool
        Not only the sides.
    round : bool
        At the corners.
    names : tuple of str
        Of the corners.
    where : str, optional
        On the page.
    """

    PANEL = "Shape"

    sides: int = option(default=4, minimum=3, names=("--sides", "--edges"))
    area: float = option(default=FromOthers(lambda c: c.sides / 2, "sides / 2"))
    colour: str = option("Look", default="red", choices=("red", "blue"))
    line: str = option(default="thin", choices=("thin", "thick"))
    filled: bool = option(default=False)
    round: bool = option(default=True)
    names: tuple[str, ...] = option(default=("*",), shown_default="all")
    where: str | None = option(default=None)

    def __post_init__(self):
        fill_defaults(self)
        if self.sides > 9:
            raise ValueError("sides must be at most 9.")


def drawing():
    """A command with the options of a shape, and what it was called with."""
    made, calls = typer.Typer(), []

    @made.command()
    @with_options(Shape, arguments=("where",), defaults={"sides": 5})
    def draw(loud: bool = False, **settings):
        with usage_errors():
            Shape(**settings)
        calls.append(settings)

    return made, calls


def test_an_option_is_what_its_field_was_declared_as(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    made, calls = drawing()
    shown = " ".join(CliRunner().invoke(made, ["--help"]).output.split())
    for words in (
        "─ Shape ─", "─ Look ─", "--sides,--edges", "[x>=3]", "How many. [default: 5]",
        "[default: (sides / 2)]", "Of the sides. One of red, blue.", "thin, or thick. [default: thin]",
        "--no-round", "[default: (all)]", "[where]",
    ):  # fmt: skip
        assert words in shown, words
    assert "--no-filled" not in shown
    assert "--where" not in shown
    assert not calls


def test_a_command_gets_what_was_given_and_no_default():
    made, calls = drawing()
    arguments = ["here", "--edges=5", "--filled", "--no-round", "--names=a", "--names=b"]
    for given in (arguments, [], ["--loud"]):
        assert CliRunner().invoke(made, given).exit_code == 0
    expected = {"where": "here", "sides": 5, "filled": True, "round": False, "names": ["a", "b"]}
    assert calls == [expected, {}, {}]
    for given in (["--sides=2"], ["--sides=10"], ["--sides=x"]):
        assert CliRunner().invoke(made, given).exit_code == 2
    assert len(calls) == 3


# --- npgpt train ----------------------------------------------------------------------------------


@pytest.fixture
def made_configs(monkeypatch):
    """The configs that npgpt train makes runs of; no run is made."""
    made = []

    def create(folder, config, progress=None):
        made.append(config)
        raise RuntimeError("made")

    monkeypatch.setattr(PretrainingRun, "create", create)
    return made


def test_every_setting_of_a_run_is_reached_by_npgpt_train(made_configs):
    arguments = [OTHERS["corpus"]]
    for name, value in OTHERS.items():
        dashed = name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{dashed}" if value else f"--no-{dashed}")
        elif name != "corpus":
            arguments.append(f"--{dashed}={value}")
    result = CliRunner().invoke(app, ["train", *arguments])
    assert "Error: made" in result.output
    assert made_configs == [RunConfig(**OTHERS)]
    fields = {field.name for field in dataclasses.fields(GPTConfig)}
    assert fields <= OTHERS.keys() <= command_of("train").keys()


def test_npgpt_train_has_the_defaults_of_a_run(made_configs):
    CliRunner().invoke(app, ["train"])
    assert made_configs == [RunConfig()]
    parameters, default = command_of("train"), RunConfig().to_dict()
    for config_class in (DataConfig, GPTConfig, OptimisationConfig):
        for field in dataclasses.fields(config_class):
            if isinstance(field.default, FromOthers) or field.default is None:
                assert parameters[field.name].default is None
            else:
                assert parameters[field.name].default == default[field.name]


def test_an_option_that_the_chosen_family_lacks_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(MODELS, "recurrent", Recurrent)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    train = importlib.reload(importlib.import_module("npgpt.cli.train"))
    families = typer.Typer()
    families.command("train")(train.train_command)
    run = lambda *given: CliRunner().invoke(families, given)  # noqa: E731
    try:
        refused = run("--model=recurrent", "--window=3")
        assert refused.exit_code == 2
        assert "no field is named 'window', with the model 'recurrent'" in refused.output
        assert (
            f"model must be one of {', '.join(families_of_text())}" in run("--model=mamba").output
        )
        (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
        small = ["--tokenizer=char", "--context=8", "--d-model=6", "--steps=2", "--out=run"]
        trained = run("text.txt", "--model=recurrent", *small)
        assert trained.exit_code == 0, trained.output
        assert "Recurrent of" in trained.output
        assert run("--resume=run").exit_code == 0
        info = CliRunner().invoke(app, ["info", "run"])
        assert "recurrent" in info.output
        assert "embedding.weight" in info.output
        written = CliRunner().invoke(app, ["generate", "run", "the", "--max-new-tokens=3"])
        assert written.exit_code == 0, written.output
    finally:
        monkeypatch.undo()
        importlib.reload(train)


# --- npgpt finetune -------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_npgpt_finetune_has_the_defaults_of_the_config(task):
    parameters, config = command_of("finetune", task), FineTuningConfig(task, "base")
    declared = {field.name: field for field in dataclasses.fields(FineTuningConfig)}
    for name in declared.keys() & parameters.keys() - {
        "base",
        "lr",
        "weight_decay",
        "target_modules",
    }:
        assert parameters[name].default == getattr(config, name), name
    for name in ("lr", "weight_decay", "target_modules"):  # by method and optimiser; all
        assert parameters[name].default is None
    assert (config.epochs, config.batch_size) == {
        "classify": (4, 16), "instruct": (2, 16), "dpo": (2, 8)
    }[task]  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_npgpt_finetune_shows_the_settings_of_its_task_alone(task):
    names = command_of("finetune", task).keys()
    for field in dataclasses.fields(FineTuningConfig):
        tasks = [tasks for tasks, of in OF_TASKS.items() if field.name in of]
        assert (field.name in names) == (not tasks or task in tasks[0]) or field.name == "task"
        assert help_of(FineTuningConfig)[field.name]
