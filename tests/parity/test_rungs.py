"""The rungs against PyTorch's own layers, and T5's and ALiBi's against transformers, in float64."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the parity tests need the extra 'reference'")

from npgpt import layers, ops  # noqa: E402
from npgpt.layers import Init  # noqa: E402
from npgpt.models import GPT, GPTConfig  # noqa: E402
from tests.layers.configs import block_config  # noqa: E402
from tests.parity.test_parity import close, leaf  # noqa: E402
from tests.strategies import normal  # noqa: E402

F, nn = torch.nn.functional, torch.nn


def back(tensor, dy):
    tensor.backward(torch.from_numpy(dy))


@pytest.mark.parametrize("scale", [0.5, 2.0])
@pytest.mark.parametrize(("heads", "n_kv_heads"), [(4, 4), (4, 2), (6, 1)])
@pytest.mark.parametrize("time", [7, 130])
def test_grouped_attention_is_enable_gqa(time, heads, n_kv_heads, scale, backend):
    q, dy = normal(0, (2, 2, heads, time, 8), np.float64)
    k, v = normal(1, (2, 2, n_kv_heads, time, 8), np.float64)
    leaves = [leaf(array) for array in (q, k, v)]
    theirs = F.scaled_dot_product_attention(*leaves, is_causal=True, scale=scale, enable_gqa=True)
    back(theirs, dy)
    y, lse = ops.attention_forward(q, k, v, scale=scale)
    close(y, theirs)
    for ours, tensor in zip(
        ops.attention_backward(dy, q, k, v, y, lse, scale=scale), leaves, strict=True
    ):
        close(ours, tensor.grad)


@pytest.mark.parametrize(("time", "past", "window"), [(7, 0, 3), (130, 0, 70), (5, 90, 11)])
def test_windows_biases_and_a_past_are_an_attention_mask(time, past, window, backend):
    keys = past + time
    q, dy = normal(0, (2, 2, 3, time, 4), np.float64)
    k, v = normal(1, (2, 2, 3, keys, 4), np.float64)
    bias = normal(2, (3, keys), np.float64)
    leaves = [leaf(array) for array in (q, k, v, bias)]
    distance = torch.arange(past, keys)[:, None] - torch.arange(keys)
    seen = (distance >= 0) & (distance < window)
    biases = leaves[3][:, distance.clamp(min=0)].masked_fill(~seen, -math.inf)
    theirs = F.scaled_dot_product_attention(*leaves[:3], attn_mask=biases[None], scale=0.5)
    back(theirs, dy)
    mask = ops.Mask(window=window)
    y, lse = ops.attention_forward(q, k, v, scale=0.5, mask=mask, bias=bias)
    close(y, theirs)
    dbias = np.zeros_like(bias)
    gradients = ops.attention_backward(
        dy, q, k, v, y, lse, scale=0.5, mask=mask, bias=bias, dbias=dbias
    )
    for ours, tensor in zip((*gradients, dbias), leaves, strict=True):
        close(ours, tensor.grad)


@pytest.mark.parametrize("bias", [True, False])
def test_multi_head_attention_is_nn_multihead_attention(bias, backend):
    ours = layers.MultiHeadAttention(block_config(12, 3, bias=bias), Init(0, np.float64))
    theirs = nn.MultiheadAttention(12, 3, bias=bias, batch_first=True, dtype=torch.float64)
    pairs = {"qkv.weight": theirs.in_proj_weight, "projection.weight": theirs.out_proj.weight}
    if bias:
        pairs |= {"qkv.bias": theirs.in_proj_bias, "projection.bias": theirs.out_proj.bias}
    parameters = dict(ours.named_parameters())
    with torch.no_grad():
        for i, (name, tensor) in enumerate(pairs.items()):
            parameters[name].value += normal(i, parameters[name].shape, np.float64, 0.3)
            tensor.copy_(torch.from_numpy(parameters[name].value))
    x, dy = normal(9, (2, 2, 6, 12), np.float64)
    t = leaf(x)
    mask = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64)
    y, _ = theirs(t, t, t, attn_mask=mask, is_causal=True, need_weights=False)
    back(y, dy)
    close(ours.forward(x), y)
    close(ours.backward(dy), t.grad)
    for name, tensor in pairs.items():
        close(parameters[name].grad, tensor.grad)
    stack = layers.StackedAttention.of_multi_head(ours)
    close(stack.forward(x), y)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda: layers.LayerNorm(7, dtype=np.float64), lambda: nn.LayerNorm(7)),
        (lambda: layers.RMSNorm(7, 1e-5, np.float64), lambda: nn.RMSNorm(7, eps=1e-5)),
        (lambda: layers.BatchNorm(7, dtype=np.float64), lambda: nn.BatchNorm1d(7)),
    ],
    ids=["LayerNorm", "RMSNorm", "BatchNorm1d"],
)
@pytest.mark.parametrize("training", [True, False])
def test_norms(ours, theirs, training, backend):
    ours, theirs = ours(), theirs().double()
    ours.gamma.value += normal(1, 7, np.float64)
    parameters = [ours.gamma]
    if hasattr(ours, "beta"):
        ours.beta.value += normal(2, 7, np.float64)
        parameters.append(ours.beta)
    with torch.no_grad():
        for parameter, tensor in zip(parameters, theirs.parameters(), strict=True):
            tensor.copy_(torch.from_numpy(parameter.value))
    for seed in range(3):  # running statistics come from several batches
        x = normal(seed, (9, 7), np.float64)
        ours.forward(x)
        theirs(torch.from_numpy(x))
    ours.train(training)
    theirs.train(training)
    ours.zero_grad()
    x, dy = normal(5, (2, 9, 7), np.float64, 2.0)
    t = leaf(x)
    y = theirs(t)
    back(y, dy)
    close(ours.forward(x), y)
    close(ours.backward(dy), t.grad)
    for parameter, tensor in zip(parameters, theirs.parameters(), strict=True):
        close(parameter.grad, tensor.grad)


@pytest.mark.parametrize("name", ["gelu", "gelu_exact", "relu", "silu", "swiglu"])
def test_feed_forward(name, backend):
    config = block_config(6, d_ff=10, activation=name)
    layer = layers.FeedForward(config, Init(0, np.float64))
    for i, parameter in enumerate(layer.parameters()):
        parameter.value += normal(i, parameter.shape, np.float64, 0.3)
    leaves = {n: leaf(p.value) for n, p in layer.named_parameters()}
    x, dy = normal(9, (2, 2, 5, 6), np.float64)
    t = leaf(x)
    hidden = F.linear(t, leaves["up.weight"], leaves["up.bias"])
    if name == "swiglu":
        gate, up = hidden.chunk(2, -1)
        hidden = F.silu(gate) * up
    else:
        activations = {"gelu": lambda h: F.gelu(h, approximate="tanh"), "gelu_exact": F.gelu,
                       "relu": F.relu, "silu": F.silu}  # fmt: skip
        hidden = activations[name](hidden)
    y = F.linear(hidden, leaves["down.weight"], leaves["down.bias"])
    back(y, dy)
    close(layer.forward(x), y)
    close(layer.backward(dy), t.grad)
    for n, parameter in layer.named_parameters():
        close(parameter.grad, leaves[n].grad)


def test_one_hot_embedding_is_nn_linear(backend):
    ids = np.array([[0, 2, 2, 1]])
    layer = layers.OneHotEmbedding(3, 4, rng=0, dtype=np.float64)
    weight = leaf(layer.linear.weight.value)
    y = F.linear(F.one_hot(torch.from_numpy(ids), 3).double(), weight)
    dy = normal(0, (1, 4, 4), np.float64)
    back(y, dy)
    close(layer.forward(ids), y)
    layer.backward(dy)
    close(layer.linear.weight.grad, weight.grad)


def llama_twin():
    transformers = pytest.importorskip("transformers")
    config = GPTConfig(
        13, 16, 2, 4, 16, d_ff=24, n_kv_heads=2, bias=False, tie_embeddings=False, position="rope",
        norm="rms", activation="swiglu", layer_norm_eps=1e-6,
    )  # fmt: skip
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=13, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=16,
            rms_norm_eps=1e-6, attn_implementation="eager",
        )
    ).double()  # fmt: skip
    return config, theirs


def llama_arrays(tensors, n_layers):
    """Our names, from transformers' Llama: q, k and v in one matrix, gate and up in another."""
    arrays = {
        "token_embedding.weight": tensors["model.embed_tokens.weight"],
        "final_norm.gamma": tensors["model.norm.weight"],
        "head.weight": tensors["lm_head.weight"],
    }
    for i in range(n_layers):
        theirs, ours = f"model.layers.{i}", f"blocks.{i}"
        qkv = [tensors[f"{theirs}.self_attn.{n}_proj.weight"] for n in "qkv"]
        up = [tensors[f"{theirs}.mlp.{n}_proj.weight"] for n in ("gate", "up")]
        arrays |= {
            f"{ours}.attention_norm.gamma": tensors[f"{theirs}.input_layernorm.weight"],
            f"{ours}.attention.qkv.weight": np.concatenate(qkv),
            f"{ours}.attention.projection.weight": tensors[f"{theirs}.self_attn.o_proj.weight"],
            f"{ours}.feed_forward_norm.gamma": tensors[f"{theirs}.post_attention_layernorm.weight"],
            f"{ours}.feed_forward.up.weight": np.concatenate(up),
            f"{ours}.feed_forward.down.weight": tensors[f"{theirs}.mlp.down_proj.weight"],
        }
    return arrays


