"""MarianMT against transformers: outputs and gradients in float64, translations, folders."""

import dataclasses

import numpy as np
import pytest

from npgpt.generation import Translating
from npgpt.gradients.suite import shake
from npgpt.layers import SinusoidalEmbedding
from npgpt.models import Transformer, TransformerConfig
from tests.golden.marian import by_their_names

torch = pytest.importorskip("torch", reason="the parity tests need the extra 'reference'")
transformers = pytest.importorskip("transformers")

VOCAB, PAD, END = 17, 16, 0
CONFIG = TransformerConfig(
    VOCAB, 32, n_layers=2, n_encoder_layers=3, n_heads=3, d_model=12, d_ff=20,
    activation="silu", sinusoids="halves", head_bias=True,
)  # fmt: skip
APART = {"share_embeddings": False, "source_vocab_size": 19}
LENGTHS = np.array([7, 1, 4, 5])
RNG = np.random.default_rng(0)
IDS = np.where(np.arange(7) < LENGTHS[:, None], RNG.integers(0, PAD, (4, 7)), PAD)
TARGET_IDS = np.concatenate([np.full((4, 1), PAD), RNG.integers(0, PAD, (4, 5))], axis=1)
TARGETS = RNG.integers(0, VOCAB, (4, 6))
TARGETS[1, 2:] = TARGETS[2, 5:] = -100
BATCH = IDS, LENGTHS, TARGET_IDS, TARGETS


def shaken(seed=1, **changes):
    config = dataclasses.replace(CONFIG, **changes)
    model = Transformer(config, seed=seed, dtype=np.float64)
    shake(model, np.random.default_rng(seed))
    model.translating = Translating(PAD, END, forced_end_id=END, max_new_tokens=12)
    return model.eval()


def theirs_of(folder):
    """Open a folder with transformers, in float64, with attention as it is written."""
    return transformers.MarianMTModel.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager"
    ).eval()


def tensors():
    ids = torch.tensor(IDS)
    return {"input_ids": ids, "attention_mask": torch.tensor(np.arange(7) < LENGTHS[:, None]).int()}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {**APART, "scale_embeddings": False, "activation": "relu"},
        {**APART, "tie_embeddings": False, "activation": "gelu_exact"},
        {"share_embeddings": False, "tie_embeddings": False, "activation": "gelu"},
    ],
    ids=["shared", "apart", "untied", "untied, of one size"],
)
def test_outputs_and_every_gradient(tmp_path, changes, backend):
    model = shaken(**changes)
    model.save_pretrained(tmp_path / "m")
    theirs = theirs_of(tmp_path / "m")
    theirs.final_logits_bias = torch.nn.Parameter(theirs.final_logits_bias)
    for side in (theirs.model.encoder, theirs.model.decoder):
        side.embed_tokens.padding_idx = None  # otherwise the start of targets gets no gradient
    out = theirs(**tensors(), decoder_input_ids=torch.tensor(TARGET_IDS))
    loss = torch.nn.functional.cross_entropy(
        out.logits.flatten(0, 1), torch.tensor(TARGETS).flatten()
    )
    loss.backward()
    np.testing.assert_allclose(
        model.forward(*BATCH[:-1]), out.logits.detach().numpy(), rtol=0, atol=1e-10
    )
    assert model.loss_and_backward(*BATCH) == pytest.approx(loss.item(), abs=1e-10)
    gradients = {
        name: p.grad
        for name, p in theirs.named_parameters()
        if p.grad is not None and "embed_positions" not in name  # which training leaves as they are
    }
    ours = {name: parameter.grad for name, parameter in model.named_parameters()}
    ours = by_their_names(ours, model.config)
    assert ours.keys() == gradients.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(ours[name], gradient, rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("d_model", [6, 7, 512])
def test_the_table_of_positions_is_theirs_bit_for_bit(d_model):
    theirs = transformers.models.marian.modeling_marian.MarianSinusoidalPositionalEmbedding(
        300, d_model
    )
    ours = SinusoidalEmbedding(d_model, halves=True).rows_for((1, 300, d_model), np.float32)
    np.testing.assert_array_equal(ours, theirs.create_weight().numpy())


def padded(found, length):
    ids = np.full((len(found), length), PAD)
    for row, (best,) in zip(ids, found, strict=True):
        row[: len(best.token_ids)] = best.token_ids
    return ids


# how much likelier the end is made: beams never end, end early, end at different lengths
@pytest.mark.parametrize(
    ("seed", "end", "changes"),
    [(1, -9.0, {}), (2, 0.0, {}), (3, 1.0, {}), (4, 2.0, APART), (5, 1.5, {"activation": "relu"}),
     (6, 3.0, {"scale_embeddings": False}), (7, 0.5, {}), (8, 6.0, {})],
)  # fmt: skip
@pytest.mark.parametrize("num_beams", [1, 4])
def test_translations_are_theirs(tmp_path, seed, end, changes, num_beams):
    model = shaken(seed, **changes)
    model.head.bias.value[END] += end
    model.save_pretrained(tmp_path / "m")
    theirs = theirs_of(tmp_path / "m")
    for forced, suppressed in ((END, ()), (None, ()), (END, (PAD, 3))):
        chosen = dataclasses.replace(
            model.translating,
            forced_end_id=forced,
            suppressed=suppressed,
            renormalize=seed % 2 == 0,
        )
        model.translating = chosen
        expected = theirs.generate(
            **tensors(), num_beams=num_beams, length_penalty=1.0, early_stopping=False,
            do_sample=False, max_new_tokens=12, forced_eos_token_id=forced,
            bad_words_ids=[[i] for i in suppressed] or None, max_length=None,
            renormalize_logits=chosen.renormalize,
        )[:, 1:].numpy()  # fmt: skip
        sources = [row[:length] for row, length in zip(IDS, LENGTHS, strict=True)]
        found = model.translate(sources, num_beams=num_beams)
        np.testing.assert_array_equal(padded(found, expected.shape[1]), expected)
