"""What gradcheck checks beside the numbers: nothing is changed in place, gradients are added."""

import numpy as np
import pytest

from npgpt.gradients import SUITE, GradcheckError, gradcheck
from npgpt.layers import BatchNorm, Dropout, Layer, Linear, LoRALinear, Parameter
from tests.strategies import normal


class Scale(Layer):
    """``y = w * x``, as it should be; the classes below break one promise each."""

    def __init__(self, width=3):
        super().__init__()
        self.w = Parameter(normal(0, width, np.float32))

    def forward(self, x):
        self.keep(x)
        return self.w.value * x

    def backward(self, dy):
        x = self.recall()
        self.add((dy * x).reshape(-1, self.w.size).sum(axis=0))
        return dy * self.w.value

    def add(self, dw):
        self.w.grad += dw


class Assigns(Scale):
    def add(self, dw):
        self.w.grad = dw


class Overwrites(Scale):
    def add(self, dw):
        self.w.grad[...] = dw


class TakesWhatIsLeft(Scale):
    """Adds to an array that `zero_grad` has marked as undefined."""

    def add(self, dw):
        grad, _ = self.w.grad_to_fill()
        grad += dw


class ChangesItsInput(Scale):
    def forward(self, x):
        self.keep(x.copy())
        x *= self.w.value
        return x


class ChangesItsInputAfterwards(Scale):
    """Keeps a view of the input, which it then changes."""

    def forward(self, x):
        y = super().forward(x)
        x -= x.mean()
        return y


class ChangesDy(Scale):
    def backward(self, dy):
        dx = super().backward(dy)
        dy[...] = 0.0
        return dx


class ReturnsDyChanged(Scale):
    def backward(self, dy):
        super().backward(dy)
        dy *= self.w.value
        return dy


class ChangesWhatItKept(Scale):
    def forward(self, x):
        self.keep(x.copy())
        return self.w.value * x

    def backward(self, dy):
        dx = super().backward(dy)
        self.saved *= 0.5
        return dx


class ChangesWhatItKeptElsewhere(Scale):
    def forward(self, x):
        self.inputs = [x.copy()]
        return super().forward(x)

    def backward(self, dy):
        self.inputs[0] += 1.0
        return super().backward(dy)


class ForgetsWhatItKept(Scale):
    """Is another layer's backward the second time, without changing an array."""

    def backward(self, dy):
        dx = super().backward(dy)
        self.keep(2.0 * self.recall())
        return dx


class ChangesTheInputInBackward(Scale):
    def backward(self, dy):
        dx = super().backward(dy)
        self.recall()[...] = 0.0
        return dx


class ChangesItsParameter(Scale):
    def backward(self, dy):
        dx = super().backward(dy)
        self.w.value -= 0.1 * self.w.grad
        return dx


class NormsItsParameter(Scale):
    def forward(self, x):
        self.w.value /= np.linalg.norm(self.w.value)
        return super().forward(x)


class Random(Scale):
    def forward(self, x):
        return super().forward(x) * (1.0 + 1e-9 * np.random.default_rng().random())


class HandsOutOneArray(Scale):
    """Every output is in the same memory."""

    def forward(self, x):
        y = super().forward(x)
        key = "complex" if np.iscomplexobj(y) else "real"
        setattr(type(self), key, getattr(type(self), key, np.empty_like(y)))
        getattr(self, key)[...] = y
        return getattr(self, key)


class Float32(Scale):
    def backward(self, dy):
        return super().backward(dy).astype(np.float32)


class Float32Parameter(Scale):
    def add(self, dw):
        self.w.grad = self.w.grad.astype(np.float32) + dw.astype(np.float32)


class Summed(Scale):
    def backward(self, dy):
        return super().backward(dy)[:1]


class ParameterOfOneNumber(Scale):
    def add(self, dw):
        self.w.grad = self.w.grad.sum() + dw.sum()


class NoGradient(Scale):
    def backward(self, dy):
        super().backward(dy)
        return (None,)


class OnlyTheFirstExample(Scale):
    def backward(self, dy):
        x = self.recall()
        self.w.grad += (dy[0] * x[0]).sum(axis=0)
        return dy * self.w.value


class BareArray(Layer):
    """Its weight is an array that nobody lists."""

    def __init__(self, w=None):
        super().__init__()
        self.w = np.arange(1.0, 4.0) if w is None else w

    def weight(self):
        return self.w

    def forward(self, x):
        self.keep(x)
        return self.weight() * x

    def backward(self, dy):
        return self.weight() * dy


class BareGradient(BareArray):
    def __init__(self):
        super().__init__()
        self.dw = np.zeros(3)

    def backward(self, dy):
        self.dw += (dy * self.recall()).reshape(-1, 3).sum(axis=0)
        return super().backward(dy)


class InAList(BareArray):
    def __init__(self):
        super().__init__([np.arange(1.0, 4.0)])

    def weight(self):
        return self.w[0]


