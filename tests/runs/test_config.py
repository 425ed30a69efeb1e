"""The settings of a run: declared once, written flat, read by any of their names."""

import dataclasses

import pytest

import npgpt
from npgpt.fields import names_of
from npgpt.models import MODELS, GPTConfig, GRUConfig
from npgpt.runs import DataConfig, OptimisationConfig, RunConfig
from tests.models.toys import Recurrent, RecurrentConfig

PARTS = {"data": DataConfig, "model": GPTConfig, "optimisation": OptimisationConfig}
OTHERS = {  # a value for each field that is not its default
    "corpus": "-", "tokenizer": "char", "vocab_size": 300, "validation_fraction": 0.2, "stride": 3,
    "field": "body", "errors": "ignore", "context_length": 32, "n_layers": 3, "n_heads": 8,
    "d_model": 64, "d_ff": 96, "dropout": 0.1, "bias": False, "position": "t5",
    "layer_norm_eps": 1e-3, "norm": "rms", "norm_position": "post", "activation": "relu",
    "shortcut": False, "n_kv_heads": 4, "window": 5, "qkv_bias": True, "scale_scores": False,
    "rope_theta": 500.0, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 20,
    "tie_embeddings": False, "steps": 40, "batch_size": 3, "grad_accumulation": 2,
    "recompute": True, "lr": 1e-2, "min_lr": 1e-4, "warmup_steps": 7, "beta1": 0.8, "beta2": 0.95,
    "optimizer": "sgd", "momentum": 0.8, "nesterov": True, "schedule": "wsd", "decay_steps": 5,
    "weight_decay": 0.3, "clip_norm": 0.5, "eval_every": 9, "eval_batches": 2, "gradient_flow": 4,
    "seed": 5,
}  # fmt: skip
OF_OTHER_MODELS = {
    "bptt": None, "mask_probability": 0.15, "masking": "exact", "whole_words": False
}  # fmt: skip


def test_every_setting_has_one_name_and_is_read_by_it():
    names = [f.name for part in PARTS.values() for f in dataclasses.fields(part)]
    assert {n for n in names if names.count(n) > 1} == {"vocab_size"}  # asked for, and the model's
    assert set(names) - OF_OTHER_MODELS.keys() == set(OTHERS)
    config, default = RunConfig(**OTHERS), RunConfig()
    for part, config_class in PARTS.items():
        for name in OTHERS.keys() & names_of(config_class):
            value = OTHERS[name]
            assert getattr(config, name) == getattr(getattr(config, part), name) == value
            assert getattr(default, name) != value
    with pytest.raises(AttributeError, match="no setting 'depth'"):
        _ = config.depth


def test_it_is_written_flat_and_read_again():
    config = RunConfig(**OTHERS)
    assert config.to_dict() == {"model": "gpt", **OF_OTHER_MODELS, **OTHERS}
    assert RunConfig.from_dict(config.to_dict()) == config
    assert hash(RunConfig.from_dict(config.to_dict())) == hash(config)


def test_the_parts_make_the_same_as_the_names():
    parts = {
        part: config_class(
            **{name: OTHERS[name] for name in OTHERS.keys() & names_of(config_class)}
        )
        for part, config_class in PARTS.items()
    }
    config = RunConfig(**OTHERS)
    assert RunConfig(**parts) == config
    assert dataclasses.replace(RunConfig(**parts), seed=6) == config.changed(seed=6)
    assert config.changed(seed=6).seed == 6
    assert config.model_config(11) == dataclasses.replace(parts["model"], vocab_size=11)


def test_settings_of_earlier_versions_are_known_by_their_names():
    # version 0.1 had no model, no field and none of the choices beside GPT-2's
    old = {
        "corpus": "python-docs", "tokenizer": "bpe", "vocab_size": 1024, "validation_fraction": 0.1,
        "context_length": 64, "n_layers": 2, "n_heads": 4, "d_model": 128, "dropout": 0.0,
        "bias": True, "tie_embeddings": True, "stride": 64, "batch_size": 12, "steps": 1200,
        "lr": 3e-3, "min_lr": 3e-4, "warmup_steps": 60, "beta1": 0.9, "beta2": 0.99,
        "weight_decay": 0.1, "clip_norm": 1.0, "eval_every": 240, "eval_batches": 0, "seed": 0,
    }  # fmt: skip
    assert RunConfig.from_dict(old).to_dict() == RunConfig(min_lr=3e-4).to_dict()
    assert npgpt.training.TrainingConfig(**old) == RunConfig.from_dict(old)


