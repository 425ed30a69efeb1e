"""Golden numbers of an earlier version: the same values everywhere, the same bits where it ran."""

import json

import numpy as np
import pytest

from npgpt import ops
from tests.stored import golden_numbers as numbers
from tests.stored.golden_numbers import CASES, CONFIGS

IDS = [numbers.case_name(*case) for case in CASES]
TOLERANCE = {"float64": 1e-9, "float32": 1e-5}


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_golden_values_hold(case):
    name, dropout, dtype, _ = case
    numbers.check_values(
        numbers.measured(*case), numbers.stored_values(name, dropout), TOLERANCE[dtype]
    )


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_golden_bits_hold(case):
    digests = numbers.stored_digests()
    if digests is None:
        pytest.skip(numbers.why_no_bits())
    found = {part: numbers.digest(arrays) for part, arrays in numbers.measured(*case).items()}
    assert found == digests["golden"][numbers.case_name(*case)]


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_have_their_names_and_shapes(name):
    stored = json.loads(numbers.PARAMETERS.read_text(encoding="utf-8"))[name]
    assert numbers.names_and_shapes(numbers.model_of(name)) == stored


def test_without_digests_for_a_processor_values_are_compared_all_the_same(monkeypatch):
    monkeypatch.setenv("NPGPT_STORED_BITS", "1")
    monkeypatch.setattr(numbers, "key", lambda: "a processor that nobody has")
    assert numbers.stored_digests() is None
    with pytest.raises(pytest.skip.Exception, match="no bits are stored for a processor"):
        test_the_golden_bits_hold(CASES[0])
    test_the_golden_values_hold(CASES[0])


# --- a change is noticed --------------------------------------------------------------------------


def test_one_changed_bit_of_a_weight_changes_the_digests():
    def make():
        model = numbers.model_of("llama", dtype="float32")
        if changed:
            gain = dict(model.named_parameters())["final_norm.gamma"].value
            gain[0] = np.nextafter(gain[0], np.float32(9))
        return model

    ends = []
    for changed in (False, True):  # noqa: B007  (make reads it)
        with ops.use("reference"):
            parts = numbers.measure(make)
        ends.append({part: numbers.digest(arrays) for part, arrays in parts.items()})
    for part in ("logits", "gradients", "fused gradients", "training", "trained"):
        assert ends[0][part] != ends[1][part]


@pytest.mark.parametrize(
    "part", ["logits", "loss", "gradients", "training", "trained", "evaluation"]
)
def test_a_value_that_is_off_by_little_is_noticed(part):
    stored = numbers.stored_values("t5", 0.1)
    for change in (1.0, 1.0 + 1e-8):
        found = {other: dict(arrays) for other, arrays in stored.items()}
        name = max(found[part], key=lambda name: np.abs(found[part][name]).max())
        found[part][name] = found[part][name] * change
        if change == 1.0:
            numbers.check_values(found, stored, TOLERANCE["float64"])
        else:
            with pytest.raises(AssertionError, match=part):
                numbers.check_values(found, stored, TOLERANCE["float64"])


def test_digests_see_names_dtypes_shapes_and_the_sign_of_zero():
    arrays = {"a": np.zeros(2), "b": np.ones(3)}
    changed = [
        {"a": np.zeros(2), "c": np.ones(3)},
        {"a": np.zeros(2, np.float32), "b": np.ones(3)},
        {"a": np.zeros((2, 1)), "b": np.ones(3)},
        {"a": -np.zeros(2), "b": np.ones(3)},
    ]
    digests = {numbers.digest(a) for a in (arrays, *changed)}
    assert len(digests) == 5
    assert numbers.digest(dict(reversed(arrays.items()))) in digests
