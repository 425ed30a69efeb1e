"""A layer with the plain contract works in every place of a model, with every tool."""

import copy
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npgpt
from npgpt.finetuning.freezing import train_only
from npgpt.finetuning.lora import apply_lora, merge_lora
from npgpt.gradients import (
    gradient_flow,
    gradient_noise_scale,
    gradient_times_input,
    integrated_gradients,
    per_example_gradient_norms,
    record,
)
from npgpt.gradients.attribution import direct_logit_attribution, linear_part, writes_to_a_sum
from npgpt.gradients.curvature import Hessian
from npgpt.layers import Layer, LayerNorm
from npgpt.models.memory import MemoryPlan
from npgpt.models.summary import Summary
from npgpt.training import train_step
from tests.models.plain_layers import (
    CappedHead,
    Gains,
    HalvedDropout,
    Identity,
    Map,
    MeanOfPast,
    Mlp,
    OwnDropout,
    OwnNorm,
    PlainBlock,
    Ramp,
    ScaleNorm,
    Smoothed,
    Table,
    Tanh,
    TanhMap,
    View,
)

D, V, T = 8, 11, 7
CONFIG = npgpt.GPTConfig(V, T, n_layers=2, n_heads=2, d_model=D)
IDS = np.random.default_rng(0).integers(0, V, (3, T))
BATCH = IDS, np.roll(IDS, -1, axis=1)

NORMS = {
    "scale": lambda dtype: ScaleNorm(D, dtype=dtype),
    "subclass": lambda dtype: OwnNorm(D, dtype=dtype),
    "identity": lambda dtype: Identity(),
    "view": lambda dtype: View(),
    "gains": lambda dtype: Gains(D, dtype),
}
ACTIVATIONS = {"tanh": lambda dtype: Tanh(), "identity": lambda dtype: Identity()}
BRANCHES = {**NORMS, "mlp": lambda dtype: Mlp(D, dtype)}
MIXERS = {**BRANCHES, "mean": lambda dtype: MeanOfPast()}
# place in a model -> what may stand there
PLACES = {
    "stack.final_norm": NORMS,
    "blocks.0.attention_norm": NORMS,
    "blocks.1.feed_forward_norm": NORMS,
    "blocks.0.feed_forward.activation": ACTIVATIONS,
    "blocks.0.feed_forward": BRANCHES,
    "blocks.1.attention": MIXERS,
    "blocks.1": {"block": lambda dtype: PlainBlock(D, dtype), "mean": lambda dtype: MeanOfPast()},
    "blocks.0.attention.qkv": {
        "map": lambda dtype: Map(D, 3 * D, dtype),
        "tanh": lambda dtype: TanhMap(D, 3 * D, dtype),
    },
    "blocks.0.attention.projection": {"map": lambda dtype: Map(D, D, dtype)},
    "blocks.1.feed_forward.up": {"map": lambda dtype: Map(D, 4 * D, dtype)},
    "token_embedding": {"table": lambda dtype: Table(V, D, dtype)},
    "position_embedding": {"ramp": lambda dtype: Ramp(D, dtype), "none": lambda dtype: Identity()},
    "head": {
        "capped": lambda dtype: CappedHead(D, V, dtype),
        "map": lambda dtype: Map(D, V, dtype),
    },
    "cross_entropy": {"half": lambda dtype: Smoothed()},
    "embedding_dropout": {"none": lambda dtype: Identity(), "half": lambda dtype: HalvedDropout()},
    "blocks.0.attention.dropout": {
        "none": lambda dtype: Identity(),
        "half": lambda dtype: HalvedDropout(),
    },
    "blocks.1.feed_forward_dropout": {
        "none": lambda dtype: Identity(),
        "half": lambda dtype: HalvedDropout(),
    },
}
CASES = [(place, kind) for place, kinds in PLACES.items() for kind in kinds]
FEW = [  # one of a kind, in the plain suite; all the others are slow
    ("stack.final_norm", "scale"),
    ("blocks.0.attention_norm", "subclass"),
    ("blocks.0.feed_forward.activation", "tanh"),
    ("blocks.1.attention", "mean"),
    ("blocks.1.feed_forward_dropout", "half"),
    ("head", "capped"),
    ("token_embedding", "table"),
]
every_case = pytest.mark.parametrize(
    ("place", "kind"),
    [case if case in FEW else pytest.param(*case, marks=pytest.mark.slow) for case in CASES],
)


def part_of(model, path):
    for word in path.split("."):
        model = model[int(word)] if word.isdigit() else getattr(model, word)
    return model


