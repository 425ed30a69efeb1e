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
        (
            {"position": "rotary"},
            "position must be one of learned, sinusoidal, t5, alibi, rope, none, got 'rotary'",
        ),
        ({"norm": "group"}, "norm must be one of layer, rms, none, got 'group'"),
        ({"norm": "batch"}, "a position would see the future"),
        ({"norm_position": "mid"}, "norm_position must be one of pre, post, got 'mid'"),
        (
            {"activation": "softplus"},
            "activation must be one of gelu, gelu_exact, relu, silu, swiglu, got",
        ),
        (
            {"n_kv_heads": 4},
            "not be more key and value heads than query heads, got n_kv_heads 4 and n_heads 2",
        ),
        (
            {"n_heads": 4, "n_kv_heads": 3},
            "n_kv_heads must divide n_heads, got n_kv_heads 3 and n_heads 4",
        ),
        ({"n_kv_heads": 0}, "n_kv_heads must be a positive integer, got 0"),
        ({"window": 0}, "window must be a positive integer, got 0"),
        (
            {"n_heads": 4, "position": "rope"},
            "head size must be even, got d_model 4 / n_heads 4 = 1",
        ),
        ({"rope_theta": 0.0}, "rope_theta must be positive, got 0.0"),
        ({"relative_attention_num_buckets": 1}, "must be at least 2, got 1"),
        ({"relative_attention_max_distance": 16}, "must be above half of .* got 16 and 32"),
        ({"n_layers": True}, "n_layers must be a positive integer, got True"),
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


def test_the_first_nine_fields_are_given_by_position_and_no_others():
    config = GPTConfig(11, 8, 2, 2, 4, 12, 0.1, False, False)
    by_name = GPTConfig(
        vocab_size=11, context_length=8, n_layers=2, n_heads=2, d_model=4, d_ff=12, dropout=0.1,
        bias=False, tie_embeddings=False,
    )  # fmt: skip
    assert config == by_name
    with pytest.raises(TypeError, match="takes from 6 to 10 positional arguments but 11"):
        GPTConfig(11, 8, 2, 2, 4, 12, 0.1, False, False, "rope")


def test_a_config_survives_json():
    config = GPTConfig(**SHAPE, dropout=0.1, tie_embeddings=False)
    assert GPTConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match=r"^GPTConfig: no field is named 'depth'\.$"):
        GPTConfig.from_dict({**config.to_dict(), "depth": 3})
    with pytest.raises(ValueError, match=r"^GPTConfig: no value is given for n_layers, d_model\.$"):
        GPTConfig.from_dict({"vocab_size": 3, "context_length": 4, "n_heads": 1})


def test_a_config_written_before_there_were_choices_is_gpt2s():
    written_then = {
        **SHAPE, "d_ff": None, "dropout": 0.0, "bias": True, "tie_embeddings": True,
        "position": "learned", "layer_norm_eps": 1e-05,
    }  # fmt: skip
    assert GPTConfig.from_dict(written_then) == GPTConfig(**SHAPE)
