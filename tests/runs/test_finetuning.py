"""Fine-tuning runs: made, resumed, refused."""

import json
import signal

import numpy as np
import pytest
from typer.testing import CliRunner

from npgpt.cli import app
from npgpt.finetuning import FineTuningConfig, lora_layers
from npgpt.finetuning.adapters import load_adapter, save_adapter
from npgpt.models import GPT, GPTConfig, GPTForClassification, GPTForPreference
from npgpt.models.objectives.objective import body_of
from npgpt.runs import FineTuningRun, open_model
from npgpt.tokenizers import BPETokenizer
from npgpt.training import load_checkpoint
from tests.training.test_trainer import StopAt, assert_same_weights, weights

WORDS = {"fruit": ["apple", "pear", "plum", "cherry"], "tool": ["hammer", "saw", "drill", "file"]}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder in Hugging Face's format; what fine-tuning begins with."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = BPETokenizer.train(["an apple, a pear, a hammer, a saw: name the thing " * 20], 300)
    from npgpt import GPTConfig

    config = GPTConfig(tokenizer.vocab_size, 64, n_layers=2, n_heads=2, d_model=16)
    GPT(config, seed=1).save_pretrained(folder / "gpt2", tokenizer)
    return folder / "gpt2"


def write(path, records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return str(path)


def labelled(folder):
    records = [
        {"text": f"this is a {word} number {i}", "label": label}
        for label, words in WORDS.items()
        for word in words
        for i in range(5)
    ]
    return write(folder / "labelled.jsonl", records)


def instructions(folder):
    records = [
        {"instruction": "name the thing", "input": word, "output": label}
        for label, words in WORDS.items()
        for word in words
    ]
    return write(folder / "instructions.jsonl", records * 3)


def preferences(folder):
    records = [
        {"instruction": f"name {word}", "chosen": label, "rejected": "a thing"}
        for label, words in WORDS.items()
        for word in words
    ]
    return write(folder / "preferences.jsonl", records * 2)


DATA = {"classify": labelled, "instruct": instructions, "dpo": preferences}


def config_for(folder, base, task, **changes):
    settings = {
        "task": task,
        "base": str(base),
        "data": DATA[task](folder),
        "template": "chat",
        "epochs": 2,
        "batch_size": 4,
        "lr": 5e-3,
        "rank": 2,
    }
    return FineTuningConfig(**{**settings, **changes})


@pytest.mark.parametrize("method", ["full", "last-block", "lora"])
@pytest.mark.parametrize("task", DATA)
def test_every_task_trains_by_every_method(tmp_path, base, task, method):
    config = config_for(tmp_path, base, task, method=method, epochs=3, lr=2e-3, patience=0)
    run = FineTuningRun.create(tmp_path / "run", config)
    trainer = run.trainer()
    before = weights(trainer)
    state = trainer.fit()
    assert state.best_loss < trainer.history[0].loss
    trained = trainer.model.trained_state_dict()
    for name, value in weights(trainer).items():
        if name not in trained:
            np.testing.assert_array_equal(value, before[name])
    assert any((trained[name] != before[name]).any() for name in trained)
    model = FineTuningRun.open(tmp_path / "run").load_model()
    assert isinstance(model, GPTForClassification if task == "classify" else GPT)
    assert not list(lora_layers(model))


@pytest.mark.parametrize("method", ["full", "last-block", "lora"])
@pytest.mark.parametrize("task", DATA)
def test_parameters_are_counted_without_the_weights_of_the_base(tmp_path, base, task, method):
    run = FineTuningRun.create(tmp_path / "run", config_for(tmp_path, base, task, method=method))
    model = run.new_model()
    (tmp_path / "run" / "base.safetensors").unlink()
    expected = model.num_parameters(trained_only=True), model.num_parameters()
    assert run.num_parameters() == expected
    about = CliRunner().invoke(app, ["info", str(tmp_path / "run")])
    assert about.exit_code == 0, about.output
    assert "{:,} of {:,}".format(*expected) in " ".join(about.output.split())


@pytest.mark.parametrize(
    ("task", "method"), [("classify", "lora"), ("instruct", "full"), ("dpo", "full")]
)
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, base, task, method):
    settings = {"method": method, "lora_dropout": 0.2, "dropout": 0.1, "lm_coef": 0.5}
    config = config_for(tmp_path, base, task, **settings)
    whole = FineTuningRun.create(tmp_path / "a", config).trainer()
    whole.fit()
    interrupted = FineTuningRun.create(tmp_path / "b", config).trainer([StopAt(3, signal.SIGINT)])
    interrupted.fit()
    resumed = FineTuningRun.open(tmp_path / "b").trainer()
    resumed.resume()
    assert resumed.state.step == 3
    resumed.fit()
    assert_same_weights(weights(whole), weights(resumed))


