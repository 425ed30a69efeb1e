"""Small models whose parameters are all away from where they start, and batches for them."""

import numpy as np

from npgpt.models import GPT, GPTConfig

CONFIGS = {
    "tied": GPTConfig(vocab_size=13, context_length=8, n_layers=2, n_heads=2, d_model=8),
    "untied, no biases": GPTConfig(
        vocab_size=13, context_length=8, n_layers=2, n_heads=2, d_model=8, tie_embeddings=False,
        bias=False,
    ),
    "one head, narrow": GPTConfig(
        vocab_size=5, context_length=8, n_layers=3, n_heads=1, d_model=6, d_ff=7
    ),
}  # fmt: skip


def shaken_model(config, seed=0, dtype=np.float64):
    """Make a model and add noise to every parameter: gains of 1 and biases of 0 hide mistakes."""
    model = GPT(config, seed=seed, dtype=dtype)
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.value += 0.2 * rng.standard_normal(parameter.shape).astype(dtype)
    return model


def batch_for(config, seed=0, batch=3):
    """Draw inputs and targets, with repeated ids and ignored targets among them."""
    rng = np.random.default_rng(seed)
    shape = (batch, config.context_length)
    inputs, targets = rng.integers(0, config.vocab_size, (2, *shape))
    targets[0, -2:] = -100
    return inputs, targets
