"""The training loop."""

import os
import signal
import threading

import numpy as np
import pytest

from npgpt.data import DataLoader, HeldOutBatches, TokenWindows
from npgpt.data.sequences import LabelledTexts, Responses
from npgpt.finetuning import train_only
from npgpt.models import GPT, GPTConfig, GPTForClassification
from npgpt.ops import IGNORE_INDEX
from npgpt.optim import AdamW
from npgpt.runs import Run
from npgpt.training import Callback, Trainer, load_checkpoint, read_metrics
from npgpt.training.step import train_step
from tests.runs.tiny_run import tiny_config


class StopAt(Callback):
    """Send a signal to this process after a step, as Ctrl-C would."""

    def __init__(self, step, number=signal.SIGINT):
        self.step, self.number = step, number

    def on_step(self, trainer, metrics):
        if metrics.step == self.step:
            os.kill(os.getpid(), self.number)


def run_in(folder, **changes):
    config = tiny_config(folder, **changes)
    return Run.create(folder / "run", config)


def trainer_of(run, *callbacks):
    return run.trainer(callbacks)


def weights(trainer):
    return {name: value.copy() for name, value in trainer.model.state_dict().items()}


def assert_same_weights(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def losses(run):
    return [(line["kind"], line["step"], line["loss"]) for line in run.metrics]


def test_training_lowers_the_held_out_loss(tmp_path):
    run = run_in(tmp_path, steps=120, eval_every=40, dropout=0.0)
    trainer = trainer_of(run)
    trainer.fit()
    first, *_, last = trainer.history
    assert last.loss < 0.6 * first.loss
    assert trainer.state.best_loss == min(e.loss for e in trainer.history)


def test_a_clip_norm_of_0_does_not_clip(tmp_path):
    ends = {}
    for clip_norm in (0.0, 1e-3, 1e9):
        folder = tmp_path / str(clip_norm)
        folder.mkdir()
        trainer = trainer_of(run_in(folder, steps=3, clip_norm=clip_norm, dropout=0.0))
        trainer.fit()
        ends[clip_norm] = weights(trainer)
    assert_same_weights(ends[0.0], ends[1e9])
    assert any((ends[0.0][name] != ends[1e-3][name]).any() for name in ends[0.0])


@pytest.mark.parametrize("stop", [1, 4, 5, 11])
@pytest.mark.parametrize("grad_accumulation", [1, 2])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path, stop, grad_accumulation):
    whole_folder, parts_folder = tmp_path / "a", tmp_path / "b"
    whole_folder.mkdir()
    parts_folder.mkdir()
    whole = run_in(whole_folder, grad_accumulation=grad_accumulation)
    uninterrupted = trainer_of(whole)
    uninterrupted.fit()

    parts = run_in(parts_folder, grad_accumulation=grad_accumulation)
    first = trainer_of(parts, StopAt(stop))
    assert first.fit().step == stop
    assert first.stopped_by == signal.SIGINT
    second = trainer_of(Run.open(parts.folder))
    second.resume()
    assert second.state.step == stop
    second.fit()

    assert_same_weights(weights(uninterrupted), weights(second))
    assert uninterrupted.state == second.state
    assert losses(whole) == losses(parts)
    for name in ("last.safetensors", "best.safetensors"):
        ours, theirs = (load_checkpoint(run.folder / name) for run in (whole, parts))
        assert_same_weights(ours[0], theirs[0])
        assert ours[1] == theirs[1]


