"""Adapters of PEFT: computed as PEFT computes them, or refused by name."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the parity tests need the extra 'reference'")
peft = pytest.importorskip("peft", reason="the parity tests need the extra 'reference'")
transformers = pytest.importorskip("transformers")

from npgpt.finetuning import lora_layers, merge_lora  # noqa: E402
from npgpt.finetuning.adapters import load_adapter, save_adapter  # noqa: E402
from npgpt.models import GPT, GPTForClassification  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers, in peft's use
IDS = np.random.default_rng(0).integers(0, 31, (2, 9))
MODULES = ["c_attn", "c_fc", "mlp.c_proj", "attn.c_proj", "h.1.attn.c_attn"]


def base(tied=True):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=31, n_positions=16, n_embd=12, n_layer=2, n_head=3, pad_token_id=0,
        tie_word_embeddings=tied, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config).eval()


def close(ours, theirs):
    assert abs(ours - theirs).max() < 1e-5 * max(1.0, abs(theirs).max())


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A GPT-2 that transformers wrote, with a tied head and with one of its own."""
    made = {}
    for tied in (True, False):
        made[tied] = tmp_path_factory.mktemp("gpt2")
        base(tied).save_pretrained(made[tied])
    return made


def adapter(folder, tied, seed=1, **changes):
    """Write an adapter all of whose arrays are drawn; return PEFT's logits of what it wrote."""
    chosen = {"r": 2, "lora_alpha": 5, "target_modules": ["c_attn"], "fan_in_fan_out": True}
    config = peft.LoraConfig(task_type="CAUSAL_LM", **{**chosen, **changes})
    wrapped = peft.get_peft_model(base(tied), config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    wrapped.save_pretrained(folder)
    again = peft.PeftModel.from_pretrained(base(tied), folder).eval()
    with torch.no_grad():
        return again(torch.from_numpy(IDS)).logits.numpy()


CONFIGS = st.fixed_dictionaries(
    {"r": st.integers(1, 4), "lora_alpha": st.integers(1, 9)},
    optional={
        "target_modules": st.sampled_from(["all-linear", r".*h\.1\.(attn|mlp)\.c_\w+"])
        | st.lists(st.sampled_from(MODULES), min_size=1, unique=True),
        "use_rslora": st.booleans(),
        "rank_pattern": st.dictionaries(
            st.sampled_from([*MODULES, r"h\.0\..*"]), st.integers(1, 4), max_size=2
        ),
        "alpha_pattern": st.dictionaries(
            st.sampled_from([*MODULES, r"h\.\d\.attn\.c_attn"]), st.integers(1, 9), max_size=2
        ),
        "bias": st.sampled_from(["none", "all", "lora_only"]),
        "modules_to_save": st.lists(
            st.sampled_from(["lm_head", "wte", "wpe", "ln_f", "h.0.ln_1"]), min_size=1, unique=True
        ),
        "init_lora_weights": st.sampled_from([True, False, "gaussian"]),
    },
)


@settings(
    max_examples=25,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(CONFIGS, st.booleans())
def test_any_lora_is_computed_as_peft_does(folders, tmp_path_factory, changes, tied):
    folder = tmp_path_factory.mktemp("adapter")
    # the first pattern that fits counts, and PEFT writes them sorted: in another order it cannot
    # read its own file again
    changes = {
        name: dict(sorted(value.items())) if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    expected = adapter(folder, tied, **changes)
    model = GPT.from_pretrained(folders[tied])
    load_adapter(model, folder)
    close(model.forward(IDS), expected)
    merge_lora(model).save_pretrained(folder / "whole")
    whole = transformers.AutoModelForCausalLM.from_pretrained(folder / "whole").eval()
    with torch.no_grad():
        close(whole(torch.from_numpy(IDS)).logits.numpy(), expected)


@pytest.mark.parametrize("initial", ["orthogonal", "mica", "eva"])
def test_an_initialisation_that_keeps_the_base_is_computed_as_peft_does(folders, tmp_path, initial):
    expected = adapter(tmp_path, True, init_lora_weights=initial)
    model = GPT.from_pretrained(folders[True])
    load_adapter(model, tmp_path)
    close(model.forward(IDS), expected)


def changed(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "initial", ["pissa", "pissa_niter_4", "olora", "loftq", "corda", "lora_ga", "of a later PEFT"]
)
def test_an_initialisation_that_changed_the_base_is_refused_by_name(folders, tmp_path, initial):
    really = {"pissa", "pissa_niter_4", "olora"}
    changes = {"init_lora_weights": initial} if initial in really else {}
    adapter(tmp_path, True, target_modules=["attn.c_proj"], **changes)
    changed(tmp_path, init_lora_weights=initial)
    model = GPT.from_pretrained(folders[True])
    before = model.forward(IDS)
    with pytest.raises(ValueError, match=f"init_lora_weights='{initial}' has changed the weights"):
        load_adapter(model, tmp_path)
    np.testing.assert_array_equal(model.forward(IDS), before)


def test_pissa_that_was_converted_is_computed_as_peft_does(folders, tmp_path):
    config = peft.LoraConfig(
        r=2, init_lora_weights="pissa", target_modules=["c_attn"], fan_in_fan_out=True,
        task_type="CAUSAL_LM",
    )  # fmt: skip
    wrapped = peft.get_peft_model(base(), config)
    wrapped.save_pretrained(tmp_path / "start")
    changed(tmp_path / "start", init_lora_weights=True)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
        expected = wrapped.eval()(torch.from_numpy(IDS)).logits.numpy()
    wrapped.save_pretrained(
        tmp_path / "a", path_initial_model_for_weight_conversion=str(tmp_path / "start")
    )
    model = GPT.from_pretrained(folders[True])
    load_adapter(model, tmp_path / "a")
    close(model.forward(IDS), expected)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"use_dora": True}, "use_dora=True"),
        ({"lora_bias": True}, "lora_bias=True"),
        ({"target_modules": ["wte", "c_attn"]}, "lora_embedding_A"),
        ({"target_modules": ["lm_head", "c_attn"]}, "lm_head.lora_A"),
        ({"trainable_token_indices": [1, 2]}, "trainable_token_indices"),
        ({"modules_to_save": ["lm_head"], "ensure_weight_tying": True}, "ensure_weight_tying=True"),
    ],
)
def test_what_npgpts_lora_has_not_is_refused_by_name(folders, tmp_path, changes, name):
    try:
        adapter(tmp_path, "lm_head" not in str(changes) or "ensure" in str(changes), **changes)
    except Exception as error:  # a version of PEFT that cannot make it
        pytest.skip(str(error))
    with pytest.raises(ValueError, match=name):
        load_adapter(GPT.from_pretrained(folders[True]), tmp_path)


