"""Optimisers, schedules, clipping. Whole trajectories are compared in tests/golden."""

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npgpt
from npgpt.layers import FlatParameters, Linear, Parameter
from npgpt.optim import (
    OPTIMIZERS,
    SCHEDULES,
    SGD,
    Adam,
    AdamW,
    Constant,
    CosineDecay,
    InverseSquareRoot,
    Joined,
    LinearDecay,
    Optimizer,
    Warmup,
    WarmupCosine,
    clip_grad_norm,
    grad_norm,
    make_schedule,
)
from tests.strategies import normal, seeds


def parameter(values, dtype=np.float64, **kwargs):
    return Parameter(np.array(values, dtype), **kwargs)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_the_first_step_moves_by_the_rate_whatever_the_gradients_size(size, backend):
    p = parameter([1.0, -1.0])
    p.grad[:] = [size, -size]
    AdamW([p], lr=0.1, eps=1e-30, weight_decay=0.0).step()
    np.testing.assert_allclose(p.value, [0.9, -0.9], rtol=1e-9)


def test_decay_shrinks_matrices_and_leaves_vectors_alone(backend):
    matrix, vector = parameter([[2.0]]), parameter([2.0])
    AdamW([matrix, vector], lr=0.1, weight_decay=0.5).step()  # gradients are zero
    np.testing.assert_allclose(matrix.value, [[2.0 * (1 - 0.1 * 0.5)]])
    np.testing.assert_allclose(vector.value, [2.0])


def test_adam_adds_its_decay_to_the_gradient(backend):
    p = parameter([[2.0]])
    Adam([p], lr=0.1, eps=1e-30, weight_decay=0.5).step()
    np.testing.assert_allclose(p.value, [[1.9]])  # a full step, as the penalty is all there is


def test_a_decay_can_be_chosen_for_a_parameter(backend):
    spared = parameter([[2.0]], decay=False)
    AdamW([spared], lr=0.1, weight_decay=0.5).step()
    np.testing.assert_allclose(spared.value, [[2.0]])


def test_adam_finds_the_minimum_of_a_parabola(backend):
    p = parameter([5.0, -3.0])
    optimizer = Adam([p], lr=0.1)
    for _ in range(500):
        optimizer.zero_grad()
        p.grad += 2.0 * (p.value - 1.0)
        optimizer.step()
    np.testing.assert_allclose(p.value, 1.0, atol=1e-3)


def test_gradient_descent_takes_steps_that_one_can_do_by_hand(backend):
    values = {}
    for name, settings in {
        "plain": {}, "momentum": {"momentum": 0.5}, "penalty": {"weight_decay": 0.5},
        "nesterov": {"momentum": 0.5, "nesterov": True},
    }.items():  # fmt: skip
        p = parameter([2.0])
        optimizer = SGD([p], lr=0.1, **settings)
        for _ in range(2):
            p.grad[:] = 1.0
            optimizer.step()
        values[name] = p.value.item()
    assert values["plain"] == pytest.approx(2.0 - 0.1 - 0.1)
    assert values["momentum"] == pytest.approx(2.0 - 0.1 - 0.15)  # velocities 1 and 1.5
    assert values["nesterov"] == pytest.approx(2.0 - 0.15 - 0.175)  # 1 + 0.5 * 1, 1 + 0.5 * 1.5
    assert values["penalty"] == pytest.approx(1.8 - 0.1 * (1.0 + 0.5 * 1.8))


def test_gradient_descent_without_momentum_keeps_nothing():
    optimizer = SGD([parameter([1.0])], lr=0.1)
    assert set(optimizer.state_dict()) == {"step_count"}


def test_momentum_is_faster_along_a_valley(backend):
    def loss_after(momentum):
        p, steepness = parameter([1.0, 1.0]), np.array([1.0, 0.01])
        optimizer = SGD([p], lr=0.5, momentum=momentum)
        for _ in range(100):
            p.grad[:] = steepness * p.value
            optimizer.step()
        return float(steepness @ p.value**2)

    assert loss_after(0.9) < 0.1 * loss_after(0.0)


