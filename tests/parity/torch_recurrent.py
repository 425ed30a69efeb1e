"""PyTorch's recurrent layers, with the weights of ours."""

import numpy as np
import torch
from torch import nn


def torch_results(layer, x, state, lengths, dy, dafter):
    """Map the names of tests.golden.recurrent.results_of to PyTorch's arrays."""
    twin, weights = twin_of(layer), layer.state_dict()
    twin.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    tx = torch.tensor(x, requires_grad=True)
    before = [torch.tensor(states, requires_grad=True) for states in state]
    read = tx
    if lengths is not None:
        read = nn.utils.rnn.pack_padded_sequence(
            tx, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
        )
    y, after = twin(read, tuple(before) if len(before) == 2 else before[0])
    after = after if isinstance(after, tuple) else (after,)
    if lengths is not None:
        y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
    torch.autograd.backward([y, *after], [torch.from_numpy(d) for d in (dy, *dafter)])
    results = {"y": y, "dx": tx.grad}
    for i, states in enumerate(after):
        results |= {f"state.{i}": states, f"dstate.{i}": before[i].grad}
    results |= {f"grad.{name}": p.grad for name, p in twin.named_parameters()}
    return {name: np.ascontiguousarray(array.detach().numpy()) for name, array in results.items()}


def twin_of(layer):
    """Make PyTorch's layer of the same class and choices."""
    kind = type(layer).__name__
    more = {"nonlinearity": layer.nonlinearity} if kind == "RNN" else {}
    return getattr(nn, kind)(
        layer.d_in, layer.d_hidden, layer.n_layers, bias=hasattr(layer.bias_ih_l0, "value"),
        batch_first=True, bidirectional=layer.num_directions == 2, dtype=torch.float64, **more,
    )  # fmt: skip
