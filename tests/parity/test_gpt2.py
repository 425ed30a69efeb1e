"""GPT-2 as transformers has it: its folders loaded and matched, and ours loaded by it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the parity tests need the extra 'reference'")
transformers = pytest.importorskip(
    "transformers", reason="the parity tests need the extra 'reference'"
)

import npgpt  # noqa: E402
from npgpt.hub.architectures.gpt2 import NAMES  # noqa: E402
from npgpt.models.config import GPT2_SIZES  # noqa: E402

SMALL = {"vocab_size": 301, "n_positions": 24, "n_layer": 3, "n_head": 2, "n_embd": 16}


def theirs(dtype=torch.float32, seed=0, **changes):
    """A GPT-2 of transformers, whose gains and biases are away from 1 and 0 too."""
    torch.manual_seed(seed)
    config = transformers.GPT2Config(
        **{"bos_token_id": 0, "eos_token_id": 0, **SMALL, **changes},
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.from_numpy(ids)).logits.numpy()


def largest_difference(ours, others):
    """Relative to the largest of the others, if that is above 1."""
    return abs(ours - others).max() / max(1.0, abs(others).max())


def shape_of(size, n_layers):
    shape = GPT2_SIZES[size]
    return {
        "vocab_size": 50257, "n_positions": 1024, "n_layer": n_layers,
        "n_head": shape["n_heads"], "n_embd": shape["d_model"],
    }  # fmt: skip


# the two smaller sizes whole, the others with fewer layers
SHAPES = {
    "124M": shape_of("124M", 12),
    "355M": shape_of("355M", 24),
    "774M, 2 layers": shape_of("774M", 2),
    "1558M, 1 layer": shape_of("1558M", 1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_logits_in_float32_at_the_released_shapes(tmp_path, name):
    other = theirs(**SHAPES[name])
    other.save_pretrained(tmp_path)
    ids = np.random.default_rng(0).integers(0, 50257, (1, 12))
    expected = logits_of(other, ids)
    del other
    ours = npgpt.GPT.from_pretrained(tmp_path)
    assert largest_difference(ours.forward(ids), expected) < 1e-4


def gradients_of(model):
    return {name: p.grad.numpy() for name, p in model.named_parameters()}


def compare_gradients(ours, other, tolerance):
    """Compare every parameter's gradient, by the table's names."""
    grads = gradients_of(other)
    compared = 0
    for line in NAMES:
        for i in range(ours.config.n_layers if "{}" in line.ours else 1):
            parameter = dict(ours.named_parameters()).get(line.ours.format(i))
            if parameter is None:  # a tied head
                continue
            name = line.hugging_face.format(i)
            grad = grads[name if name.startswith("lm_head") else f"transformer.{name}"]
            grad = grad.T if line.transposed else grad
            assert largest_difference(parameter.grad, grad) < tolerance, name
            compared += 1
    assert compared == len(grads)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False},
        {"n_inner": 40, "activation_function": "gelu_pytorch_tanh", "layer_norm_epsilon": 1e-3},
        {"activation_function": "gelu"},
        {"activation_function": "relu"},
        SHAPES["124M"],
        SHAPES["774M, 2 layers"],
        SHAPES["1558M, 1 layer"],
    ],
    ids=[
        "tied",
        "untied",
        "other choices",
        "exact GELU",
        "ReLU",
        "124M",
        "774M, 2 layers",
        "1558M, 1 layer",
    ],
)
def test_logits_and_every_gradient_in_float64(tmp_path, changes):
    other = theirs(torch.float64, **changes)
    other.save_pretrained(tmp_path)
    ours = npgpt.GPT.from_pretrained(tmp_path, np.float64)
    ids = np.random.default_rng(0).integers(0, ours.config.vocab_size, (2, 13))
    assert largest_difference(ours.forward(ids), logits_of(other, ids)) < 1e-10
    inputs = torch.from_numpy(ids)
    logits = other(inputs[:, :-1]).logits  # its own loss would be computed in float32
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), inputs[:, 1:].flatten())
    loss.backward()
    mine = ours.loss(ids[:, :-1], ids[:, 1:])
    ours.backward()
    assert abs(mine - loss.item()) < 1e-10
    compare_gradients(ours, other, 1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_files_of_half_the_precision(tmp_path, dtype):
    other = theirs().to(dtype)
    other.save_pretrained(tmp_path)
    ids = np.arange(20)[None]
    ours = npgpt.GPT.from_pretrained(tmp_path).forward(ids)
    assert largest_difference(ours, logits_of(other.float(), ids)) < 1e-5


def test_shards_of_transformers(tmp_path):
    other = theirs(torch.float64)
    other.save_pretrained(tmp_path, max_shard_size=20_000)
    assert len(list(tmp_path.glob("*.safetensors"))) > 3
    ids = np.arange(20)[None]
    ours = npgpt.GPT.from_pretrained(tmp_path, np.float64)
    assert largest_difference(ours.forward(ids), logits_of(other, ids)) < 1e-10


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("shard_size", "activation"), [(20_000, "gelu"), (10**9, "gelu_exact"), (10**9, "relu")]
)
def test_the_way_back(tmp_path, tied, bias, shard_size, activation):
    config = npgpt.GPTConfig(
        301, 24, n_layers=3, n_heads=2, d_model=16, d_ff=40, tie_embeddings=tied, bias=bias,
        activation=activation,
    )  # fmt: skip
    model = npgpt.GPT(config, seed=1, dtype=np.float64).eval()
    for parameter in model.parameters():
        parameter.value += 0.02 * np.random.default_rng(0).standard_normal(parameter.shape)
    model.save_pretrained(tmp_path / "m", shard_size=shard_size)
    other = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float64)
    ids = np.random.default_rng(0).integers(0, 301, (2, 24))
    assert largest_difference(model.forward(ids), logits_of(other.eval(), ids)) < 1e-10


def test_our_tokenizer_loads_in_transformers(tmp_path):
    from tests.hub.folders import TOKENIZER, small_model

    small_model().save_pretrained(tmp_path / "m", TOKENIZER)
    other = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    text = "the cat sat on the mat, 12 times.\n"
    assert other(text)["input_ids"] == TOKENIZER.encode(text).tolist()


def test_strided_perplexity_is_that_of_the_published_recipe(tmp_path):
    other = theirs(torch.float64)
    other.save_pretrained(tmp_path)
    ids = np.random.default_rng(0).integers(0, 301, 100)
    context, stride = 24, 10
    nats, tokens, before = 0.0, 0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + context, len(ids))
        window = torch.from_numpy(ids[None, begin:end].copy())
        labels = window.clone()
        labels[:, : -(end - before)] = -100
        with torch.no_grad():
            logits = other(window).logits[0, :-1]
        nats += torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="sum").item()
        tokens += int((labels[0, 1:] != -100).sum())
        before = end
        if end == len(ids):
            break
    model = npgpt.GPT.from_pretrained(tmp_path, np.float64)
    result = npgpt.training.evaluate(model, npgpt.data.StridedWindows(ids, context, stride))
    assert result.tokens == tokens
    assert abs(result.loss - nats / tokens) < 1e-10


def sharper(other):
    """Make the most likely token stand out, so that rounding does not decide."""
    with torch.no_grad():
        for parameter in other.parameters():
            if parameter.ndim == 2:
                parameter.mul_(6.0)
    return other


def continued(other, ids, new_tokens, **kwargs):
    inputs = torch.from_numpy(np.asarray(ids))
    mask = kwargs.pop("attention_mask", None)
    mask = torch.ones_like(inputs) if mask is None else torch.from_numpy(mask)
    return other.generate(
        inputs, attention_mask=mask, max_new_tokens=new_tokens, pad_token_id=0,
        **{"do_sample": False, **kwargs},
    ).numpy()  # fmt: skip


def test_greedy_is_the_same_for_200_tokens_in_float32(tmp_path):
    other = theirs(**{**shape_of("124M", 3), "vocab_size": 5000}, eos_token_id=None)
    sharper(other).save_pretrained(tmp_path)
    ids = np.random.default_rng(0).integers(0, 5000, (1, 9))
    ours = npgpt.GPT.from_pretrained(tmp_path).generate(ids, 200, temperature=0.0)
    np.testing.assert_array_equal(ours, continued(other, ids, 200))
    assert len(set(ours[0, 9:].tolist())) > 20  # it does not say one thing only


def test_greedy_with_left_padding_is_the_same(tmp_path):
    other = sharper(theirs(torch.float64, eos_token_id=None, n_positions=64))
    other.save_pretrained(tmp_path)
    ids = np.random.default_rng(0).integers(0, 301, (3, 9))
    mask = np.ones_like(ids)
    mask[0, :4] = mask[2, :7] = 0
    ours = npgpt.GPT.from_pretrained(tmp_path, np.float64)
    np.testing.assert_array_equal(
        ours.generate(ids, 40, temperature=0.0, attention_mask=mask)[:, 9:],
        continued(other, ids, 40, attention_mask=mask)[:, 9:],
    )


def test_a_repetition_penalty_is_the_same(tmp_path):
    other = sharper(theirs(torch.float64, eos_token_id=None, n_positions=64))
    other.save_pretrained(tmp_path)
    ids = np.array([[5, 6, 7]])
    ours = npgpt.GPT.from_pretrained(tmp_path, np.float64)
    np.testing.assert_array_equal(
        ours.generate(ids, 40, temperature=0.0, repetition_penalty=1.7),
        continued(other, ids, 40, repetition_penalty=1.7),
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("stop_id", [None, 3])
@pytest.mark.parametrize(("num_beams", "length_penalty"), [(2, 1.0), (4, 1.0), (5, 2.0), (3, 0.0)])
def test_beam_search_is_the_same(tmp_path, num_beams, length_penalty, seed, stop_id):
    changes = {"vocab_size": 23, "n_positions": 64, "eos_token_id": stop_id}
    other = sharper(theirs(torch.float64, seed=seed, **changes))
    other.save_pretrained(tmp_path)
    ids = np.array([[5, 6, 7]])
    ours = npgpt.GPT.from_pretrained(tmp_path, np.float64)
    found = ours.beam_search(ids[0], 30, num_beams, length_penalty=length_penalty, stop_id=stop_id)
    expected = continued(other, ids, 30, num_beams=num_beams, length_penalty=length_penalty)
    np.testing.assert_array_equal(found, expected[0])