# every kind, and what its first argument after the parameters may be
KINDS = {
    "adam": lambda parameters: Adam(parameters, lr=0.1, weight_decay=0.1),
    "adamw": lambda parameters: AdamW(parameters, lr=0.1, weight_decay=0.1),
    "sgd": lambda parameters: SGD(parameters, lr=0.1, weight_decay=0.1),
    "momentum": lambda parameters: SGD(parameters, lr=0.1, momentum=0.9),
    "nesterov": lambda parameters: SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("kind", KINDS)
@given(seed=seeds, decays=st.lists(st.booleans(), min_size=1, max_size=4))
def test_one_pass_over_flat_arrays_is_a_pass_over_each_parameter(kind, seed, decays):
    def run(flat):
        values = [normal(seed + i, (i + 1, 3), np.float64) for i in range(len(decays))]
        parameters = [parameter(v, decay=d) for v, d in zip(values, decays, strict=True)]
        if flat:
            FlatParameters(parameters)
        optimizer = KINDS[kind](parameters)
        for step in range(3):
            for i, p in enumerate(parameters):
                p.grad[...] = normal(seed + 7 * step + i, p.shape, np.float64)
            optimizer.step(grad_scale=0.5)
        return [p.value for p in parameters]

    for together, apart in zip(run(True), run(False), strict=True):
        np.testing.assert_allclose(together, apart, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_that_is_saved_and_loaded_goes_on_exactly(kind, backend):
    def make():
        layer = Linear(3, 2, rng=0)
        layer.assign_names()
        return layer, KINDS[kind](layer.parameters())

    def steps(layer, optimizer, numbers):
        for i in numbers:
            for p in layer.parameters():
                p.grad[...] = normal(i, p.shape, np.float32)
            optimizer.step()

    layer, optimizer = make()
    steps(layer, optimizer, range(6))
    first, half = make()
    steps(first, half, range(3))
    second, rest = make()
    second.load_state_dict({k: v.copy() for k, v in first.state_dict().items()})
    rest.load_state_dict({k: v.copy() for k, v in half.state_dict().items()})
    steps(second, rest, range(3, 6))
    np.testing.assert_array_equal(second.weight.value, layer.weight.value)
    assert rest.step_count == 6


def test_a_state_that_does_not_fit_changes_nothing():
    layer = Linear(3, 2, rng=0)
    layer.assign_names()
    optimizer = AdamW(layer.parameters())
    state = {name: array + 1 for name, array in optimizer.state_dict().items()}
    with pytest.raises(ValueError, match=r"m\.bias is missing or does not have the shape \(2,\)"):
        optimizer.load_state_dict({**state, "m.bias": np.zeros(3)})
    assert all((array == 0).all() for array in optimizer.state_dict().values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": -1e-3}, "lr must be at least 0, got -0.001"),
        ({"lr": math.nan}, "lr must be at least 0, got nan"),
        ({"betas": (1.0, 0.9)}, r"betas must be at least 0 and below 1, got \(1.0, 0.9\)"),
        ({"eps": 0.0}, "eps must be positive"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, message):
    for kind in (Adam, AdamW):
        with pytest.raises(ValueError, match=f"{kind.__name__}: {message}"):
            kind([parameter([1.0])], **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": -1e-3}, "lr must be at least 0, got -0.001"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, got 1.0"),
        ({"momentum": math.nan}, "momentum must be at least 0 and below 1, got nan"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
        ({"nesterov": True}, "Nesterov's form needs a momentum above 0"),
    ],
)
def test_gradient_descent_refuses_numbers_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=f"SGD: {message}"):
        SGD([parameter([1.0])], **arguments)


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
@pytest.mark.parametrize("wrong", [Linear(2, 2, rng=0), ["weight"], [np.ones(3)], 1e-3, None])
def test_what_is_no_parameter_is_refused_with_the_call_to_make(kind, wrong):
    with pytest.raises(TypeError, match=rf"{kind.__name__}: .*model.parameters\(\)"):
        kind(wrong)


def test_a_rule_of_ones_own_needs_one_method():
    class Halving(Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters, lr=1.0)
            self.steps_seen = self.keep("steps_seen")

        def update(self, value, grad, seen, *, decays, grad_scale):
            value *= 0.5
            seen += 1

    layer = Linear(3, 2, rng=0)
    layer.assign_names()
    before = layer.weight.value.copy()
    optimizer = Halving(layer.parameters())
    optimizer.step()
    np.testing.assert_array_equal(layer.weight.value, 0.5 * before)
    assert (optimizer.state_dict()["steps_seen.weight"] == 1).all()
    with pytest.raises(NotImplementedError, match="Optimizer has no method update"):
        Optimizer(layer.parameters(), lr=1.0).step()


def test_no_parameters_are_refused():
    with pytest.raises(ValueError, match="no parameters to optimise"):
        AdamW([])


@given(seeds, st.floats(1e-3, 1e3))
def test_clipping_keeps_the_direction_and_bounds_the_norm(seed, max_norm):
    parameters = [parameter(normal(seed + i, shape, np.float64)) for i, shape in enumerate([3, 4])]
    for i, p in enumerate(parameters):
        p.grad[...] = normal(seed + 9 + i, p.shape, np.float64)
    before = np.concatenate([p.grad for p in parameters])
    norm = clip_grad_norm(parameters, max_norm)
    after = np.concatenate([p.grad for p in parameters])
    assert norm == pytest.approx(np.linalg.norm(before))
    assert grad_norm(parameters) == pytest.approx(min(norm, max_norm))
    np.testing.assert_allclose(after * norm, before * min(norm, max_norm), rtol=1e-9)
    if norm <= max_norm:
        np.testing.assert_array_equal(after, before)


def test_a_limit_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="max_norm must be positive, got 0"):
        clip_grad_norm([parameter([1.0])], 0.0)


