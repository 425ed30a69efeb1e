"""Classification, instructions, LoRA and preferences against PyTorch; adapters against PEFT."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the parity tests need the extra 'reference'")

from npgpt.data.sequences import LabelledTexts, Responses  # noqa: E402
from npgpt.finetuning import LoRAConfig, apply_lora, lora_layers  # noqa: E402
from npgpt.finetuning.adapters import load_adapter, save_adapter  # noqa: E402
from npgpt.models import GPT, GPTForClassification, GPTForPreference  # noqa: E402
from tests.models.tiny import CONFIGS, shaken_model  # noqa: E402
from tests.parity.test_parity import close, leaf  # noqa: E402
from tests.parity.torch_gpt import twin_name, twin_of  # noqa: E402

F = torch.nn.functional
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of transformers, in peft's use
names = pytest.mark.parametrize("name", CONFIGS)


def hidden_states(twin, token_ids):
    """What the twin's output head reads."""
    kept = {}
    hook = twin.norm.register_forward_hook(lambda module, x, y: kept.update(y=y))
    twin(token_ids)
    hook.remove()
    return kept["y"]


def assert_gradients_are_the_twins(parameters, twin, prefix="", skipped=()):
    theirs = dict(twin.named_parameters())
    for name, parameter in parameters:
        name = name.removeprefix(prefix)
        if parameter.requires_grad and name not in skipped:
            close(parameter.grad, theirs[twin_name(name)].grad)


@pytest.mark.parametrize("lm_coef", [0.0, 0.5])
@names
def test_classification(name, lm_coef, backend):
    config = CONFIGS[name]
    body = shaken_model(config)
    twin = twin_of(body)
    model = GPTForClassification(body, 3, 5, lm_coef)
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, config.vocab_size, n) for n in (8, 3, 5, 1)]
    token_ids, lengths, labels = LabelledTexts(rows, [2, 0, 1, 0]).batch(np.arange(4))
    head = leaf(body.head.weight.value.copy())
    x = hidden_states(twin, torch.from_numpy(token_ids))
    logits = x[torch.arange(4), torch.from_numpy(lengths - 1)] @ head.T
    classes = F.cross_entropy(logits, torch.from_numpy(labels))
    next_ones = [F.cross_entropy(twin(torch.from_numpy(row[None, :-1]))[0], torch.from_numpy(row[1:]),
                                 reduction="sum") for row in rows if len(row) > 1]  # fmt: skip
    loss = classes + lm_coef * sum(next_ones) / sum(len(row) - 1 for row in rows)
    loss.backward()
    close(model.forward(token_ids, lengths), logits)
    close(model.loss(token_ids, lengths, labels), loss)
    close(model.evaluation_loss(token_ids, lengths, labels), classes)
    close(model.loss_and_backward(token_ids, lengths, labels), loss)
    close(body.head.weight.grad, head.grad)
    skipped = {"head.weight", "lm_head.weight"}
    assert_gradients_are_the_twins(model.named_parameters(), twin, "body.", skipped)
    if lm_coef and not config.tie_embeddings:
        close(model.lm_head.weight.grad, twin.head.weight.grad)


@names
def test_instructions(name, backend):
    config = CONFIGS[name]
    model = shaken_model(config)
    twin = twin_of(model)
    rng = np.random.default_rng(1)
    rows = [rng.integers(0, config.vocab_size, n) for n in (9, 4, 6)]
    inputs, targets = Responses(rows, [3, 1, 4]).batch([0, 1, 2])
    logits = twin(torch.from_numpy(inputs))
    flat = torch.from_numpy(targets).reshape(-1)
    loss = F.cross_entropy(logits.reshape(-1, config.vocab_size), flat, ignore_index=-100)
    loss.backward()
    close(model.loss_and_backward(inputs, targets), loss)
    assert_gradients_are_the_twins(model.named_parameters(), twin)


