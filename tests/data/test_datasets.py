"""Data sets that draw a part of their examples anew each epoch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npgpt
from npgpt import GPT, GPTConfig
from npgpt.data import Balanced, DataLoader, Draws, HeldOutBatches
from npgpt.optim import AdamW
from npgpt.training import load_checkpoint

COUNT, TIME, MASK = 24, 6, 0


class Masked:
    """Texts in which every other token or so is hidden, and to be predicted."""

    def __init__(self):
        self.texts = np.arange(COUNT * TIME).reshape(COUNT, TIME) % 9 + 1

    def __len__(self):
        return COUNT

    def random_batch(self, indices, draws):
        """Hide tokens; the first array also says which example each row is."""
        rows = self.texts[np.asarray(indices)]
        hidden = np.stack([draws.of(i).random(TIME) < 0.5 for i in indices])
        hidden[:, 0] = True
        return np.where(hidden, MASK, rows), np.where(hidden, rows, -100)


def by_example(loader):
    """Map (epoch, example) to what was drawn for it in two epochs."""
    seen = {}
    for epoch in range(2):
        indices = []
        while loader.epoch == epoch:
            indices.append(loader._indices(loader.batch))
            inputs, _ = next(iter(loader))
            for index, row in zip(indices[-1], inputs, strict=True):
                seen[epoch, int(index)] = row.tolist()
    return seen


@given(
    st.integers(1, COUNT), st.sampled_from([1, 2, 3]), st.integers(0, 3), st.booleans(),
    st.integers(0, 5),
)  # fmt: skip
def test_what_is_drawn_depends_on_seed_epoch_and_example_alone(
    batch_size, world_size, prefetch, shuffle, seed
):
    expected = by_example(DataLoader(Masked(), COUNT, seed=seed))
    for rank in range(world_size):
        loader = DataLoader(
            Masked(), min(batch_size, COUNT // world_size), shuffle, seed, prefetch=prefetch,
            rank=rank, world_size=world_size,
        )  # fmt: skip
        for key, row in by_example(loader).items():
            assert row == expected[key]


def test_each_epoch_seed_and_example_has_draws_of_its_own():
    drawn = {
        (seed, epoch, index): tuple(Draws(seed, epoch).of(index).integers(0, 2**63, 4).tolist())
        for seed in range(4)
        for epoch in range(4)
        for index in range(4)
    }
    assert len(set(drawn.values())) == len(drawn)
    first, second = (by_example(DataLoader(Masked(), 8, seed=seed)) for seed in (0, 1))
    assert all(first[0, i] != first[1, i] for i in range(COUNT) if first[0, i] != second[0, i])
    assert sum(first[0, i] != first[1, i] for i in range(COUNT)) > COUNT // 2


def test_an_example_that_comes_twice_is_drawn_alike():
    loader = DataLoader(Masked(), 4, sampler=Balanced([0] * 20 + [1] * 4))
    drawn = {}
    while loader.epoch == 0:
        indices = loader._indices(loader.batch)
        for index, row in zip(indices, next(iter(loader))[0], strict=True):
            assert drawn.setdefault(int(index), row.tolist()) == row.tolist()


@pytest.mark.parametrize("batch_size", [1, 5, COUNT])
def test_an_evaluation_draws_the_same_every_time(batch_size):
    batches = HeldOutBatches(Masked(), batch_size)
    first, again, whole = (
        [np.concatenate(kind) for kind in zip(*made, strict=True)]
        for made in (batches, batches, HeldOutBatches(Masked(), COUNT))
    )
    for ours, second, theirs in zip(first, again, whole, strict=True):
        np.testing.assert_array_equal(ours, second)
        np.testing.assert_array_equal(ours, theirs)


def trainer(folder, steps):
    model = GPT(GPTConfig(10, TIME, n_layers=1, n_heads=1, d_model=8, dropout=0.1), seed=1)
    return npgpt.Trainer(
        model, DataLoader(Masked(), 5, shuffle=True, seed=2), HeldOutBatches(Masked(), 7),
        steps=steps, eval_every=4, folder=folder, optimizer=AdamW(model.parameters(), lr=1e-2),
        schedule=lambda step: 1e-2,
    )  # fmt: skip


@pytest.mark.parametrize("stop", [3, 5, 8])
def test_a_run_on_drawn_examples_goes_on_bit_for_bit(stop, tmp_path):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    trainer(tmp_path / "whole", 12).fit()
    trainer(tmp_path / "parts", stop).fit()
    rest = trainer(tmp_path / "parts", 12)
    rest.resume()
    rest.fit()
    ours, theirs = (
        load_checkpoint(tmp_path / name / "last.safetensors")[0] for name in ("parts", "whole")
    )
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