def test_the_rate_rises_in_a_line_and_falls_in_half_a_cosine():
    schedule = WarmupCosine(max_lr=1e-3, min_lr=1e-4, warmup_steps=100, total_steps=2000)
    assert schedule(0) == pytest.approx(1e-3 / 101)
    assert schedule(99) == pytest.approx(1e-3 * 100 / 101)
    assert schedule(100) == 1e-3
    assert schedule(1050) == pytest.approx((1e-3 + 1e-4) / 2)  # half way down
    assert schedule(2000) == schedule(10_000) == 1e-4
    rates = [schedule(step) for step in range(2001)]
    assert rates[:101] == sorted(rates[:101])
    assert rates[100:] == sorted(rates[100:], reverse=True)


@pytest.mark.parametrize(
    "arguments", [(1.0, 2.0, 0, 10), (1.0, -0.1, 0, 10), (1.0, 0.1, 11, 10), (1.0, 0.1, -1, 10)]
)
def test_a_schedule_that_cannot_be_is_refused(arguments):
    with pytest.raises(ValueError, match=r"WarmupCosine: .* must satisfy"):
        WarmupCosine(*arguments)


rates = st.floats(1e-6, 1.0)


@st.composite
def settings_of_schedules(draw):
    steps = draw(st.integers(1, 40))
    warmup_steps = draw(st.integers(0, steps))
    lr = draw(rates)
    return {
        "lr": lr,
        "min_lr": lr * draw(st.floats(0.0, 1.0)),
        "warmup_steps": warmup_steps,
        "steps": steps,
        "decay_steps": draw(st.integers(0, steps - warmup_steps)),
    }