def model_with(place, kind, dtype=np.float32, recompute=False, **changes):
    """A model that has another's layer in one place."""
    model = npgpt.GPT(dataclasses.replace(CONFIG, **changes), dtype=dtype, recompute=recompute)
    new = PLACES[place][kind](dtype)
    model.replace(part_of(model, place), new)
    assert part_of(model, place) is new
    return model


def gradients_of(model):
    model.zero_grad()
    model.loss_and_backward(*BATCH)
    return {name: p.grad.copy() for name, p in model.named_parameters(trained_only=True)}


@every_case
def test_its_gradients_are_right_in_every_place(place, kind):
    model = model_with(place, kind, np.float64)
    report = npgpt.gradcheck(model, *BATCH, method="complex", max_coordinates=3)
    assert report.passed, str(report)


@pytest.mark.parametrize(
    "changes", [{"position": "rope"}, {"norm_position": "post"}, {"shortcut": False}]
)
@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("blocks.0.attention.qkv", "tanh"),
        ("blocks.0.attention_norm", "scale"),
        ("blocks.1.feed_forward_norm", "subclass"),
        ("blocks.1.attention", "mean"),
        ("blocks.0.feed_forward", "identity"),
    ],
)  # fmt: skip
def test_its_gradients_are_right_in_blocks_of_every_kind(place, kind, changes):
    model = model_with(place, kind, np.float64, **changes)
    assert npgpt.gradcheck(model, *BATCH, method="complex", max_coordinates=3).passed


@every_case
def test_it_trains_with_every_optimiser_step_changing_it(place, kind):
    model = model_with(place, kind)
    before = {name: value.copy() for name, value in model.state_dict().items()}
    optimizer = npgpt.optim.AdamW(model.parameters(), lr=1e-2)
    losses = [train_step(model, optimizer, [BATCH])[0] for _ in range(8)]
    assert losses[-1] < losses[0]
    assert all(not np.array_equal(before[n], value) for n, value in model.state_dict().items())


@every_case
def test_the_loss_is_the_same_by_every_way(place, kind):
    model = model_with(place, kind, np.float64).eval()
    loss = model.loss(*BATCH)
    np.testing.assert_allclose(model.loss_and_backward(*BATCH), loss, rtol=1e-12)
    np.testing.assert_allclose(model.evaluation_loss(*BATCH), loss, rtol=1e-12)


@every_case
def test_a_block_that_recomputes_has_the_same_gradients(place, kind):
    if place == "blocks.1":
        pytest.skip("it is a block of its own, which recomputes nothing")
    plain = gradients_of(model_with(place, kind))
    again = gradients_of(model_with(place, kind, recompute=True))
    for name, gradient in plain.items():
        np.testing.assert_array_equal(again[name], gradient)


@pytest.mark.parametrize("place", ["blocks.0.attention_dropout", "blocks.1.feed_forward_dropout", "blocks.0.attention.dropout"])  # fmt: skip
def test_dropout_from_its_own_generator_is_drawn_alike_when_a_block_recomputes(place):
    def gradients(recompute):
        model = npgpt.GPT(CONFIG, recompute=recompute)
        model.replace(part_of(model, place), OwnDropout())
        gradients_of(model)
        return gradients_of(model), part_of(model, place).rng.random()

    (plain, number), (again, same_number) = gradients(False), gradients(True)
    assert number == same_number
    for name, gradient in plain.items():
        np.testing.assert_allclose(again[name], gradient, rtol=1e-6, atol=1e-9)


@every_case
def test_attribution_explains_a_logit_of_it(place, kind):
    model = model_with(place, kind, np.float64)
    gradients = gradients_of(model)
    tokens = gradient_times_input(model, IDS[0])
    assert tokens.values.shape == (T,)
    assert abs(integrated_gradients(model, IDS[0], steps=64).gap) < 1e-3
    if writes_to_a_sum(model):
        parts = direct_logit_attribution(model, IDS[0])
        np.testing.assert_allclose(parts.values.sum(), parts.logit, atol=1e-9)
        np.testing.assert_allclose(parts.logit, tokens.logit, rtol=1e-12)
    else:
        with pytest.raises(ValueError, match=r"final norm, a \w+|must be") as error:
            direct_logit_attribution(model, IDS[0])
        assert type(part_of(model, place)).__name__ in str(error.value)
    for name, gradient in gradients.items():  # left as they are
        np.testing.assert_array_equal(dict(model.named_parameters())[name].grad, gradient)


