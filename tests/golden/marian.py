"""The MarianMT whose outputs, gradients and translations are compared with transformers'."""

import numpy as np

from npgpt.generation import Translating
from npgpt.gradients.suite import shake
from npgpt.hub.architectures.marian import Marian
from npgpt.models import Transformer, TransformerConfig

PAD, END = 10, 0
CONFIG = TransformerConfig(
    11, 16, n_layers=2, n_encoder_layers=1, n_heads=2, d_model=8, d_ff=12,
    activation="silu", sinusoids="halves", head_bias=True,
)  # fmt: skip
TRANSLATING = Translating(
    start_id=PAD, end_id=END, forced_end_id=END, max_new_tokens=9, num_beams=4, suppressed=(PAD,)
)
LENGTHS = np.array([6, 2, 4])
_rng = np.random.default_rng(5)
IDS = np.where(np.arange(6) < LENGTHS[:, None], _rng.integers(0, PAD, (3, 6)), PAD)
SOURCES = [row[:length] for row, length in zip(IDS, LENGTHS, strict=True)]
TARGET_IDS = np.concatenate([np.full((3, 1), PAD), _rng.integers(1, PAD, (3, 4))], axis=1)
TARGETS = np.concatenate([TARGET_IDS[:, 1:], np.zeros((3, 1), int)], axis=1)
TARGETS[1, 3:] = -100
BATCH = IDS, LENGTHS, TARGET_IDS, TARGETS
BEAMS = (1, 4)


def marian():
    """Make a model in which no parameter is where it starts."""
    model = Transformer(CONFIG, seed=1, dtype=np.float64)
    shake(model, np.random.default_rng(3))
    model.head.bias.value[END] += 1.5  # so that some translations end by themselves
    model.translating = TRANSLATING
    return model.eval()


def by_their_names(arrays, config=CONFIG):
    """Name arrays of ours as `Marian` writes them."""
    weights = Marian().weights(config.to_dict())
    return {name: part for w in weights for name, part in w.parts(arrays[w.ours])}


def results_of(model):
    """Return logits, loss, every gradient by the names of files, and translations."""
    arrays = {"logits": model.forward(*BATCH[:-1])}
    arrays["loss"] = np.array(model.loss_and_backward(*BATCH))
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    arrays |= {f"grad.{key}": array for key, array in by_their_names(grads).items()}
    for beams in BEAMS:
        for i, (best,) in enumerate(model.translate(SOURCES, num_beams=beams)):
            arrays[f"beams {beams}, {i}"] = best.token_ids
    return arrays