def test_a_llama_shaped_gpt_is_transformers_llama(backend):
    config, theirs = llama_twin()
    model = GPT(config, dtype=np.float64)
    values = {n: t.detach().numpy() for n, t in theirs.state_dict().items()}
    model.load_state_dict(llama_arrays(values, 2))
    ids, targets = np.random.default_rng(0).integers(0, 13, (2, 2, 11))
    logits = theirs(torch.from_numpy(ids)).logits
    # transformers computes the angles in float32, so the two agree to that
    close(model.forward(ids), logits, 1e-6)
    F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(targets).flatten()).backward()
    model.loss(ids, targets)
    model.backward()
    grads = llama_arrays({n: t.grad.numpy() for n, t in theirs.named_parameters()}, 2)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad, grads[name], atol=1e-6, err_msg=name)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_t5s_buckets_are_transformers(bidirectional):
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    distances = np.arange(-3000 if bidirectional else 0, 3000)
    for num_buckets, max_distance in ((32, 128), (8, 20), (5, 1000)):
        theirs = t5.T5Attention._relative_position_bucket(
            -torch.from_numpy(distances), bidirectional, num_buckets, max_distance
        )
        ours = ops.relative_buckets(distances, num_buckets, max_distance, bidirectional)
        # theirs takes logarithms in float32: at a bucket's border it may be the one below
        assert np.abs(ours - theirs.numpy()).max() <= 1
        assert (ours != theirs.numpy()).mean() < 0.01


