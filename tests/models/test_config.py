"""GPTConfig refuses what cannot be built, and knows the released models."""

import pytest

from npgpt.models import GPT, GPTConfig

SHAPE = {"vocab_size": 11, "context_length": 8, "n_layers": 2, "n_heads": 2, "d_model": 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be a positive integer, got 0"),
        ({"context_length": -1}, "context_length must be a positive integer, got -1"),
        ({"n_layers": 0}, "n_layers must be a positive integer"),
        ({"n_heads": 0}, "n_heads must be a positive integer"),
        ({"d_model": 2.5}, "d_model must be a positive integer, got 2.5"),
        ({"d_ff": 0}, "d_ff must be a positive integer, got 0"),
        ({"n_heads": 3}, "n_heads must divide d_model, got d_model 4 and n_heads 3"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"dropout": -0.1}, "dropout must be at least 0"),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps must be positive"),
        ({"position": "rotary"}, "position must be one of learned, got 'rotary'"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_rule(change, message):
    with pytest.raises(ValueError, match=message):
        GPTConfig(**{**SHAPE, **change})


def expected_parameters(c):
    """Count by hand: tables, then 12 d^2 + 13 d a block, then the final norm."""
    tables = (c.vocab_size + c.context_length) * c.d_model
    block = 12 * c.d_model**2 + 13 * c.d_model
    return tables + c.n_layers * block + 2 * c.d_model


@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        ("124M", 124_439_808),
        ("355M", 354_823_168),
        ("774M", 774_030_080),
        ("1558M", 1_557_611_200),
    ],
)
def test_gpt2_sizes_have_the_released_parameter_counts(size, parameters):
    assert expected_parameters(GPTConfig.gpt2(size)) == parameters


def test_the_count_by_hand_is_the_models():
    config = GPTConfig(**SHAPE)
    assert GPT(config).num_parameters() == expected_parameters(config)


def test_gpt2_takes_changes_and_refuses_unknown_sizes():
    assert GPTConfig.gpt2("124M", dropout=0.0, context_length=64).context_length == 64
    with pytest.raises(ValueError, match="size must be one of 124M, 355M, 774M, 1558M, got '7B'"):
        GPTConfig.gpt2("7B")


def test_a_config_survives_json():
    config = GPTConfig(**SHAPE, dropout=0.1, tie_embeddings=False)
    assert GPTConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="unexpected keyword argument 'depth'"):
        GPTConfig.from_dict({**config.to_dict(), "depth": 3})
