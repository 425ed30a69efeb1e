"""The Transformer against torch.nn.Transformer, recurrent translators against twins, in float64."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the parity tests need the extra 'reference'")

from npgpt.layers.core.init import INITIAL_STD  # noqa: E402
from npgpt.models import (  # noqa: E402
    RNNAttention,
    RNNAttentionConfig,
    RNNEncoderDecoder,
    RNNEncoderDecoderConfig,
    Transformer,
    TransformerConfig,
)
from npgpt.ops import sinusoids  # noqa: E402
from tests.parity.test_encoder_decoder import decoder_pairs, encoder_pairs, stack_pairs  # noqa: E402
from tests.parity.test_parity import close, leaf  # noqa: E402
from tests.parity.test_sequence_attention import their_scores  # noqa: E402
from tests.strategies import normal  # noqa: E402

nn = torch.nn
F = nn.functional
VOCAB, SOURCE_VOCAB, D = 11, 13, 12
LENGTHS = np.array([5, 2, 4])


def batch():
    rng = np.random.default_rng(0)
    source_ids, target_ids = rng.integers(0, VOCAB, (3, 5)), rng.integers(0, VOCAB, (3, 6))
    targets = rng.integers(0, VOCAB, (3, 6))
    targets[1, 2:] = -100
    return source_ids, LENGTHS, target_ids, targets


def shaken(model):
    for i, parameter in enumerate(model.parameters()):
        parameter.value += normal(i, parameter.shape, np.float64, 0.3)
    return model


def compare(model, smoothing, logits_of, gradients_of):
    """Compare logits, loss and every gradient; a tied parameter's is the sum of all uses."""
    *inputs, targets = batch()
    logits = logits_of(*map(torch.from_numpy, inputs))
    theirs = nn.CrossEntropyLoss(label_smoothing=smoothing)
    loss = theirs(logits.flatten(0, 1), torch.from_numpy(targets).flatten())
    loss.backward()
    there = targets != -100
    close(model.forward(*inputs)[there], logits[torch.from_numpy(there)])
    close(model.loss_and_backward(*inputs, targets), loss)
    gradients = gradients_of()
    assert set(gradients) == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        close(parameter.grad, gradients[name])


def copied(pairs, model):
    """Give the twin our values; pairs are (names of ours, one below another; the twin's tensor)."""
    state = model.state_dict()
    with torch.no_grad():
        for names, tensor in pairs.items():
            tensor.copy_(torch.from_numpy(np.concatenate([state[name] for name in names])))


def cut(pairs, model):
    """Cut the gradients of the twin into those of our names."""
    state, found = model.state_dict(), {}
    for names, tensor in pairs.items():
        ends = np.cumsum([len(state[name]) for name in names])[:-1].tolist()
        found |= dict(zip(names, torch.tensor_split(tensor.grad, ends), strict=True))
    return found


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize(("shared", "smoothing"), [(True, 0.1), (False, 0.0)])
def test_the_transformer_is_nn_transformer(norm_first, shared, smoothing, backend):
    config = TransformerConfig(
        VOCAB, 8, n_layers=2, n_encoder_layers=3, n_heads=3, d_model=D, d_ff=20,
        norm_position="pre" if norm_first else "post", ends_with_norm=True,
        share_embeddings=shared, tie_embeddings=shared, label_smoothing=smoothing,
        source_vocab_size=None if shared else SOURCE_VOCAB,
    )  # fmt: skip
    model = shaken(Transformer(config, dtype=np.float64))
    made = {"batch_first": True, "norm_first": norm_first, "dtype": torch.float64}
    layer, norm = nn.TransformerEncoderLayer(D, 3, 20, 0.0, **made), nn.LayerNorm(D).double()
    encoder = nn.TransformerEncoder(layer, 3, norm, enable_nested_tensor=False)
    twin = nn.Transformer(D, 3, 3, 2, 20, 0.0, custom_encoder=encoder, **made)
    pairs = {}
    for side, kind in (("encoder", encoder_pairs), ("decoder", decoder_pairs)):
        for names, tensor in stack_pairs(getattr(twin, side), kind).items():
            names = names if isinstance(names, tuple) else (names,)
            pairs[tuple(f"{side}.{name}" for name in names)] = tensor
    copied(pairs, model)
    state = model.state_dict()
    source = leaf(state["source.embedding.weight"])
    target = source if shared else leaf(state["target.embedding.weight"])
    head = source if shared else leaf(state["head.weight"])
    rows = torch.from_numpy(sinusoids(np.arange(6), D))

    def logits_of(source_ids, lengths, target_ids):
        padded = torch.arange(5) >= lengths[:, None]
        x, y = (math.sqrt(D) * table[ids] + rows[: ids.shape[1]]
                for table, ids in ((source, source_ids), (target, target_ids)))  # fmt: skip
        hidden = twin(
            x, y, tgt_mask=torch.triu(torch.ones(6, 6, dtype=torch.bool), 1),
            src_key_padding_mask=padded, memory_key_padding_mask=padded,
        )  # fmt: skip
        return hidden @ head.T

    def gradients_of():
        found = {**cut(pairs, model), "source.embedding.weight": source.grad}
        if not shared:
            found |= {"target.embedding.weight": target.grad, "head.weight": head.grad}
        return found

    compare(model, smoothing, logits_of, gradients_of)