def test_a_norm_says_by_a_function_what_it_does_to_a_part_of_its_input():
    class Scaled(ScaleNorm):
        pass

    @linear_part.register
    def _(norm: Scaled, parts: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
        _, r = norm.recall()
        return parts * norm.g.value * r[index]

    model = npgpt.GPT(CONFIG, dtype=np.float64)
    model.final_norm = Scaled(D, dtype=np.float64)
    parts = direct_logit_attribution(model, IDS[0])
    np.testing.assert_allclose(parts.values.sum(), parts.logit, atol=1e-9)


@every_case
def test_the_laboratory_measures_it(place, kind):
    model = model_with(place, kind, np.float64)
    flow = gradient_flow(model, *BATCH)
    assert all(np.isfinite(row.grad_norm) for row in flow.parameters)
    with record(model) as tape:
        loss = model.loss(*BATCH)
        model.backward()
    assert np.isfinite(loss)
    assert set(tape) == set(model.tap_names())
    whole = per_example_gradient_norms(model, *BATCH)
    for row in range(len(IDS)):
        one = gradients_of_example(model, row)
        for name, gradient in one.items():
            np.testing.assert_allclose(
                whole.by_parameter[name][row], np.linalg.norm(gradient), rtol=1e-9, atol=1e-12
            )
    assert np.isfinite(gradient_noise_scale(model, *BATCH).noise)


def gradients_of_example(model, row):
    model = copy.deepcopy(model).eval()
    model.zero_grad()
    model.loss_and_backward(*(array[row : row + 1] for array in BATCH))
    return {name: p.grad for name, p in model.named_parameters(trained_only=True)}


@every_case
def test_products_with_the_curvature_are_symmetric(place, kind):
    hessian = Hessian(model_with(place, kind), *BATCH)
    v, w = np.random.default_rng(0).standard_normal((2, hessian.shape[0]))
    np.testing.assert_allclose(v @ (hessian @ w), w @ (hessian @ v), rtol=1e-6)


@every_case
def test_generation_with_a_cache_writes_what_it_writes_without(place, kind):
    model = model_with(place, kind)
    prompts = [IDS[0, :3], IDS[1, :5]]
    cached = model.generate(prompts, 3, temperature=0.0)
    again = model.generate(prompts, 3, temperature=0.0, use_cache=False)
    for one, other in zip(cached, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_layer_that_says_it_can_is_read_in_steps():
    class ByPosition(ScaleNorm):
        IN_STEPS = True

    class Changed(ByPosition):
        def forward(self, x):
            return super().forward(x[:, ::-1])

    model = npgpt.GPT(CONFIG)
    assert model.reads_in_steps
    for norm, can in ((ByPosition(D), True), (ScaleNorm(D), False), (Changed(D), False)):
        model.final_norm = norm
        assert model.reads_in_steps is can
    model.final_norm = ByPosition(D)
    prompt = IDS[0, :3]
    np.testing.assert_array_equal(
        model.generate(prompt, 4, temperature=0.0),
        model.generate(prompt, 4, temperature=0.0, use_cache=False),
    )


@every_case
def test_it_may_be_frozen_and_the_others_keep_their_gradients(place, kind):
    model = model_with(place, kind)
    whole = gradients_of(model)
    for name in whole:
        train_only(model, [name])
        (gradient,) = gradients_of(model).values()
        np.testing.assert_allclose(gradient, whole[name], rtol=1e-5, atol=1e-7)
        frozen = [p for p in model.parameters() if not p.requires_grad]
        assert all(parameter.grad is None for parameter in frozen)


@every_case
def test_lora_trains_beside_it_and_merges(place, kind):
    model = model_with(place, kind, np.float64)
    logits = model.forward(IDS)
    apply_lora(model)
    np.testing.assert_allclose(model.forward(IDS), logits, rtol=1e-12)
    optimizer = npgpt.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(2):
        train_step(model, optimizer, [BATCH])
    adapted = model.forward(IDS)
    np.testing.assert_allclose(merge_lora(model).forward(IDS), adapted, atol=1e-9)


@every_case
def test_its_weights_are_listed_counted_and_loaded(place, kind):
    model, other = model_with(place, kind), model_with(place, kind)
    for parameter in model.parameters():
        parameter.value += 0.1
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(model.forward(IDS), other.forward(IDS))
    assert model.num_parameters() == Summary.of(model).total
    assert str(Summary.of(model))
    assert MemoryPlan.of(model.config, 2, T).total > 0


@every_case
def test_a_run_of_it_goes_on_where_it_stopped(place, kind, tmp_path):
    def steps(model, optimizer, n):
        for _ in range(n):
            train_step(model, optimizer, [BATCH])

    model = model_with(place, kind)
    optimizer = npgpt.optim.AdamW(model.parameters(), lr=1e-2)
    steps(model, optimizer, 2)
    arrays = {name: value.copy() for name, value in model.state_dict().items()}
    moments = {name: value.copy() for name, value in optimizer.state_dict().items()}
    steps(model, optimizer, 2)
    again = model_with(place, kind)
    again.load_state_dict(arrays)
    optimizer = npgpt.optim.AdamW(again.parameters(), lr=1e-2)
    optimizer.load_state_dict(moments)
    steps(again, optimizer, 2)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], value)


