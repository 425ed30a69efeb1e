"""Write the golden files, with PyTorch: ``python -m tests.golden.make``, by hand, once.

They let the plain test command compare with PyTorch's numbers where PyTorch is not installed.
"""

from pathlib import Path

import torch
from safetensors.numpy import save_file

from tests.golden.optimizers import OPTIMIZERS, WEIGHT_DECAY
from tests.models.tiny import CONFIGS, batch_for, shaken_model
from tests.parity.torch_gpt import twin_name, twin_of, twin_optimizer

FOLDER = Path(__file__).parent
STEPS, LR, BETAS = 50, 1e-3, (0.9, 0.99)


def golden_path(name):
    """Return the file of a configuration."""
    return FOLDER / f"{name.replace(', ', '_').replace(' ', '_')}.safetensors"


def make(name):
    """Write one file: weights, batch, logits, loss, gradients, and the weights after 50 steps."""
    config = CONFIGS[name]
    model = shaken_model(config)
    twin = twin_of(model)
    inputs, targets = batch_for(config)
    arrays = {f"weight.{key}": value for key, value in model.state_dict().items()}
    arrays |= {"inputs": inputs, "targets": targets}
    loss = twin.loss(torch.from_numpy(inputs), torch.from_numpy(targets))
    loss.backward()
    arrays["logits"] = twin(torch.from_numpy(inputs)).detach().numpy()
    arrays["loss"] = loss.detach().numpy()
    theirs = dict(twin.named_parameters())
    for key in model.state_dict():
        arrays[f"grad.{key}"] = theirs[twin_name(key)].grad.numpy().copy()
    arrays |= trained("trained", model, twin, twin_optimizer(twin, LR, BETAS, WEIGHT_DECAY))
    save_file(arrays, golden_path(name))


def trained(prefix, model, twin, optimizer):
    """Take 50 steps of an optimiser of PyTorch; return the weights by our names."""
    for step in range(STEPS):
        inputs, targets = batch_for(model.config, seed=step)
        optimizer.zero_grad()
        twin.loss(torch.from_numpy(inputs), torch.from_numpy(targets)).backward()
        optimizer.step()
    theirs = dict(twin.named_parameters())
    keys = model.state_dict()
    return {f"{prefix}.{key}": theirs[twin_name(key)].detach().numpy().copy() for key in keys}


def make_optimizers():
    """Write the weights after 50 steps of the other optimisers, from those of "tied"."""
    arrays = {}
    for name, (_, theirs, settings) in OPTIMIZERS.items():
        model = shaken_model(CONFIGS["tied"])
        twin = twin_of(model)
        optimizer = getattr(torch.optim, theirs)(twin.parameters(), **settings)
        arrays |= trained(name, model, twin, optimizer)
    save_file(arrays, FOLDER / "optimizers.safetensors")


if __name__ == "__main__":
    for configuration in CONFIGS:
        make(configuration)
    make_optimizers()