def test_defaults_that_are_shares_follow_what_they_are_shares_of():
    config = RunConfig(lr=1e-2, steps=200, context_length=16)
    assert (config.min_lr, config.warmup_steps, config.eval_every, config.stride) == (
        1e-3,
        10,
        40,
        16,
    )
    assert RunConfig(steps=3).eval_every == 1
    assert RunConfig(min_lr=None, stride=None) == RunConfig()


def test_what_no_part_has_is_named():
    with pytest.raises(ValueError, match=r"no field is named 'depth', with the model 'gpt'"):
        RunConfig(depth=3)
    with pytest.raises(ValueError, match=r"model must be one of .*gpt.*lstm, got 'mamba'"):
        RunConfig("mamba")


def test_another_family_has_its_own_settings(monkeypatch):
    monkeypatch.setitem(MODELS, "recurrent", Recurrent)
    config = RunConfig("recurrent", context_length=16, lr=1e-3)
    assert config.model == RecurrentConfig(1024, 16, d_model=128)
    assert config.family is Recurrent
    assert RunConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match=r"named 'window', with the model 'recurrent'"):
        RunConfig("recurrent", window=3)
    with pytest.raises(ValueError, match=r"recompute: a model of the kind 'recurrent'"):
        RunConfig("recurrent", recompute=True)


def test_bptt_is_the_context_of_a_recurrent_model():
    config = RunConfig("gru", bptt=16)
    assert (config.bptt, config.context_length, config.stride) == (16, 16, None)
    assert RunConfig.from_dict(config.to_dict()) == config
    assert RunConfig("gru", DataConfig(bptt=32)).context_length == 32
    assert config.changed(bptt=8).context_length == 8
    windows = config.changed(bptt=None)
    assert (windows.context_length, windows.stride) == (16, 16)
    with pytest.raises(ValueError, match=r"kind 'gpt' carries no state on; take one of .*lstm"):
        RunConfig(bptt=16)
    for contradiction in ({"stride": 4}, {"context_length": 32}):
        with pytest.raises(ValueError, match=r"bptt 16 .*leave one of the two out"):
            RunConfig("gru", bptt=16, **contradiction)
    with pytest.raises(ValueError, match="context_length cannot be 8"):
        RunConfig(GRUConfig(5, 8, n_layers=1, d_model=4), DataConfig(bptt=16))


@pytest.mark.parametrize(
    "masks", [{"mask_probability": 0.2}, {"masking": "bernoulli"}, {"whole_words": True}]
)
def test_masks_are_chosen_for_a_model_of_masked_words_alone(masks):
    config = RunConfig("bert", **masks)
    assert RunConfig.from_dict(config.to_dict()) == config
    assert config.changed(seed=3).data == config.data
    with pytest.raises(ValueError, match=r"kind 'gpt' is not asked for masked words; take bert"):
        RunConfig(**masks)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_the_share_of_masked_words_is_checked(share):
    with pytest.raises(ValueError, match="mask_probability must be above 0 and at most 1"):
        RunConfig("bert", mask_probability=share)


@pytest.mark.parametrize(
    ("kind", "option", "owners"),
    [
        ("gru", {"forget_bias": 1.0}, "'forget_bias' belongs to lstm"),
        ("lstm", {"kernel": 2}, "'kernel' belongs to conv"),
        ("lstm", {"n_heads": 2}, "'n_heads' belongs to bert, gpt"),
        ("gpt", {"nonlinearity": "relu"}, "'nonlinearity' belongs to rnn"),
    ],
)
def test_an_option_of_another_family_is_named_with_its_owner(kind, option, owners):
    with pytest.raises(ValueError, match=f"with the model '{kind}'; {owners}"):
        RunConfig(kind, **option)
