"""Names in pictures are drawn letter by letter."""

import dataclasses
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from npgpt.evaluation import FewShotResult
from npgpt.finetuning.classification import ClassificationReport
from npgpt.gradients import gradient_flow
from npgpt.plots.finetuning import plot_confusion, plot_rewards
from npgpt.plots.flow import plot_flow, plot_flow_history
from npgpt.plots.style import new_figure, save, take_literally
from npgpt.plots.training import plot_few_shot, plot_loss
from tests.gradients.test_flow import make_batch, make_model

STEPS = [{"kind": "step", "step": i, "loss": 1 / i, "lr": 0.1} for i in range(1, 5)]
EVALUATIONS = [
    {"kind": "evaluation", "step": i, "loss": 0.5, "scores": {
        "rewards/chosen": 0.1, "rewards/rejected": 0.0, "rewards/margins": 0.1, "rewards/accuracies": 0.5,
    }} for i in (0, 4)
]  # fmt: skip
names = st.lists(
    st.sampled_from(["$", "_", "^", "\\", "{", "}", "\\frac", "[/x]", "é", "漢", "🐱", "\n", "\x1b", "\ud800", "a b"]),
    min_size=1, max_size=5,
).map("".join)  # fmt: skip


def measured():
    flow = gradient_flow(make_model(n_layers=1), *make_batch())
    return dataclasses.replace(flow, step=1)


def plot_report(path, title):
    report = ClassificationReport.of(np.array([0, 1]), np.array([0, 1]), [title, f"{title} "])
    plot_confusion(report, path, title)


PLOTS = {
    "loss": lambda path, title: plot_loss(STEPS + EVALUATIONS, path, title),
    "confusion": plot_report,
    "rewards": lambda path, title: plot_rewards(EVALUATIONS, path, title),
    "few shot": lambda path, title: plot_few_shot([FewShotResult(0, 1, 2, 0)], 0.5, path, title),
    "flow": lambda path, title: plot_flow(measured(), path, title),
    "flow history": lambda path, title: plot_flow_history([measured()], path, title),
}


@pytest.mark.parametrize("kind", PLOTS)
@given(title=names)
@example(title="cost_$_and_$")
@settings(max_examples=2)
def test_a_picture_is_made_under_any_name(kind, title, tmp_path_factory):
    path = tmp_path_factory.mktemp("plots") / "plot.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PLOTS[kind](path, title)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_no_text_but_the_powers_of_a_logarithmic_axis_is_mathematics(tmp_path):
    figure = new_figure(3, 3, 50)
    axes = figure.subplots()
    axes.set_title("$x^2$")
    axes.set_xlabel("$a$ and $b$")
    axes.set_xticks([0, 1], ["$_$", "$^$"])
    axes.plot([0, 1], [0.01, 10], label="$l_$")
    axes.set_yscale("log")
    axes.legend()
    take_literally(figure)
    texts = [axes.title, axes.xaxis.label, *axes.get_xticklabels(), *axes.get_legend().get_texts()]
    assert [text.get_text() for text in texts] == ["$x^2$", "$a$ and $b$", "$_$", "$^$", "$l_$"]
    assert not any(text.get_parse_math() for text in texts)
    assert any(label.get_parse_math() for label in axes.get_yticklabels())
    save(figure, tmp_path / "plot.png")
