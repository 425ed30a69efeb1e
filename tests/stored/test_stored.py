"""Folders that an earlier version wrote: they open, say the same, and go on bit for bit."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from npgpt import GPT, ops
from npgpt.cli import app
from npgpt.finetuning import FineTuningRun
from npgpt.finetuning.adapters import load_adapter
from npgpt.models import GPTForClassification
from npgpt.training import Run, open_model
from tests.stored import folders
from tests.stored import golden_numbers as numbers
from tests.stored.folders import FOLDERS, PRETRAINED, RUNS, TUNED

SAID = folders.expected()
RUNS_OF_BOTH_KINDS = [name for name in FOLDERS if not name.startswith("pretrained/")]
# of a processor that rounds sums otherwise: what is computed once, and what some steps lead to
SAME, NEAR = 1e-5, 1e-4
EARLY = 10  # steps, after which two trainings that round otherwise may go apart


@pytest.fixture(autouse=True)
def one_thread():
    before = ops.get_num_threads()
    ops.set_num_threads(1)
    yield
    ops.set_num_threads(before)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder for copies, and to work in: runs name their records from there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digest_of(kind, name, backend):
    """Return a stored digest, or skip the test."""
    digests = numbers.stored_digests()
    if digests is None:
        pytest.skip(numbers.why_no_bits())
    return digests[kind][f"{name}, {backend}"]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def arrays_with_state(path):
    """Read the arrays of a checkpoint, and its header, which a changed copy needs too."""
    with safe_open(path, framework="numpy") as file:
        return load_file(path), file.metadata()


def shapes(arrays):
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def test_every_folder_is_there_and_named():
    kinds = {name.partition("/")[0] for name in FOLDERS}
    stored = {f"{kind}/{path.name}" for kind in kinds for path in (folders.DATA / kind).iterdir()}
    assert stored == set(FOLDERS)
    assert set(SAID) == {*FOLDERS, *folders.COMMANDS}


# --- they open, and say what they said ------------------------------------------------------------


@pytest.mark.parametrize("name", FOLDERS)
def test_a_stored_folder_says_what_it_said(name, place, backend):
    folders.copy(name, place)
    exact, found = folders.said_by(name, place)
    assert exact == SAID[name]["exact"]
    assert set(found) == set(SAID[name]["numbers"])
    for what, value in found.items():
        numbers.close(value, SAID[name]["numbers"][what], SAME, what)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_stored_folder_says_the_same_to_the_last_bit(name, place, backend):
    expected = digest_of("said", name, backend)
    folders.copy(name, place)
    assert numbers.digest(folders.said_by(name, place)[1]) == expected


@pytest.mark.parametrize("name", RUNS)
def test_a_stored_run_is_read_whole(name, place, reference_backend):
    folder = folders.copy(f"runs/{name}", place)
    run = Run.open(folder)
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for field, value in {**settings["model"], **folders.RUNS[name]}.items():
        if field in settings["model"]:
            assert getattr(run.model_config, field) == value
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert run.metrics == [json.loads(line) for line in lines]
    assert run.metrics[-1]["step"] == folders.STOPPED["runs"]
    flows = folder / "gradient_flow.jsonl"
    assert flows.exists() == ("gradient_flow" in RUNS[name])
    if flows.exists():
        lines = flows.read_text(encoding="utf-8").splitlines()
        assert [flow.to_dict() for flow in run.flows] == [json.loads(line) for line in lines]
    for checkpoint in ("best", "last"):
        model = run.load_model(checkpoint)
        stored = load_file(folder / f"{checkpoint}.safetensors")
        for parameter, array in model.state_dict().items():
            np.testing.assert_array_equal(array, stored.pop(f"model.{parameter}"))
        assert all(left.startswith("optimizer.") for left in stored)
    opened = open_model(folder)
    assert isinstance(opened.model, GPT)
    assert opened.tokenizer.fingerprint == run.tokenizer.fingerprint


@pytest.mark.parametrize("name", TUNED)
def test_a_stored_fine_tuned_run_is_read_whole(name, place, reference_backend):
    folder = folders.copy(f"tuned/{name}", place)
    run = FineTuningRun.open(folder)
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert run.metrics == [json.loads(line) for line in lines]
    base = load_file(folder / "base.safetensors")
    model = run.base_model()
    assert set(model.state_dict()) == set(base)
    for parameter, array in model.state_dict().items():
        np.testing.assert_array_equal(array, base[parameter])
    trained, _ = arrays_with_state(folder / "best.safetensors")
    assert set(trained) == {f"model.{key}" for key in run.trainer().model.trained_state_dict()}
    if run.config.task != "classify":
        ids = run.tokenizer.encode(folders.PROMPT)[None]
        found = open_model(folder).model.forward(ids)
        np.testing.assert_array_equal(found, run.load_gpt().forward(ids))


@pytest.mark.parametrize("name", [name for name in TUNED if name.endswith("lora")])
def test_a_stored_adapter_gives_the_tuned_model_and_is_written_the_same(
    name, place, reference_backend
):
    folder = folders.copy(f"tuned/{name}", place)
    run = FineTuningRun.open(folder)
    model = run.base_model()
    if run.config.task == "classify":
        model = GPTForClassification(model, len(run.labels))
    load_adapter(model, folder / "adapter")
    exact, found = folders.said_by_tuned(run, model.eval())
    assert exact == SAID[f"tuned/{name}"]["exact"]
    for what, value in found.items():
        numbers.close(value, SAID[f"tuned/{name}"]["numbers"][what], SAME, what)
    stored = contents(folder / "adapter")
    run.save_adapter()
    assert contents(folder / "adapter") == stored


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_stored_pretrained_model_has_its_config_and_its_weights(name, place):
    folder = folders.copy(f"pretrained/{name}", place)
    model = GPT.from_pretrained(folder)
    said = SAID[f"pretrained/{name}"]
    fields = model.config.to_dict()
    assert {field: fields[field] for field in said["config"]} == said["config"]
    assert numbers.digest(model.state_dict()) == said["weights"]


@pytest.mark.parametrize(("name", "options"), [("single", {}), ("shards", {"shard_size": 6000})])
def test_a_stored_pretrained_model_is_written_the_same(name, options, place):
    folder = folders.copy(f"pretrained/{name}", place)
    opened = open_model(folder)
    opened.model.save_pretrained(place / "again", opened.tokenizer, **options)
    assert contents(place / "again") == contents(folder)


@pytest.mark.parametrize("command", folders.COMMANDS)
def test_a_command_prints_about_a_stored_folder_what_it_printed(command, place, backend):
    found, stored = folders.printed_by(command, place), SAID[command]
    if isinstance(stored, str):
        assert found == stored
        return
    assert set(stored) <= set(found)
    for field, value in stored.items():
        if isinstance(value, float):
            numbers.close(found[field], value, SAME, field)
        elif isinstance(value, dict):  # of probabilities
            assert list(found[field]) == list(value)
            numbers.close([*found[field].values()], [*value.values()], SAME, field)
        else:
            assert found[field] == value


@pytest.mark.parametrize(
    "name",
    # without a config.json it is read by from_pretrained only
    [name for name in FOLDERS if name != "pretrained/openai"],
)
def test_info_describes_a_stored_folder(name, place):
    folders.copy(name, place)
    result = CliRunner().invoke(app, ["info", name])
    assert result.exit_code == 0, result.output
    assert "token_embedding" in result.output


# --- they go on, and are made again ---------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS_OF_BOTH_KINDS)
def test_a_stored_run_resumed_twice_ends_the_same_to_the_last_bit(
    name, place, monkeypatch, backend
):
    ends = []
    for copy in ("first", "second"):
        (place / copy).mkdir()
        monkeypatch.chdir(place / copy)
        arrays, lines = folders.resume(folders.copy(name, place / copy))
        ends.append((numbers.digest(arrays), folders.losses(lines)))
    assert ends[0] == ends[1]
    found, stored = (
        folders.still_said(name, lines) for lines in (ends[0][1], SAID[name]["losses"])
    )
    assert [line[:2] for line in found] == [line[:2] for line in stored]
    numbers.close([line[2] for line in found], [line[2] for line in stored], NEAR)
    assert ends[0][0] == digest_of("ended", name, backend)


@pytest.mark.parametrize("name", RUNS_OF_BOTH_KINDS)
def test_a_run_made_anew_is_the_stored_one(name, place, reference_backend):
    stored = folders.open_run(folders.copy(name, place))
    if name.startswith("tuned/"):
        folders.copy(folders.TUNED[name.removeprefix("tuned/")]["base"].partition("/")[2], place)
    run = folders.create_anew(name, place, place / "anew")
    run.trainer([folders.StopAt(folders.STOPPED[name.partition("/")[0]])]).fit()
    tokenizer = (run.folder / "tokenizer.json").read_bytes()
    assert tokenizer == (stored.folder / "tokenizer.json").read_bytes()
    assert run.model_config == stored.model_config
    # the stored one does not name its records by an absolute path
    assert {**run.config.to_dict(), "data": ""} == {**stored.config.to_dict(), "data": ""}
    found, expected = (
        folders.still_said(name, folders.losses(lines)) for lines in (run.metrics, stored.metrics)
    )
    assert [line[:2] for line in found] == [line[:2] for line in expected]
    for (_, step, loss), (_, _, expected_loss) in zip(found, expected, strict=True):
        if step <= EARLY:
            numbers.close(loss, expected_loss, NEAR, f"step {step}")
    for file in ("last.safetensors", "best.safetensors"):
        anew, state = arrays_with_state(run.folder / file)
        before, state_before = arrays_with_state(stored.folder / file)
        assert shapes(anew) == shapes(before)
        if numbers.stored_digests() is not None:
            assert numbers.digest(anew) == numbers.digest(before)
            assert state == state_before


def test_token_files_made_anew_are_the_stored_ones(place):
    folders.copy("tokens", place)
    arguments = ["tokenize", "corpus.txt", "--vocab-size=280", "--out=again"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert contents(place / "again") == contents(place / "tokens")


# --- and a change is noticed ----------------------------------------------------------------------


def test_one_changed_bit_of_a_stored_weight_changes_the_end(place, reference_backend):
    name = "runs/alibi"
    folder = folders.copy(name, place)
    path = folder / "last.safetensors"
    arrays, state = arrays_with_state(path)
    weight = arrays["model.head.weight"]
    weight[0, 0] = np.nextafter(weight[0, 0], np.float32(9))
    save_file(arrays, path, state)
    ended = numbers.digest(folders.resume(folder)[0])
    (place / "whole").mkdir()
    assert ended != numbers.digest(folders.resume(folders.copy(name, place / "whole"))[0])
    digests = numbers.stored_digests()
    assert digests is None or ended != digests["ended"][f"{name}, reference"]


def test_a_changed_weight_changes_what_a_folder_says(place, reference_backend):
    name = "runs/t5"
    path = folders.copy(name, place) / "best.safetensors"
    arrays, state = arrays_with_state(path)
    arrays["model.blocks.0.attention.qkv.weight"] *= np.float32(1.01)
    save_file(arrays, path, state)
    _, found = folders.said_by(name, place)
    what = "logits of the next token"
    with pytest.raises(AssertionError):
        numbers.close(found[what], SAID[name]["numbers"][what], SAME)