@names
def test_lora(name, backend):
    config = CONFIGS[name]
    model = shaken_model(config)
    twin = twin_of(model)
    apply_lora(model, LoRAConfig(rank=2, alpha=3.0))
    rng = np.random.default_rng(2)
    pairs = {}
    for layer_name, layer in lora_layers(model):
        layer.lora_B.value += rng.standard_normal(layer.lora_B.shape)
        a, b = leaf(layer.lora_A.value.copy()), leaf(layer.lora_B.value.copy())
        pairs[layer_name] = a, b
        module = twin.get_submodule(twin_name(f"{layer_name}.weight").rpartition(".")[0])
        module.register_forward_hook(
            lambda module, x, y, a=a, b=b: y + 1.5 * (x[0] @ a.T) @ b.T  # 3 / 2
        )
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    ids, targets = rng.integers(0, config.vocab_size, (2, 3, 8))
    loss = twin.loss(torch.from_numpy(ids), torch.from_numpy(targets))
    loss.backward()
    close(model.loss_and_backward(ids, targets), loss)
    for layer_name, layer in lora_layers(model):
        a, b = pairs[layer_name]
        close(layer.lora_A.grad, a.grad)
        close(layer.lora_B.grad, b.grad)


@names
def test_preferences(name, backend):
    config = CONFIGS[name]
    policy = shaken_model(config)
    twin = twin_of(policy)
    model = GPTForPreference(policy, beta=0.3)
    rng = np.random.default_rng(3)
    rows = [rng.integers(0, config.vocab_size, n) for n in (7, 5, 8, 4)]
    inputs, targets = Responses(rows, [3, 2, 3, 2]).batch(np.arange(4))
    reference = rng.standard_normal(4) - 5.0
    log_p = torch.log_softmax(twin(torch.from_numpy(inputs)), dim=-1)
    counted = torch.from_numpy(targets != -100)
    index = torch.from_numpy(np.where(targets == -100, 0, targets))[..., None]
    response = (log_p.gather(-1, index)[..., 0] * counted).sum(-1)
    rewards = 0.3 * (response - torch.from_numpy(reference))
    loss = -F.logsigmoid(rewards[:2] - rewards[2:]).mean()
    loss.backward()
    close(model.loss_and_backward(inputs, targets, reference), loss)
    assert_gradients_are_the_twins(model.named_parameters(), twin, "policy.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A GPT-2 that transformers wrote."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=31, n_positions=16, n_embd=12, n_layer=2, n_head=3, pad_token_id=0
    )
    folder = tmp_path_factory.mktemp("gpt2")
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("target_modules", [("*",), ("attention.qkv", "feed_forward.down")])
def test_peft_loads_an_adapter(folder, tmp_path, target_modules):
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    model = GPT.from_pretrained(folder)
    names = apply_lora(model, LoRAConfig(rank=3, target_modules=target_modules))
    for _, layer in lora_layers(model):
        layer.lora_B.value += np.random.default_rng(1).normal(0, 0.3, layer.lora_B.shape)
    save_adapter(model, tmp_path, str(folder))
    base = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    theirs = peft.PeftModel.from_pretrained(base, tmp_path)
    wrapped = [n for n, m in theirs.named_modules() if isinstance(m, peft.tuners.lora.Linear)]
    assert len(wrapped) == len(names)
    ids = np.random.default_rng(0).integers(0, 31, (2, 9))
    with torch.no_grad():
        logits = theirs(torch.from_numpy(ids)).logits
    close(model.forward(ids), logits, 1e-5)


def test_an_adapter_of_peft_is_loaded(folder, tmp_path):
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    base = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    settings = peft.LoraConfig(
        r=2, lora_alpha=5, target_modules=["c_attn", "c_fc"], init_lora_weights=False,
        fan_in_fan_out=True, task_type="CAUSAL_LM",
    )  # fmt: skip
    theirs = peft.get_peft_model(base, settings).eval()
    theirs.save_pretrained(tmp_path)
    model = GPT.from_pretrained(folder)
    assert len(load_adapter(model, tmp_path)) == 4
    ids = np.random.default_rng(0).integers(0, 31, (2, 9))
    with torch.no_grad():
        close(model.forward(ids), theirs(torch.from_numpy(ids)).logits, 1e-5)


def test_peft_loads_a_classifiers_adapter(folder, tmp_path):
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    body = GPT.from_pretrained(folder)
    apply_lora(body, LoRAConfig(rank=2))
    for _, layer in lora_layers(body):
        layer.lora_B.value += 0.1
    model = GPTForClassification(body, 3, seed=1)
    save_adapter(model, tmp_path, str(folder))
    base = transformers.GPT2ForSequenceClassification.from_pretrained(folder, num_labels=3).eval()
    theirs = peft.PeftModel.from_pretrained(base, tmp_path)
    ids = np.array([[3, 4, 5, 6], [7, 8, 0, 0]])
    with torch.no_grad():
        logits = theirs(torch.from_numpy(ids)).logits
    close(model.forward(ids, np.array([4, 2])), logits, 1e-5)
