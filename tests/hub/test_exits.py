"""What is written computes what the model computes, or nothing is written."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npgpt
from npgpt.finetuning import LoRAConfig, apply_lora, lora_layers
from npgpt.finetuning.adapters import save_adapter
from npgpt.layers import GELU, Linear
from npgpt.models import GPTForClassification, GPTForPreference
from tests.hub.folders import small_model

IDS = np.random.default_rng(0).integers(0, 270, (2, 11))
TARGETS = ["*", "attention.qkv", "feed_forward.down", "blocks.1.*"]


def with_lora(**changes):
    model = small_model(**changes)
    return drawn_lora(model)


def drawn_lora(model, target="*"):
    apply_lora(model, LoRAConfig(rank=2, target_modules=(target,)))
    for i, (_, layer) in enumerate(lora_layers(model)):
        layer.lora_B.value[...] = np.random.default_rng(i).normal(0, 0.3, layer.lora_B.shape)
    return model


@settings(max_examples=25)
@given(
    st.sampled_from(TARGETS), st.sets(st.integers(0, 7)), st.booleans(), st.booleans(),
    st.integers(500, 20_000),
)  # fmt: skip
def test_low_rank_additions_are_merged_in_what_is_written_and_the_model_stays_as_it_is(
    tmp_path_factory, target, merged, tied, bias, shard_size
):
    folder = tmp_path_factory.mktemp("m")
    model = drawn_lora(small_model(tie_embeddings=tied, bias=bias), target)
    for i, (_, layer) in enumerate(lora_layers(model)):
        if i in merged:
            layer.merge()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    trained = [p.name for p in model.trained_parameters()]
    expected = model.forward(IDS)
    model.save_pretrained(folder, shard_size=shard_size)
    found = npgpt.GPT.from_pretrained(folder).forward(IDS)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * abs(expected).max())
    assert [p.name for p in model.trained_parameters()] == trained
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_the_policy_of_a_preference_model_is_written_merged(tmp_path):
    model = GPTForPreference(with_lora(), 0.1)
    expected = model.policy.forward(IDS)
    model.policy.save_pretrained(tmp_path / "m")
    found = npgpt.GPT.from_pretrained(tmp_path / "m").forward(IDS)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def replaced(kind):
    """Make a model that computes something else than the arrays of its config say."""
    model = small_model(tie_embeddings=kind != "untied classifier")
    if "classifier" in kind:
        return GPTForClassification(model, 3).body
    if kind in ("int8", "bfloat16"):
        return model.quantize(kind)
    if kind == "wider feed-forward":
        model.replace(model.blocks[0].feed_forward.up, Linear(8, 24))
        return model
    if kind == "an extra layer":
        model.extra = Linear(8, 8)
    return model


@pytest.mark.parametrize(
    "kind",
    ["classifier", "untied classifier", "int8", "bfloat16", "wider feed-forward", "an extra layer"],
)
def test_a_model_of_which_a_part_would_be_left_out_is_refused_and_nothing_is_written(
    tmp_path, kind
):
    model = replaced(kind)
    with pytest.raises(ValueError, match="save_pretrained: ") as error:
        model.save_pretrained(tmp_path / "m")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "m").exists()


def test_a_model_whose_activations_are_edited_is_refused_inside_the_block_only(tmp_path):
    model = small_model()
    with (
        model.edit("blocks.1.attention.output", forward=np.zeros_like),
        pytest.raises(ValueError, match="activations are edited"),
    ):
        model.save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    model.save_pretrained(tmp_path / "m")
    with npgpt.gradients.record(model):
        model.save_pretrained(tmp_path / "again")


def test_an_adapter_does_not_leave_out_what_else_is_trained(tmp_path):
    model = with_lora()
    model.final_norm.gamma.freeze(False)
    with pytest.raises(ValueError, match=r"save_adapter: final_norm\.gamma is trained too"):
        save_adapter(model, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_the_activation_is_written_as_it_is_named_there(tmp_path):
    assert GELU  # of tanh
    for activation in ("gelu", "gelu_exact", "relu"):
        model = small_model(activation=activation)
        model.save_pretrained(tmp_path / activation)
        again = npgpt.GPT.from_pretrained(tmp_path / activation)
        assert again.config.activation == activation
        np.testing.assert_array_equal(again.forward(IDS), model.forward(IDS))