def test_dropout_is_the_bases_unless_another_is_asked_for(tmp_path, base):
    for name, dropout, expected in (("a", None, 0.0), ("b", 0.25, 0.25)):
        config = config_for(tmp_path, base, "classify", dropout=dropout)
        FineTuningRun.create(tmp_path / name, config)
        model = FineTuningRun.open(tmp_path / name).new_model()
        assert model.body.embedding_dropout.p == expected
        assert model.body.blocks[1].attention.dropout.p == expected


def test_a_fine_tuned_model_is_opened_like_any_other_and_can_be_tuned_again(tmp_path, base):
    run = FineTuningRun.create(tmp_path / "a", config_for(tmp_path, base, "instruct"))
    run.trainer().fit()
    opened = open_model(tmp_path / "a")
    assert isinstance(opened.model, GPT)
    again = config_for(tmp_path, tmp_path / "a", "classify", method="lora")
    FineTuningRun.create(tmp_path / "b", again).trainer().fit()
    with pytest.raises(ValueError, match="is a classifier, which writes no text"):
        open_model(tmp_path / "b")


def test_a_run_needs_nothing_but_its_folder(tmp_path, base):
    config = config_for(tmp_path, base, "classify", method="last-block")
    FineTuningRun.create(tmp_path / "run", config).trainer().fit()
    (tmp_path / "labelled.jsonl").unlink()
    run = FineTuningRun.open(tmp_path / "run")
    assert run.labels == ["fruit", "tool"]
    run.load_model()


def test_a_run_from_scratch_does_not_begin_with_the_base(tmp_path, base):
    config = config_for(tmp_path, base, "classify", from_scratch=True)
    FineTuningRun.create(tmp_path / "run", config)
    arrays, _ = load_checkpoint(tmp_path / "run" / "base.safetensors")
    assert not np.array_equal(
        arrays["token_embedding.weight"], open_model(base).model.token_embedding.weight.value
    )


def test_other_records_are_refused_on_resume(tmp_path, base):
    FineTuningRun.create(tmp_path / "run", config_for(tmp_path, base, "classify"))
    with open(tmp_path / "labelled.jsonl", "a", encoding="utf-8") as file:
        file.write('{"text": "more", "label": "tool"}\n')
    with pytest.raises(ValueError, match="SHA-256 differs"):
        FineTuningRun.open(tmp_path / "run").trainer()


T, I = {"text": "a saw", "label": "tool"}, {"instruction": "name it", "output": "saw"}  # noqa: E741
P = {"instruction": "name it", "chosen": "saw", "rejected": "pear"}
LONG = "word " * 80
BAD = [
    ("classify", [T, {"text": "x"}], r"line 2: there is no 'label'"),
    ("classify", [T] * 4, r"has the label 'tool'; a classifier needs at least two"),
    ("classify", [T, {"text": "  ", "label": "tool"}], r"line 2: 'text' is empty"),
    ("classify", [T] * 4 + [{"text": "x", "label": "y"}], r"line 5: the label 'y' occurs 1 times"),
    (
        "classify",
        [
            {**T, "split": "train"},
            {**T, "label": "b", "split": "train"},
            {**T, "split": "validation"},
            {**T, "label": "new", "split": "test"},
        ],
        r"line 4: the label 'new' of the test part does not occur in training",
    ),
    ("classify", [{**T, "split": "dev"}], r"line 1: 'split' must be train, validation or test"),
    ("instruct", [I, {"instruction": "x"}], r"line 2: there is no 'output'"),
    ("instruct", [I, {**I, "output": ""}], r"line 2: 'output' is empty"),
    ("instruct", [I, {**I, "input": 3}, I, I], r"line 2: 'input' must be a text, got int"),
    ("instruct", [I, {**I, "instruction": LONG}, I, I], r"line 2: the prompt of \d+ tokens fills"),
    ("instruct", [I], r"there are 1 times; at least 3"),
    (
        "dpo",
        [P, {**P, "rejected": P["chosen"]}, P],
        r"line 2: the chosen and the rejected .* the same",
    ),
    ("dpo", [P, {"instruction": "x", "chosen": "y"}], r"line 2: there is no 'rejected'"),
    ("dpo", [P, {**P, "chosen": " "}, P], r"line 2: 'chosen' is empty"),
    ("dpo", [P, {**P, "instruction": LONG}, P, P], r"line 2: the prompt of \d+ tokens fills"),
    ("dpo", [P, {**P, "input": 3}, P, P], r"line 2: 'input' must be a text, got int"),
    ("instruct", [I, {**I, "instruction": ""}, I], r"line 2: 'instruction' is empty"),
]