def test_other_kinds_of_adapters_are_refused_by_name(folders, tmp_path):
    adapter(tmp_path, True)
    for kind in peft.PeftType:
        if kind.value != "LORA":
            changed(tmp_path, peft_type=kind.value)
            with pytest.raises(ValueError, match=f"peft_type is '{kind.value}', not 'LORA'"):
                load_adapter(GPT.from_pretrained(folders[True]), tmp_path)


def test_an_adapter_of_many_ranks_goes_back_to_peft(folders, tmp_path):
    changes = {"target_modules": "all-linear", "rank_pattern": {"c_fc": 3}, "use_rslora": True}
    expected = adapter(
        tmp_path / "a", True, alpha_pattern={r"h\.1\..*": 2}, modules_to_save=["lm_head"], **changes
    )
    model = GPT.from_pretrained(folders[True])
    load_adapter(model, tmp_path / "a")
    assert {layer.rank for _, layer in lora_layers(model)} == {2, 3}
    save_adapter(model, tmp_path / "b")
    again = peft.PeftModel.from_pretrained(base(), tmp_path / "b").eval()
    with torch.no_grad():
        close(again(torch.from_numpy(IDS)).logits.numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_adapter_of_half_the_precision_is_read(folders, tmp_path, dtype):
    from safetensors.torch import load_file, save_file

    adapter(tmp_path, True)
    path = tmp_path / "adapter_model.safetensors"
    save_file({n: a.to(dtype) for n, a in load_file(path).items()}, path)
    wrapped = peft.PeftModel.from_pretrained(base(), tmp_path).eval()
    model = GPT.from_pretrained(folders[True])
    load_adapter(model, tmp_path)
    with torch.no_grad():
        close(model.forward(IDS), wrapped(torch.from_numpy(IDS)).logits.numpy())


def test_a_classifiers_adapter_is_none_of_a_language_model(folders, tmp_path):
    body = GPT.from_pretrained(folders[True])
    adapter(tmp_path / "a", True)
    load_adapter(body, tmp_path / "a")
    save_adapter(GPTForClassification(body, 3), tmp_path / "b")
    with pytest.raises(ValueError, match=r"score\.weight belongs to nothing"):
        load_adapter(GPT.from_pretrained(folders[True]), tmp_path / "b")
