"""Truncated backpropagation against a loop in PyTorch that detaches the state, in float64."""

import pytest

torch = pytest.importorskip("torch", reason="the parity tests need the extra 'reference'")

from npgpt.data import DataLoader, TokenStreams  # noqa: E402
from npgpt.optim import SGD  # noqa: E402
from npgpt.training import train_step  # noqa: E402
from tests.models.test_recurrent_and_convolutional import ids_of, make  # noqa: E402
from tests.parity.test_parity import close, leaf  # noqa: E402
from tests.parity.torch_recurrent import twin_of  # noqa: E402

STREAMS, TIME, BPTT, LR, MOMENTUM = 3, 23, 5, 0.3, 0.9
F = torch.nn.functional


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_steps_over_two_epochs_are_those_of_a_loop_that_detaches(kind, backend):
    ids = ids_of(0, STREAMS * TIME + 1)
    inputs, targets = (
        torch.from_numpy(part).reshape(STREAMS, TIME) for part in (ids[:-1], ids[1:])
    )
    model = make(kind).train()
    network = twin_of(model.network)
    weights = model.network.state_dict().items()
    network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights})
    embedding = leaf(model.token_embedding.weight.value)
    theirs = torch.optim.SGD([embedding, *network.parameters()], lr=LR, momentum=MOMENTUM)
    ours = SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    loader = DataLoader(TokenStreams(ids, STREAMS, BPTT), STREAMS)
    batches, losses = loader.forever(), []
    for _ in range(2):
        state = None
        for piece, following in zip(inputs.split(BPTT, 1), targets.split(BPTT, 1), strict=True):
            y, state = network(F.embedding(piece, embedding), state)
            state = tuple(s.detach() for s in state) if kind == "lstm" else state.detach()
            loss = F.cross_entropy((y @ embedding.T).flatten(0, 1), following.flatten())
            theirs.zero_grad()
            loss.backward()
            theirs.step()
            losses.append((train_step(model, ours, [next(batches)], clip_norm=0.0)[0], loss))
    assert len(losses) == 2 * len(loader) == 10
    for loss, other in losses:
        close(loss, other)
    for name, parameter in network.named_parameters():
        close(model.network.state_dict()[name], parameter)
    close(model.token_embedding.weight.value, embedding)
    states = state if kind == "lstm" else (state,)
    for array, other in zip(model.carried_state().values(), states, strict=True):
        close(array, other)
