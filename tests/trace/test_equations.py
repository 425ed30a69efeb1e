"""Every box has its equation and its code."""

import dataclasses
import linecache
from pathlib import Path

import numpy as np
import pytest

import npgpt
from npgpt.layers import Dropout, Layer, LayerNorm
from npgpt.trace import source_lines
from npgpt.trace.equations import EQUATIONS, equation_of
from npgpt.trace.source_lines import code_of, source_of
from npgpt.trace.steps import steps_of
from tests.layers.configs import CHOICES, block_config
from tests.models.tiny import CONFIGS

ROOT = Path(npgpt.__file__).resolve().parents[1]
MODELS = [
    npgpt.GPT(config, recompute=again) for config in CONFIGS.values() for again in (False, True)
]
CHOSEN = [
    npgpt.GPT(dataclasses.replace(CONFIGS["tied"], **{name: value}))
    for name, values in {**CHOICES, "shortcut": [True, False]}.items()
    for value in values
]
WITHOUT_ATTENTION = [
    family(family.Config(5, 4, n_layers=2, d_model=4, **choices))
    for family, choices in (
        (npgpt.models.RNNLM, {}), (npgpt.models.RNNLM, {"nonlinearity": "relu"}),
        (npgpt.models.GRULM, {}), (npgpt.models.LSTMLM, {}), (npgpt.models.ConvolutionalLM, {}),
    )
]  # fmt: skip
CHOSEN += WITHOUT_ATTENTION
KINDS = {f"{type(layer).__name__}": layer for model in MODELS + CHOSEN for layer in model.layers()}


@pytest.mark.parametrize("name", KINDS)
def test_every_layer_of_the_model_has_its_equations(name):
    kind = type(KINDS[name])
    entry = name if name in EQUATIONS else kind.__mro__[1].__name__
    assert equation_of(KINDS[name]) in [
        EQUATIONS[key] for key in EQUATIONS if key.startswith(entry)
    ]
    assert equation_of(KINDS[name]).forward
    assert equation_of(KINDS[name]).backward


def test_every_gate_and_state_has_equations_both_ways():
    for model in WITHOUT_ATTENTION:
        for layer in model.layers():
            for tap, step in steps_of(layer).items():
                assert any(name.startswith(tap) for name in layer.TAPS)
                assert step.equation.forward
                assert step.equation.backward
    made = [set(steps_of(model.network)) for model in WITHOUT_ATTENTION[:-1]]
    assert made == [set(model.network.STEP_TAPS) for model in WITHOUT_ATTENTION[:-1]]
    foreign = type("Leaky", (npgpt.layers.LSTM,), {"forward": lambda self, x: x})
    assert steps_of(foreign(2, 2)) == {}


def test_a_block_has_the_equations_of_its_arrangement():
    blocks = [
        npgpt.layers.TransformerBlock(block_config(8, 2, norm_position=where, shortcut=shortcut))
        for where in ("pre", "post")
        for shortcut in (True, False)
    ]
    first_lines = [equation_of(block).forward[0] for block in blocks]
    assert first_lines == [
        "m = x + attention(attention_norm(x))",
        "m = attention(attention_norm(x))",
        "m = attention_norm(x + attention(x))",
        "m = attention_norm(attention(x))",
    ]


class Cube(Layer):
    """The cube.

    ``y = x^3`` (nobody, 2020); then ``dx = 3 x^2 dy``.
    """

    def forward(self, x):
        """Cube."""
        self.keep(x)
        return self._cubed(x)

    def backward(self, dy):
        """Go back."""
        return 3.0 * np.square(self.recall()) * dy

    def _cubed(self, x):
        return x**3


class Silent(Layer):
    """A layer of which nobody says what it computes."""


def test_a_layer_without_an_entry_has_the_equation_of_its_docstring():
    assert equation_of(Cube()).forward == ("y = x^3",)
    assert equation_of(Silent()).forward == ()
    assert equation_of(type("Scaled", (LayerNorm,), {})(4)) is EQUATIONS["LayerNorm"]


@pytest.mark.parametrize("model", [*MODELS[:2], *CHOSEN])
def test_code_is_shown_with_the_numbers_that_it_has_in_its_file(model):
    for layer in model.layers():
        code = code_of(layer)
        names = [source.name for source in code]
        assert {"forward", "backward"} <= {name.rpartition(".")[2] for name in names}
        assert len(set(names)) == len(names)
        for source in code:
            for number, line in source.lines:
                written = linecache.getline(str(ROOT / source.path), number)
                assert line.strip() == written.strip(), f"{source.path}:{number}"
            begin = next(line for _, line in source.lines if not line.strip().startswith("@"))
            assert f"def {source.name.rpartition('.')[2]}(" in begin
            assert not any('"""' in line for _, line in source.lines)


def test_what_forward_and_backward_call_is_shown_too():
    assert [source.name for source in code_of(Cube())] == [
        "Cube.forward",
        "Cube.backward",
        "Cube._cubed",
    ]
    network = [source.name for source in code_of(WITHOUT_ATTENTION[3].network)]
    assert network[:2] == ["Recurrent.forward", "Recurrent.backward"]
    assert network[-2:] == ["lstm_forward", "lstm_backward"]
    attention = [source.name for source in code_of(MODELS[0].blocks[0].attention)]
    assert attention[:2] == ["MultiHeadAttention.forward", "MultiHeadAttention.backward"]
    assert {"scores_backward", "softmax_backward", "weighted_sum_forward"} <= set(attention)
    recomputing = [source.name for source in code_of(MODELS[1].blocks[0])]
    assert recomputing[:2] == ["RecomputingBlock.forward", "RecomputingBlock.backward"]
    assert {"TransformerBlock.forward", "TransformerBlock.backward"} <= set(recomputing)
    assert "dropout_forward" in {source.name for source in code_of(Dropout())}
    assert "gelu_tanh_backward" in {
        s.name for s in code_of(MODELS[0].blocks[0].feed_forward.activation)
    }


def test_lines_link_to_the_repository_only_if_the_metadata_names_one(monkeypatch):
    monkeypatch.setattr(source_lines, "_repository", lambda: "")
    assert source_of(LayerNorm.forward).url is None
    monkeypatch.setattr(source_lines, "_repository", lambda: "https://example.org/npgpt")
    source = source_of(LayerNorm.forward)
    assert source.url == (
        f"https://example.org/npgpt/blob/v{npgpt.__version__}/npgpt/layers/norms.py#L{source.first}"
    )