@given(st.sampled_from(SCHEDULES), settings_of_schedules())
def test_every_schedule_rises_in_a_line_and_never_rises_again(name, settings):
    schedule = make_schedule(name, **settings)
    warmup_steps, steps, lr = settings["warmup_steps"], settings["steps"], settings["lr"]
    line = [lr * (i + 1) / (warmup_steps + 1) for i in range(warmup_steps)]
    assert [schedule(i) for i in range(warmup_steps)] == pytest.approx(line)
    after = [schedule(i) for i in range(warmup_steps, steps + 5)]
    assert all(later <= rate * (1 + 1e-12) for rate, later in itertools.pairwise(after))
    assert all(0.0 <= rate <= lr * (1 + 1e-12) for rate in after)
    if name in ("cosine", "linear", "wsd"):
        assert after[-5:] == [settings["min_lr"]] * 5
    if name == "wsd":
        stable = after[: steps - warmup_steps - settings["decay_steps"]]
        assert stable == [lr] * len(stable)


@given(settings_of_schedules())
def test_the_usual_schedule_is_a_warm_up_and_a_cosine_to_the_last_bit(settings):
    lr, min_lr, warmup_steps, steps, _ = settings.values()
    usual = WarmupCosine(lr, min_lr, warmup_steps, steps)
    made = make_schedule("cosine", **settings)
    assert [usual(i) for i in range(steps + 3)] == [made(i) for i in range(steps + 3)]


@given(st.integers(1, 500), st.integers(0, 5000))
def test_inverse_square_root_behind_a_warm_up_is_that_of_the_transformer(warmup_steps, step):
    d_model = 512
    peak = (d_model * warmup_steps) ** -0.5
    schedule = make_schedule("inverse-sqrt", peak, 0.0, warmup_steps, 10_000)
    if step >= warmup_steps:  # eq. 3, whose steps count from 1 and meet no warm-up of + 1
        assert schedule(step) == pytest.approx(d_model**-0.5 * step**-0.5)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 20))
def test_schedules_that_are_joined_count_their_own_steps(first, second, step):
    def told(name):
        return lambda step: (name, step)

    schedule = Joined(told("a"), first, Joined(told("b"), second, told("c")))
    lengths = (("a", first), ("b", second), ("c", 99))
    expected = [(name, i) for name, length in lengths for i in range(length)]
    assert schedule(step) == expected[step]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1.0), "Constant: lr must be at least 0 and finite, got -1.0"),
        (lambda: Constant(math.nan), "Constant: lr must be at least 0 and finite, got nan"),
        (lambda: LinearDecay(1.0, math.inf, 3), "LinearDecay: end must be at least 0 and finite"),
        (lambda: CosineDecay(1.0, 0.0, -1), "CosineDecay: steps must be at least 0, got -1"),
        (lambda: InverseSquareRoot(1.0, 0), "timescale must be at least 1, got 0"),
        (lambda: Warmup(1.0, -1, Constant(1.0)), "Warmup: steps must be at least 0"),
        (lambda: Joined(Constant(1.0), -1, Constant(1.0)), "Joined: steps must be at least 0"),
        (lambda: make_schedule("step", 1.0, 0.0, 0, 9), "schedule must be one of cosine, constant"),
    ],
)
def test_parts_of_schedules_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("backend", ["compiled", "reference"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
@pytest.mark.parametrize("lr", [1e37, 1e39, 1e300])
def test_a_rate_that_is_too_large_gives_no_warning_of_numpys(backend, name, lr):
    layer = npgpt.layers.Linear(2, 2)
    optimizer = getattr(npgpt.optim, name)(layer.parameters(), lr=lr)
    with npgpt.ops.use(backend), warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            for parameter in layer.parameters():
                parameter.grad[...] = 1.0
            optimizer.step()
    assert np.abs(np.nan_to_num(layer.weight.value, nan=np.inf)).max() > 1e30
