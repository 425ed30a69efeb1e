"""Every choice of a block is declared once, with its help."""

import dataclasses
import inspect

import pytest

from npgpt.fields import help_of, option_of
from npgpt.layers import BlockConfig
from npgpt.layers.activations import ACTIVATIONS
from npgpt.layers.norms import NORMS
from npgpt.models import GPTConfig
from tests.layers.configs import block_config

SHAPE = {"n_layers": 3, "n_heads": 2, "d_model": 8}
configs = pytest.mark.parametrize("config_class", [BlockConfig, GPTConfig])


@configs
def test_every_field_has_a_help_and_a_panel(config_class):
    for field in dataclasses.fields(config_class):
        option = option_of(field)
        assert help_of(config_class)[field.name].endswith("."), field.name
        assert option.panel in ("Model", "Architecture"), field.name
        if field.default is None:  # what stands for it must be said
            assert option.shown_default, field.name


@configs
def test_the_docstring_holds_every_field_with_its_help(config_class):
    text = inspect.getdoc(config_class)
    words = " ".join(text.replace("`", "").split())
    for field in dataclasses.fields(config_class):
        assert f"\n{field.name} : " in text
        assert help_of(config_class)[field.name] in words


def test_the_words_of_a_choice_are_those_that_layers_are_made_of():
    fields = {field.name: option_of(field).choices for field in dataclasses.fields(BlockConfig)}
    assert fields["norm"] == tuple(NORMS)
    assert fields["activation"] == tuple(ACTIVATIONS)
    for name, words in fields.items():
        for word in words:
            assert getattr(block_config(8, **{name: word}), name) == word
        if words:
            with pytest.raises(ValueError, match=f"^BlockConfig: {name} must be one of .* 'x'"):
                block_config(8, **{name: "x"})


def test_what_is_none_has_a_value_that_stands_for_it():
    config = BlockConfig(**SHAPE)
    assert (config.head_size, config.num_kv_heads, config.feed_forward_size) == (4, 2, 32)
    assert BlockConfig(**SHAPE, activation="swiglu").feed_forward_size == 24  # 8/3 of 8 is 21.3
    other = BlockConfig(**SHAPE, n_kv_heads=1, d_ff=5)
    assert (other.num_kv_heads, other.feed_forward_size) == (1, 5)
    assert config.projection_std == pytest.approx(0.02 / 6**0.5)


def test_blocks_that_end_with_a_norm_have_none_behind_them():
    assert BlockConfig(**SHAPE, norm="rms").final_norm == "rms"
    assert BlockConfig(**SHAPE, norm="rms", norm_position="post").final_norm == "none"


def test_reading_both_ways_is_a_property_of_the_class_and_no_field():
    two_sided = block_config(8, causal=False)
    assert (BlockConfig.causal, two_sided.causal) == (True, False)
    assert "causal" not in two_sided.to_dict()
    assert type(two_sided).from_dict(two_sided.to_dict()) == two_sided


def test_a_config_that_extends_it_names_itself_in_its_errors():
    with pytest.raises(ValueError, match=r"^GPTConfig: d_model must be a positive integer, got 0"):
        GPTConfig(11, 8, **{**SHAPE, "d_model": 0})
    with pytest.raises(
        ValueError, match=r"^BlockConfig: d_model must be a positive integer, got 0"
    ):
        BlockConfig(**{**SHAPE, "d_model": 0})