@pytest.mark.parametrize(("task", "records", "message"), BAD)
def test_bad_records_are_refused_with_their_row_and_nothing_is_written(
    tmp_path, base, task, records, message
):
    data = write(tmp_path / "bad.jsonl", records)
    config = config_for(tmp_path, base, task, data=data, strict=True)
    with pytest.raises(ValueError, match=message):
        FineTuningRun.create(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changes", [{"task": "sing"}, {"method": "half"}, {"epochs": 0}, {"beta": 0.0}, {"rank": 0},
                {"dropout": 1.0}, {"lm_coef": -0.1}, {"template": "x"}, {"lr": -1.0}, {"from_scratch": True, "method": "lora"}],
)  # fmt: skip
def test_a_config_that_cannot_be_is_refused(changes):
    with pytest.raises(ValueError, match=r"must be|needs"):
        FineTuningConfig(**{"task": "classify", "base": "x", **changes})


@pytest.mark.parametrize("task", ["classify", "instruct"])
def test_an_adapter_file_gives_the_same_model_back(tmp_path, base, task):
    run = FineTuningRun.create(tmp_path / "run", config_for(tmp_path, base, task, method="lora"))
    run.trainer().fit()
    run.save_adapter()
    names = {path.name for path in (tmp_path / "run" / "adapter").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}
    model = run.base_model()
    ids = np.array([[1, 2, 3]])
    if task == "classify":
        model = GPTForClassification(model, 2)
        load_adapter(model, tmp_path / "run" / "adapter")
        found = model.forward(ids, np.array([3]))
        expected = run.load_model().forward(ids, np.array([3]))
    else:
        load_adapter(model, tmp_path / "run" / "adapter")
        found, expected = model.forward(ids), run.load_model().forward(ids)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_adapter_that_does_not_fit_is_refused(tmp_path, base):
    run = FineTuningRun.create(
        tmp_path / "run", config_for(tmp_path, base, "instruct", method="lora")
    )
    run.trainer().fit()
    run.save_adapter()
    folder = tmp_path / "run" / "adapter"
    with pytest.raises(ValueError, match="no LoRA layers"):
        save_adapter(run.base_model(), tmp_path / "x")
    settings = json.loads((folder / "adapter_config.json").read_text())
    for change, message in (
        ({"peft_type": "IA3"}, "not that of a LoRA adapter"),
        ({"use_dora": True}, "no use_dora=True"),
        ({"r": 3}, r"must have shape \(3, 16\)"),
    ):
        (folder / "adapter_config.json").write_text(json.dumps({**settings, **change}))
        with pytest.raises(ValueError, match=message):
            load_adapter(run.base_model(), folder)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    content = (folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(content[:100])
    with pytest.raises(ValueError, match="not a whole file"):
        load_adapter(run.base_model(), folder)
    with pytest.raises(FileNotFoundError, match="is not an adapter"):
        load_adapter(run.base_model(), tmp_path)


def test_a_model_tuned_to_preferences_has_the_names_of_any_gpt(tmp_path, base):
    run = FineTuningRun.create(tmp_path / "run", config_for(tmp_path, base, "dpo", epochs=1))
    run.trainer().fit()
    tuned, plain = run.load_model(), GPT(run.model_config)
    assert [*tuned.tap_names()] == [*plain.tap_names()]
    assert [p.name for p in tuned.parameters()] == [p.name for p in plain.parameters()]


def test_the_gpt_inside_an_objective_is_its_body_and_names_its_parameters():
    gpts = [GPT(GPTConfig(7, 4, n_layers=1, n_heads=1, d_model=4)) for _ in range(3)]
    for model, gpt, name in (
        (GPTForClassification(gpts[0], 2), gpts[0], "body"),
        (GPTForPreference(gpts[1]), gpts[1], "policy"),  # as files of any version name it
        (gpts[2], gpts[2], ""),
    ):
        assert body_of(model) is gpt
        assert gpt.name == name
        assert all(n.startswith(name) for n in model.state_dict())
