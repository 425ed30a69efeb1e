"""The optimisers whose trajectories are compared with PyTorch's, beside AdamW."""

from npgpt.optim import SGD, Adam

WEIGHT_DECAY = 0.1

# ours, the name of PyTorch's, and the arguments of both
OPTIMIZERS = {
    "adam": (Adam, "Adam", {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": WEIGHT_DECAY}),
    "sgd": (SGD, "SGD", {"lr": 1e-2, "weight_decay": WEIGHT_DECAY}),
    "momentum": (SGD, "SGD", {"lr": 1e-2, "momentum": 0.9, "weight_decay": WEIGHT_DECAY}),
    "nesterov": (SGD, "SGD", {"lr": 1e-2, "momentum": 0.9, "nesterov": True}),
}
