"""The BERTs whose outputs and gradients are compared with transformers', on padded texts."""

import numpy as np

from npgpt.gradients.suite import shake
from npgpt.hub.architectures.bert import BERT
from npgpt.models import Bert, BertConfig, BertForClassification

CONFIG = BertConfig(19, 12, n_layers=2, n_heads=2, d_model=8, d_ff=12)
LENGTHS = np.array([7, 2, 5])
THERE = np.arange(7) < LENGTHS[:, None]
_rng = np.random.default_rng(4)
IDS = np.where(THERE, _rng.integers(1, 19, THERE.shape), 0)
SEGMENTS = np.where(THERE, _rng.integers(0, 2, THERE.shape), 0)
TARGETS = np.where(THERE & (_rng.random(THERE.shape) < 0.5), IDS[:, ::-1], -100)
LABELS = np.array([2, 0, 1])
CLASSIFIER = {"num_classes": 3, "of_tokens": False}  # what the architecture knows it by
# transformers' class of each, and what its fields have beside those of the config
KINDS = {
    "masked words": ("BertForMaskedLM", {}),
    "classes": ("BertForSequenceClassification", CLASSIFIER),
}


def bert(kind):
    """Make a model in which no parameter is where it starts."""
    body = Bert(CONFIG, seed=1, dtype=np.float64)
    model = body if kind == "masked words" else BertForClassification(body, 3, seed=2)
    shake(model, np.random.default_rng(3))
    return model.eval()


def results_of(kind, model):
    """Return logits, loss and every gradient by the names of files."""
    if kind == "masked words":
        arrays = {"logits": model.forward(IDS, SEGMENTS, LENGTHS)[THERE]}
        arrays["loss"] = model.loss_and_backward(IDS, TARGETS, SEGMENTS, LENGTHS)
    else:
        arrays = {"logits": model.forward(IDS, LENGTHS, SEGMENTS)}
        arrays["loss"] = model.loss_and_backward(IDS, LENGTHS, LABELS, SEGMENTS)
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    return arrays | {f"grad.{name}": array for name, array in by_their_names(kind, grads).items()}


def by_their_names(kind, arrays):
    """Name arrays of ours as `BERT` writes them."""
    config = CONFIG if kind == "masked words" else bert(kind).config
    weights = BERT().weights({**config.to_dict(), **KINDS[kind][1]})
    return {name: part for w in weights for name, part in w.parts(arrays[w.ours])}
