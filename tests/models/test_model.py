"""What every model of any family has without saying so itself."""

from typing import NamedTuple

import numpy as np
import pytest

from npgpt import GPT, GPTConfig
from npgpt.layers import Dropout, Linear
from npgpt.models import MODELS, LanguageModel, Model, register


class Pairs(NamedTuple):
    """Inputs, and what the model is to make of them."""

    x: np.ndarray
    targets: np.ndarray


class Regression(Model):
    """Mean squared error of a linear map: a loss, a backward, and nothing else."""

    kind = "regression"
    Batch = Pairs

    def __init__(self, p=None):
        super().__init__()
        self.linear = Linear(3, 2, std=0.5, rng=0, dtype=np.float64)
        if p is not None:
            self.dropouts = [Dropout(p), Dropout(p, stream=1)]

    def loss(self, x, targets):
        """Compare outputs and targets."""
        errors = self.linear.forward(x) - targets
        self.keep(errors)
        return np.mean(errors**2)

    def backward(self, dloss=1.0):
        """Add to the gradients."""
        errors = self.recall()
        self.linear.backward(dloss * 2.0 * errors / errors.size)


X, TARGETS = np.arange(12.0).reshape(4, 3), np.ones((4, 2))
BATCH = Pairs(X, TARGETS)


def test_a_loss_and_a_backward_are_all_that_training_needs():
    apart, together = Regression(), Regression()
    loss = apart.loss(*BATCH)
    apart.backward(0.25)
    assert together.loss_and_backward(*BATCH, dloss=0.25) == loss
    assert np.abs(apart.linear.weight.grad).max() > 1
    for ours, theirs in zip(together.parameters(), apart.parameters(), strict=True):
        np.testing.assert_array_equal(ours.grad, theirs.grad)
    assert together.evaluation_loss(*BATCH) == loss


def test_dloss_is_one_unless_it_is_given_and_batches_go_by_name_too():
    by_place, by_name = Regression(), Regression()
    by_place.loss_and_backward(*BATCH, dloss=1.0)
    assert by_name.loss_and_backward(**BATCH._asdict()) == by_place.loss(*BATCH)
    assert by_name.evaluation_loss(**BATCH._asdict()) == by_place.loss(*BATCH)
    np.testing.assert_array_equal(by_name.linear.weight.grad, by_place.linear.weight.grad)


def test_what_a_family_must_define_says_so():
    class Nothing(Model):
        """A model of nothing."""

    for name in ("loss", "backward", "num_targets"):
        with pytest.raises(TypeError, match=f"^Nothing has no {name}; a model must define"):
            getattr(Nothing(), name)()
    with pytest.raises(TypeError, match=r"^Nothing has no loss"):
        Nothing().loss_and_backward(*BATCH)


def test_what_a_language_model_must_define_to_generate_says_so():
    class Silent(LanguageModel):
        """A model that says nothing."""

    ids = np.zeros((1, 2), int)
    calls = {
        "context_length": lambda: Silent().context_length,
        "next_logits": lambda: Silent().next_logits(ids),
        "new_states": lambda: Silent().new_states(1, 2),
        "start": lambda: Silent().start(ids, np.array([2]), []),
        "step": lambda: Silent().step(ids[0], []),
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=f"^Silent has no {name}; a model must define it"):
            call()


def test_dropout_steps_are_counted_together_and_are_0_without_dropout():
    assert Regression().dropout_step == 0
    none = Regression()
    none.dropout_step = 7  # as a checkpoint sets it
    assert none.dropout_step == 0
    model = Regression(p=0.5)
    model.dropouts[1].forward(X)
    assert model.dropout_step == 1
    model.dropout_step = 7
    assert [dropout.step for dropout in model.dropouts] == [7, 7]
    gpt = GPT(GPTConfig(11, 8, n_layers=1, n_heads=1, d_model=4))
    ids = np.zeros((1, 3), int)
    gpt.loss(ids, ids)
    assert gpt.dropout_step == 0


def test_evaluating_turns_dropout_off_and_gives_the_mode_back_whatever_happens():
    model = Regression(p=0.5)
    for mode in (True, False):
        model.train(mode)
        with pytest.raises(ZeroDivisionError), model.evaluating():
            assert not any(layer.training for layer in model.layers())
            raise ZeroDivisionError
        assert all(layer.training is mode for layer in model.layers())


def test_a_family_is_found_by_its_kind():
    assert MODELS["gpt"] is GPT
    assert GPT.Config is GPTConfig
    assert GPT.Batch._fields == ("token_ids", "targets")


def test_a_second_family_of_a_kind_is_refused(monkeypatch):
    monkeypatch.setitem(MODELS, "regression", Regression)
    assert register(Regression) is Regression  # the same one again

    class Other(Model):
        """Another family of that name."""

        kind = "regression"

    with pytest.raises(ValueError, match="there is a model of kind 'regression' already"):
        register(Other)
    assert MODELS["regression"] is Regression
    Other.kind = "another"
    monkeypatch.delitem(MODELS, "another", raising=False)
    try:
        assert register(Other) is MODELS["another"] is Other
    finally:
        MODELS.pop("another", None)


def test_a_layer_is_replaced_wherever_it_stands():
    model = Regression(p=0.5)
    first, new = model.dropouts[0], Dropout(0.1)
    model.shared = first
    model.replace(first, new)
    assert model.dropouts[0] is model.shared is new
    linear = Linear(3, 2)
    model.replace(model.linear, linear)
    assert dict(model.named_layers())["linear"] is linear


def test_parts_of_an_unnamed_layer_are_named_as_the_models_own():
    gpt = GPT(GPTConfig(11, 8, n_layers=1, n_heads=1, d_model=4))
    assert GPT.UNNAMED == ("stack",)
    names = [name for name, _ in gpt.named_parameters()]
    assert "blocks.0.attention.qkv.weight" in names
    assert "final_norm.gamma" in names
    assert not any("stack" in name for name, _ in gpt.named_layers())
    assert gpt.blocks[0].name == "blocks.0"