@pytest.mark.parametrize("n_heads", [4, 12])
def test_alibis_slopes_are_transformers(n_heads):
    bloom = pytest.importorskip("transformers.models.bloom.modeling_bloom")
    theirs = bloom.build_alibi_tensor(torch.ones(1, 2), n_heads, torch.float64)  # (heads, 1, 2)
    np.testing.assert_allclose(ops.alibi_slopes(n_heads), theirs[:, 0, 1], rtol=1e-6)


def test_post_norm_block_is_nn_transformer_encoder_layer(backend):
    config = block_config(12, 3, d_ff=20, norm_position="post", activation="relu")
    ours = layers.TransformerBlock(config, Init(0, np.float64))
    theirs = nn.TransformerEncoderLayer(12, 3, 20, 0.0, batch_first=True, dtype=torch.float64)
    pairs = {
        "attention.qkv.weight": theirs.self_attn.in_proj_weight,
        "attention.qkv.bias": theirs.self_attn.in_proj_bias,
        "attention.projection.weight": theirs.self_attn.out_proj.weight,
        "attention.projection.bias": theirs.self_attn.out_proj.bias,
        "attention_norm.gamma": theirs.norm1.weight,
        "attention_norm.beta": theirs.norm1.bias,
        "feed_forward.up.weight": theirs.linear1.weight,
        "feed_forward.up.bias": theirs.linear1.bias,
        "feed_forward.down.weight": theirs.linear2.weight,
        "feed_forward.down.bias": theirs.linear2.bias,
        "feed_forward_norm.gamma": theirs.norm2.weight,
        "feed_forward_norm.beta": theirs.norm2.bias,
    }
    parameters = dict(ours.named_parameters())
    assert set(pairs) == set(parameters)
    with torch.no_grad():
        for i, (name, tensor) in enumerate(pairs.items()):
            parameters[name].value += normal(i, parameters[name].shape, np.float64, 0.3)
            tensor.copy_(torch.from_numpy(parameters[name].value))
    x, dy = normal(99, (2, 2, 6, 12), np.float64)
    t = leaf(x)
    mask = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64)
    y = theirs(t, src_mask=mask, is_causal=True)
    back(y, dy)
    close(ours.forward(x), y)
    close(ours.backward(dy), t.grad)
    for name, tensor in pairs.items():
        close(parameters[name].grad, tensor.grad)