class InADict(BareArray):
    def __init__(self):
        super().__init__({"a": np.arange(1.0, 4.0)})

    def weight(self):
        return self.w["a"]


class Holder:
    def __init__(self, array):
        self.array = array


class InAnObject(BareArray):
    def __init__(self):
        super().__init__(Holder(np.arange(1.0, 4.0)))

    def weight(self):
        return self.w.array


class ParametersInADict(BareArray):
    def __init__(self):
        super().__init__({"a": Parameter(np.arange(1.0, 4.0))})

    def weight(self):
        return self.w["a"].value


class LayersInATuple(BareArray):
    def __init__(self):
        super().__init__((Scale(),))

    def forward(self, x):
        return self.w[0].forward(x)

    def backward(self, dy):
        return self.w[0].backward(dy)


class LayersInADict(LayersInATuple):
    def __init__(self):
        super().__init__()
        self.w = {0: Scale()}


class LayersInAListOfLists(LayersInATuple):
    def __init__(self):
        super().__init__()
        self.w = [[Scale()]]

    def forward(self, x):
        return self.w[0][0].forward(x)

    def backward(self, dy):
        return self.w[0][0].backward(dy)


class Inside(Layer):
    """A layer around another: what is wrong is named by its place."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner.forward(x)

    def backward(self, dy):
        return self.inner.backward(dy)


BROKEN = [
    (Assigns(), "backward overwrites the gradient of w, which it must add to"),
    (Overwrites(), "backward overwrites the gradient of w"),
    (TakesWhatIsLeft(), "the gradient of w is wrong"),
    (ChangesItsInput(), "forward changes input 0 in place"),
    (ChangesItsInputAfterwards(), "forward changes input 0 in place"),
    (ChangesDy(), "backward changes dy in place"),
    (ReturnsDyChanged(), "backward changes dy in place"),
    (ChangesWhatItKept(), "backward changes saved, which forward kept, in place"),
    (ChangesWhatItKeptElsewhere(), r"backward changes inputs\[0\] in place"),
    (ForgetsWhatItKept(), "backward gives another gradient of w when called again"),
    (ChangesTheInputInBackward(), "backward changes input 0 in place"),
    (ChangesItsParameter(), "backward changes the parameter w"),
    (NormsItsParameter(), "forward changes the parameter w"),
    (Random(), "forward gives another output when called again"),
    (HandsOutOneArray(), "forward changes an output that it gave before"),
    (Float32(), "the gradient of input 0 is float32, where input 0 is float64"),
    (Float32Parameter(), "the gradient of w is float32, where w is float64"),
    (Summed(), r"the gradient of input 0 has shape \(1, 4, 3\), where input 0 has \(2, 4, 3\)"),
    (ParameterOfOneNumber(), r"the gradient of w has shape \(\), where w has \(3,\)"),
    (NoGradient(), "the gradient of input 0 must be an array, got NoneType"),
    (OnlyTheFirstExample(), "the gradient of w is wrong"),
    (BareArray(), "w decides the output and is no Parameter"),
    (BareGradient(), "w decides the output and is no Parameter.* backward changes dw in place"),
    (InAList(), r"w\[0\] decides the output and is no Parameter"),
    (InADict(), r"w\['a'\] decides the output and is no Parameter"),
    (InAnObject(), r"w\.array decides the output and is no Parameter"),
    (ParametersInADict(), r"w\['a'\] is a Parameter where none is found; put it into an attribute"),
    (LayersInATuple(), r"w\[0\] is a layer where none is found; put it into an attribute"),
    (LayersInADict(), r"w\[0\] is a layer where none is found"),
    (LayersInAListOfLists(), r"w\[0\]\[0\] is a layer where none is found"),
    (Inside(Assigns()), r"backward overwrites the gradient of inner\.w"),
    (Inside(BareArray()), "w of 'inner' decides the output"),
    (Inside(ChangesWhatItKept()), "backward changes saved of 'inner', which forward kept, in place"),
]  # fmt: skip


@pytest.mark.parametrize("method", ["central", "complex"])
@pytest.mark.parametrize(
    ("layer", "message"), BROKEN, ids=[f"{type(layer).__name__}-{m[:12]}" for layer, m in BROKEN]
)
def test_a_broken_promise_fails_the_check_and_is_named(layer, message, method):
    x = normal(1, (2, 4, 3), np.float64)
    kept = x.copy()
    report = gradcheck(layer, x, method=method)
    assert not report.passed
    assert "FAILED" in report.title
    with pytest.raises(GradcheckError, match=message):
        report.raise_if_failed()
    np.testing.assert_array_equal(x, kept)  # the caller's, whatever the layer does with it


@pytest.mark.parametrize("method", ["central", "complex"])
def test_the_layer_that_breaks_none_of_them_passes(method):
    x = normal(1, (2, 4, 3), np.float64)
    for layer in (Scale(), Inside(Scale())):
        report = gradcheck(layer, x, method=method)
        report.raise_if_failed()
        assert report.faults == report.notes == []


class Shared(Layer):
    """One parameter in two places: its gradient is the sum."""

    def __init__(self, adds=True):
        super().__init__()
        self.first, self.second = Scale(), Scale() if adds else Assigns()
        self.second.w = self.first.w

    def forward(self, x):
        return self.second.forward(self.first.forward(x))

    def backward(self, dy):
        return self.first.backward(self.second.backward(dy))


def test_a_shared_parameter_is_compared_once_with_both_gradients():
    x = normal(1, (2, 4, 3), np.float64)
    report = gradcheck(Shared(), x)
    report.raise_if_failed()
    assert [check.name for check in report.arrays] == ["input 0", "first.w"]
    assert not gradcheck(Shared(adds=False), x).passed


class Masked(Layer):
    """Reads integers beside floats, and changes them."""

    def forward(self, x, lengths):
        self.keep(x)
        lengths -= 1
        return 2.0 * x

    def backward(self, dy):
        return 2.0 * dy, None


def test_integers_that_forward_changes_are_named_too():
    lengths = np.array([2, 3])
    report = gradcheck(Masked(), normal(0, (2, 3), np.float64), lengths)
    assert report.faults == ["forward changes input 1 in place"]
    assert lengths.tolist() == [2, 3]
    assert "input 1 holds no floats and is a constant" in report.notes


class Constants(BareArray):
    BUFFERS = ("w",)


def test_arrays_that_are_not_learned_are_named_in_buffers_or_cannot_be_written():
    x = normal(0, (2, 3), np.float64)
    report = gradcheck(Constants(), x)
    assert report.passed
    assert "w is a buffer and has no gradient" in report.notes
    fixed = BareArray()
    fixed.w.flags.writeable = False
    assert gradcheck(fixed, x).passed


# --- functions ------------------------------------------------------------------------------------


def doubled_in_place(x):
    x *= 2.0
    return x


def zeroing(dy, x):
    dx = 2.0 * dy
    dy[...] = 0.0
    return dx


def remembering():
    calls = []

    def backward(dy, x):
        calls.append(1)
        return 2.0 * dy * len(calls)

    return backward


FUNCTIONS = [
    (doubled_in_place, lambda dy, x: 2.0 * dy, "forward changes input 0 in place"),
    (lambda x: 2.0 * x, zeroing, "backward changes dy in place"),
    (lambda x: 2.0 * x, lambda dy, x: 2.0 * dy + np.multiply(x, 0.0, out=x), "backward changes input 0"),
    (lambda x: 2.0 * x, remembering(), "backward gives another gradient of input 0 when called again"),
    (lambda x: 2.0 * x, lambda dy, x: 2.0 * dy.sum(), r"gradient of input 0 has shape \(\)"),
    (lambda x: 2.0 * x, lambda dy, x: 2, "the gradient of input 0 must be an array, got int"),
]  # fmt: skip


@pytest.mark.parametrize(("forward", "backward", "message"), FUNCTIONS)
def test_a_pair_of_functions_keeps_the_same_promises(forward, backward, message):
    report = gradcheck(forward, normal(0, (3,), np.float64), backward=backward)
    with pytest.raises(GradcheckError, match=message):
        report.raise_if_failed()


# --- what was not seen ----------------------------------------------------------------------------


def test_the_report_names_what_the_check_could_not_see():
    lora = LoRALinear(3, 2, rank=1, rng=0)
    notes = gradcheck(lora, normal(0, (1, 3), np.float64)).notes
    for note in (
        "weight is frozen and has no gradient",
        "lora_B is 0 everywhere, which may hide a forgotten factor or term",
        "axis 0 of input 0 has size 1, so a sum over it that is missing changes nothing",
        "the gradient of lora_A is 0 at these inputs",
    ):
        assert note in notes
        assert f"not seen: {note}" in str(gradcheck(lora, normal(0, (1, 3), np.float64)))
    norm = BatchNorm(3)
    assert "running_mean is a buffer and has no gradient" in gradcheck(norm, np.eye(3)).notes


@pytest.mark.slow  # test_gradcheck has each by itself, with fewer backends
def test_the_packages_own_layers_break_no_promise(backend):
    for name, example in SUITE.items():
        layer, inputs = example(np.random.default_rng(0))
        assert gradcheck(layer, *inputs, max_coordinates=1).faults == [], name


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Linear, "expected a layer, or a function, got <class"),
        (3.0, r"expected a layer, or a function, got 3\.0"),
        (np.ones(3), "expected a layer, or a function, got array"),
    ],
)
def test_what_is_no_layer_is_refused(wrong, message):
    with pytest.raises(TypeError, match=message):
        gradcheck(wrong, np.ones(3))


def test_a_forward_of_several_arrays_is_refused():
    with pytest.raises(TypeError, match="must return one array, got a tuple of 2"):
        gradcheck(lambda x: (x, x), np.ones(3), backward=lambda dy, x: dy)


def test_dropout_is_no_randomness_of_forward():
    assert gradcheck(Dropout(0.5), np.ones((4, 4))).faults == []