@every_case
def test_a_file_that_could_not_say_what_it_is_is_not_written(place, kind, tmp_path):
    if place == "cross_entropy":
        pytest.skip("a file holds no loss")
    model = model_with(place, kind)
    layer = part_of(model, place)
    if isinstance(layer, OwnNorm) and "norm" in place:
        model.save_pretrained(tmp_path / "same")  # its forward is that of the layer norm it is
        again = npgpt.GPT.from_pretrained(tmp_path / "same")
        np.testing.assert_allclose(again.forward(IDS), model.forward(IDS), rtol=1e-5, atol=1e-6)
        return
    with pytest.raises(ValueError, match=f"is a {type(layer).__name__}"):
        model.save_pretrained(tmp_path / "other")
    assert not (tmp_path / "other").exists()


@every_case
def test_a_text_is_traced_through_it(place, kind):
    tokenizer = npgpt.tokenizers.CharTokenizer.train("to be or not")
    changes = {"vocab_size": V} if "embedding" in place or place == "head" else {}
    model = model_with(place, kind, **changes)
    model.train()
    if tokenizer.vocab_size > V:
        pytest.fail("the test's tokenizer is too large")
    traced = npgpt.trace.trace(model, tokenizer, "to be", steps=4)
    np.testing.assert_allclose(
        traced.loss, model.eval().loss(*_one(tokenizer.encode("to be"))), rtol=1e-5
    )
    assert type(part_of(model, place)).__name__ in traced.to_html()


def _one(ids):
    ids = np.asarray(ids)[None]
    return ids[:, :-1], ids[:, 1:]


# --- what an assignment needs not do -----------------------------------------------------------


def test_a_layer_that_is_assigned_has_its_name_where_names_are_heard():
    model = npgpt.GPT(CONFIG)
    model.final_norm = LayerNorm(D)
    model.blocks[1].attention_norm = npgpt.GPT(CONFIG).blocks[0].feed_forward_norm
    with record(model, "*norm.output") as tape:
        model.loss(*BATCH)
    assert list(tape) == list(n for n in npgpt.GPT(CONFIG).tap_names() if n.endswith("norm.output"))


def test_a_layer_that_takes_anothers_place_takes_over_name_mode_and_listener():
    model = npgpt.GPT(CONFIG).eval()
    new = OwnNorm(D)
    model.replace(model.blocks[1].attention_norm, new)
    assert (new.name, new.training) == ("blocks.1.attention_norm", False)
    assert new.gamma.name == "blocks.1.attention_norm.gamma"
    with pytest.raises(ValueError, match="there is no such LayerNorm in it"):
        model.replace(LayerNorm(D), new)


def test_parts_of_a_part_keep_the_names_that_the_whole_gave_them():
    classifier = npgpt.models.GPTForClassification(npgpt.GPT(CONFIG), num_classes=2)
    with record(classifier.body, "body.blocks.0.residual") as tape:
        classifier.forward(IDS, np.full(3, T))
    assert list(tape) == ["body.blocks.0.residual"]


def test_every_layer_with_a_name_has_another():
    model = npgpt.GPT(CONFIG)
    names = [name for name, _ in model.named_layers()]
    assert len(names) == len(set(names))
    assert names.count("") == 1
    assert set(dict(model.named_layers()).values()) == set(model.layers()) - {model.stack}


@given(st.lists(st.sampled_from(CASES), min_size=2, max_size=4, unique_by=lambda case: case[0]))
def test_several_of_them_work_together(cases):
    inside = [place for place, _ in cases]
    if any(a != b and f"{b}.".startswith(f"{a}.") for a in inside for b in inside):
        return  # one stands in the other, which is gone
    model = npgpt.GPT(CONFIG, dtype=np.float64)
    for place, kind in cases:
        model.replace(part_of(model, place), PLACES[place][kind](np.float64))
    assert npgpt.gradcheck(model, *BATCH, method="complex", max_coordinates=2).passed


# --- a frozen parameter -------------------------------------------------------------------------


def test_a_backward_that_calls_its_bases_finds_arrays_to_add_to_all_the_way():
    class Twice(OwnNorm):
        def backward(self, dy):
            dx = super().backward(dy)
            self.gamma.grad += 1.0
            return dx

    layer = Twice(D)
    for parameter in layer.parameters():
        parameter.freeze()
    x = np.random.default_rng(0).standard_normal((2, D)).astype(np.float32)
    layer.forward(x)
    assert layer.backward(np.ones_like(x)).shape == x.shape
    assert layer.gamma.grad is None
    assert isinstance(layer, Layer)