def test_a_run_that_lost_its_last_steps_repeats_them_exactly(tmp_path):
    """What a SIGKILL leaves: a checkpoint, and metrics that go beyond it, the last line cut."""
    run = run_in(tmp_path)
    trainer = trainer_of(run)
    trainer.fit()
    final, story = weights(trainer), losses(run)

    again = trainer_of(run, StopAt(6))
    (run.folder / "metrics.jsonl").unlink()
    again.fit()
    kept = (run.folder / "last.safetensors").read_bytes()
    ahead = trainer_of(run)
    ahead.resume()
    ahead.fit()
    (run.folder / "last.safetensors").write_bytes(kept)  # back to step 6
    with open(run.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"kind": "step", "st')

    resumed = trainer_of(run)
    resumed.resume()
    resumed.fit()
    assert_same_weights(final, weights(resumed))
    assert losses(run) == story


def test_sigterm_saves_too(tmp_path):
    run = run_in(tmp_path)
    trainer = trainer_of(run, StopAt(3, signal.SIGTERM))
    trainer.fit()
    assert trainer.stopped_by == signal.SIGTERM
    assert load_checkpoint(run.folder / "last.safetensors")[1]["training"]["step"] == 3


def test_an_interrupted_evaluation_is_made_up_for(tmp_path):
    """A signal in the middle of an evaluation: the run is saved, and resuming evaluates again."""

    class StopInEvaluation:
        def __init__(self, batches):
            self.batches, self.evaluations = batches, 0

        def __iter__(self):
            self.evaluations += 1
            for i, batch in enumerate(self.batches):
                if self.evaluations == 2 and i == 1:
                    os.kill(os.getpid(), signal.SIGINT)
                yield batch

    run = run_in(tmp_path)
    trainer = trainer_of(run)
    trainer.val_loader = StopInEvaluation(trainer.val_loader)
    trainer.fit()
    assert trainer.state.step == 4
    assert trainer.state.evaluated_step == 0
    resumed = trainer_of(run)
    resumed.resume()
    resumed.fit()
    assert [e.step for e in resumed.history] == [4, 8, 12]


def test_handlers_of_signals_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    trainer_of(run_in(tmp_path)).fit()
    assert signal.getsignal(signal.SIGINT) is before


def test_training_works_outside_the_main_thread(tmp_path):
    trainer = trainer_of(run_in(tmp_path))
    thread = threading.Thread(target=trainer.fit)
    thread.start()
    thread.join()
    assert trainer.state.step == 12


def test_best_is_the_checkpoint_of_the_lowest_loss(tmp_path):
    run = run_in(tmp_path, steps=24)
    trainer = trainer_of(run)
    trainer.fit()
    best = min(trainer.history, key=lambda evaluation: evaluation.loss)
    _, state = load_checkpoint(run.folder / "best.safetensors")
    assert state == {"step": best.step, "loss": best.loss}
    assert trainer.history[0].best


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    class Poison(Callback):
        def on_step(self, trainer, metrics):
            if metrics.step == 6:
                trainer.model.head.weight.value[0, 0] = np.nan

    run = run_in(tmp_path)
    trainer = trainer_of(run, Poison())
    with pytest.raises(RuntimeError, match=r"Step 7: the loss is nan .*may help"):
        trainer.fit()
    arrays, state = load_checkpoint(run.folder / "last.safetensors")
    assert state["training"]["step"] == 4
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert read_metrics(run.folder / "metrics.jsonl")[-1]["step"] == 6  # closed, nothing lost


def test_training_needs_no_folder_and_no_validation():
    windows = TokenWindows(np.arange(100) % 7, 4)
    model = GPT(GPTConfig(vocab_size=7, context_length=4, n_layers=1, n_heads=1, d_model=4))
    trainer = Trainer(model, DataLoader(windows, 4, shuffle=True), steps=3)
    assert trainer.fit().step == 3
    with pytest.raises(ValueError, match="needs the folder"):
        trainer.resume()


def test_the_schedule_sets_the_rate_of_every_step():
    windows = TokenWindows(np.arange(100) % 7, 4)
    model = GPT(GPTConfig(vocab_size=7, context_length=4, n_layers=1, n_heads=1, d_model=4))
    seen = []

    class Watch(Callback):
        def on_step(self, trainer, metrics):
            seen.append(metrics.lr)

    optimizer = AdamW(model.parameters())
    Trainer(
        model, DataLoader(windows, 4), HeldOutBatches(windows, 4), steps=3, optimizer=optimizer,
        schedule=lambda step: 0.1 / (step + 1), callbacks=[Watch()],
    ).fit()  # fmt: skip
    assert seen == [0.1, 0.05, 0.1 / 3]


@pytest.mark.parametrize("name", ["steps", "grad_accumulation", "eval_every"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"Trainer: {name} must be at least 1, got 0"):
        Trainer(None, None, **{name: 0})


def test_training_stops_early_when_the_held_out_loss_no_longer_falls(tmp_path):
    config = GPTConfig(vocab_size=5, context_length=4, n_layers=1, n_heads=1, d_model=4)
    ids = np.random.default_rng(0).integers(0, 5, 200)
    loader = DataLoader(TokenWindows(ids, 4), 4, shuffle=True)
    held_out = HeldOutBatches(TokenWindows((ids[:60] + 1) % 5, 4), 4)
    model = GPT(config)
    trainer = Trainer(
        model,
        loader,
        held_out,
        steps=10_000,
        eval_every=5,
        optimizer=AdamW(model.parameters(), lr=0.05),
        patience=3,
        scores=lambda: {"answer": 42.0},
    )
    state = trainer.fit()
    assert state.step < 10_000
    assert trainer.is_stopped_early()
    assert state.step - state.best_step == 15
    assert trainer.history[-1].scores == {"answer": 42.0}


def test_a_step_of_several_batches_is_the_mean_over_their_targets():
    config = GPTConfig(vocab_size=5, context_length=6, n_layers=1, n_heads=1, d_model=4)
    ids = np.random.default_rng(0).integers(0, 5, (3, 7))
    inputs, targets = ids[:, :-1], ids[:, 1:].copy()
    targets[0, 1:] = -100  # the first has one target, the others six
    together, apart = GPT(config, dtype=np.float64), GPT(config, dtype=np.float64)
    expected = train_step(together, AdamW(together.parameters()), [(inputs, targets)])
    batches = [(inputs[:1], targets[:1]), (inputs[1:], targets[1:])]
    np.testing.assert_allclose(
        train_step(apart, AdamW(apart.parameters()), batches), expected, rtol=1e-12
    )


def test_a_batch_without_targets_counts_for_nothing():
    config = GPTConfig(7, 8, n_layers=1, n_heads=2, d_model=16)
    inputs = np.arange(8)[None] % 7
    nothing = (inputs, np.full_like(inputs, IGNORE_INDEX))
    one, both = (GPT(config, seed=0, dtype=np.float64) for _ in range(2))
    expected = train_step(one, AdamW(one.parameters()), [(inputs, inputs)])
    assert train_step(both, AdamW(both.parameters()), [nothing, (inputs, inputs)]) == expected
    assert train_step(both, AdamW(both.parameters()), [nothing]) == (0.0, 0.0)


def test_a_checkpoint_has_the_trained_parameters_only(tmp_path):
    config = GPTConfig(vocab_size=5, context_length=4, n_layers=2, n_heads=1, d_model=4)
    loader = DataLoader(TokenWindows(np.arange(100) % 5, 4), 4)

    def trainer():
        model = GPT(config)
        train_only(model, ["blocks.1.*"])
        return Trainer(model, loader, steps=4, folder=tmp_path)

    first = trainer()
    first.fit()
    arrays, _ = load_checkpoint(tmp_path / "last.safetensors")
    assert {name.split(".")[2] for name in arrays if name.startswith("model.blocks")} == {"1"}
    assert not any("embedding" in name for name in arrays)
    second = trainer()
    second.resume()
    assert_same_weights(weights(first), weights(second))


def test_tokens_of_a_step_are_those_of_its_texts_without_what_fills_them_up():
    lengths = [2, 6, 3, 4, 5, 2]
    texts = [np.arange(length) % 5 for length in lengths]
    config = GPTConfig(vocab_size=5, context_length=6, n_layers=1, n_heads=1, d_model=4)
    seen = []

    class Counts(Callback):
        """Notes how many tokens each step read."""

        def on_step(self, trainer, metrics):
            """Note the number."""
            seen.append(metrics.tokens)

    data = LabelledTexts(texts, [0, 1] * 3)
    model = GPTForClassification(GPT(config), num_classes=2)
    Trainer(model, DataLoader(data, 2), steps=3, callbacks=[Counts()]).fit()
    Trainer(
        GPT(config), DataLoader(Responses(texts, [1] * 6), 3), steps=1, grad_accumulation=2,
        callbacks=[Counts()],
    ).fit()  # fmt: skip
    assert seen == [8, 7, 7, sum(lengths) - 6]