class Twin(nn.Module):
    """Two networks of PyTorch, the source packed; attention, if any, as Luong et al. have it."""

    def __init__(self, model):
        super().__init__()
        c = model.config
        kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[c.cell]
        made = {"batch_first": True, "dtype": torch.float64}
        width = D // 2 if c.bidirectional else D
        self.encoder = kind(D, width, c.n_layers, bidirectional=c.bidirectional, **made)
        self.decoder = kind(D, D, c.n_layers, **made)
        self.config, self.w = c, {name: leaf(value) for name, value in model.state_dict().items()}
        for name in ("encoder", "decoder"):
            state = {key.removeprefix(f"{name}."): torch.from_numpy(value.copy())
                     for key, value in model.state_dict().items() if key.startswith(name)}  # fmt: skip
            getattr(self, name).load_state_dict(state)

    def forward(self, source_ids, lengths, target_ids):
        c, w = self.config, self.w
        if c.reverse_source:
            rows = [row[:n].flip(0) for row, n in zip(source_ids, lengths, strict=True)]
            source_ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        x = nn.utils.rnn.pack_padded_sequence(
            w["source.embedding.weight"][source_ids], lengths, True, enforce_sorted=False
        )
        y, states = self.encoder(x)
        values, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
        several = states if isinstance(states, tuple) else (states,)
        if c.bidirectional:  # forwards before backwards, layer by layer
            several = tuple(torch.cat([s[0::2], s[1::2]], dim=-1) for s in several)
        target = w.get("target.embedding.weight", w["source.embedding.weight"])
        h, _ = self.decoder(target[target_ids], several if c.cell == "lstm" else several[0])
        if hasattr(c, "score"):
            own = {key.removeprefix("attention."): value for key, value in w.items()}
            scores = their_scores(c.score.capitalize(), h, values, own)
            missing = (torch.arange(values.shape[1]) >= lengths[:, None])[:, None]
            context = scores.masked_fill(missing, -torch.inf).softmax(dim=-1) @ values
            both = torch.cat([context, h], dim=-1)
            h = torch.tanh(both @ w["combine.weight"].T + w["combine.bias"])
        return h @ w.get("head.weight", target).T

    def gradients(self):
        found = {name: value.grad for name, value in self.w.items() if value.grad is not None}
        for name in ("encoder", "decoder"):
            parameters = getattr(self, name).named_parameters()
            found |= {f"{name}.{key}": parameter.grad for key, parameter in parameters}
        return found


APART = {"share_embeddings": False, "tie_embeddings": False}
RECURRENT = {
    "lstm, reversed": RNNEncoderDecoderConfig(VOCAB, 8, 2, D, reverse_source=True),
    "gru, both directions": RNNEncoderDecoderConfig(
        VOCAB, 8, 2, D, cell="gru", bidirectional=True, **APART
    ),
    "lstm, additive": RNNAttentionConfig(VOCAB, 8, 2, D, label_smoothing=0.1),
    "gru, dot": RNNAttentionConfig(VOCAB, 8, 1, D, cell="gru", score="dot", **APART),
    "rnn, general": RNNAttentionConfig(VOCAB, 8, 1, D, cell="rnn", score="general"),
    "lstm, concat": RNNAttentionConfig(VOCAB, 8, 1, D, score="concat", bidirectional=False),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_translator_is_its_twin(name, backend):
    config = RECURRENT[name]
    kind = RNNAttention if isinstance(config, RNNAttentionConfig) else RNNEncoderDecoder
    model = shaken(kind(config, dtype=np.float64))
    twin = Twin(model)
    compare(model, config.label_smoothing, twin, twin.gradients)


def test_positions_without_scaled_embeddings_are_as_small_as_these():
    config = TransformerConfig(VOCAB, 8, n_layers=1, n_heads=3, d_model=D, scale_embeddings=False)
    model = Transformer(config)
    assert model.source.positions.scale == INITIAL_STD
    assert np.std(model.source.embedding.weight.value) == pytest.approx(INITIAL_STD, rel=0.3)
