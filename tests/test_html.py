"""What a notebook shows of reports, summaries, recordings and attributions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npgpt
from npgpt.gradients import (
    ArrayCheck,
    GradcheckReport,
    direct_logit_attribution,
    gradient_flow,
    gradient_times_input,
    integrated_gradients,
    record,
)
from npgpt.gradients.attributed import LogitParts
from npgpt.html_table import html_table
from tests.models.tiny import CONFIGS, shaken_model
from tests.trace.trace_pages import Page

NASTY = "<script>alert('&')</script>\""
IDS = np.array([1, 2, 3, 1])


def gradcheck_report():
    return npgpt.gradcheck(
        npgpt.layers.LayerNorm(4), np.random.default_rng(0).standard_normal((2, 4))
    )


def tape():
    model = shaken_model(CONFIGS["tied"])
    with record(model) as recorded:
        model.loss(IDS[None], IDS[None])
        model.backward()
    return recorded


def on_tiny(function, **options):
    return lambda: function(shaken_model(CONFIGS["tied"]), IDS, **options)


SHOWN = {  # what is made, and what its table must hold
    "gradcheck": (gradcheck_report, ["gamma", "beta", "input 0", "passed"]),
    "summary": (lambda: shaken_model(CONFIGS["tied"]).summary(), ["blocks.0-1.attention.qkv.weight", "24 x 8  (2 of)", "total"]),
    "logit parts": (on_tiny(direct_logit_attribution), ["blocks.1.attention.head.0", "embeddings", "logit"]),
    "gradient x input": (on_tiny(gradient_times_input), ["position", "sum"]),
    "integrated gradients": (on_tiny(integrated_gradients, steps=2), ["position", "at the baseline"]),
    "tape": (tape, ["blocks.1.attention.scores", "1 × 2 × 4 × 4", "rms of the gradient"]),
    "flow": (lambda: gradient_flow(shaken_model(CONFIGS["tied"]), IDS[None], IDS[None]), ["blocks.0.attention.output", "cosine"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_shows_it_as_a_table(name):
    make, expected = SHOWN[name]
    page = Page(make()._repr_html_())
    text = "".join(table.text for table in page.all("table"))
    for word in expected:
        assert word in text
    for table in page.all("table"):
        rows = [e for e in page.all("tr") if e.parent.parent is table]
        widths = {len([e for e in page.elements if e.parent is row]) for row in rows}
        assert len(widths) == 1  # as many cells in every row
        assert len(rows) > 2


def test_the_same_numbers_are_printed_and_shown():
    parts = on_tiny(direct_logit_attribution)()
    for line in str(parts).splitlines():
        name, value = line.split()
        assert f">{name}<" in parts._repr_html_()
        assert f">{value}<" in parts._repr_html_()


def test_every_text_is_escaped():
    check = ArrayCheck(NASTY, (1,), 1, 2.0, NASTY, 1.0, 2.0)
    shown = [
        html_table(NASTY, [NASTY], [[NASTY]], footer=[NASTY]),
        GradcheckReport(NASTY, NASTY, 1e-6, [check])._repr_html_(),
        LogitParts([NASTY], np.array([1.0]), 1.0)._repr_html_(),
    ]
    for html in shown:
        assert "<script" not in html
        assert NASTY in Page(html).all("table")[0].text


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])), min_size=1
    )
)
def test_whatever_is_put_in_a_cell_is_read_from_it(cells):
    page = Page(html_table("", cells, [cells], numbers=[0]))
    assert [cell.text for cell in page.all("td")] == cells
    assert [cell.text for cell in page.all("th")] == cells


def test_a_failure_is_marked():
    check = ArrayCheck("gamma", (3,), 3, 2.0, "(1,)", 1.0, 2.0)
    assert "FAILED" in GradcheckReport("LayerNorm", "central", 1e-6, [check])._repr_html_()
    assert "2.0e+00 FAILED" in GradcheckReport("LayerNorm", "central", 1e-6, [check])._repr_html_()


def test_rows_of_another_length_than_the_header_are_refused():
    with pytest.raises(ValueError, match="zip"):
        html_table("", ["a", "b"], [["1"]])
