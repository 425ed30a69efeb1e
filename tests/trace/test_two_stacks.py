"""The page's parts for a model of two stacks: boxes, diagram, plots and rows find the blocks of both."""

import dataclasses

import numpy as np
import pytest

from npgpt.gradients.attributed import LogitParts
from npgpt.trace.boxes import Views, boxes_of, named_blocks
from npgpt.trace.page import page
from npgpt.trace.page.depth_plots import depth_plots
from npgpt.trace.page.diagram import diagram
from npgpt.trace.page.strips import logit_rows
from tests.models.test_new_families import Reversals, translator
from tests.trace.trace_pages import Page, plain_trace

BLOCK = ["attention_norm", "attention", "feed_forward_norm", "feed_forward"]
CROSS = [*BLOCK[:2], "cross_attention_norm", "cross_attention", *BLOCK[2:]]


def traced(**choices):
    """Put the boxes of an encoder and a decoder into a trace of something else."""
    model = translator(**choices)
    batch = Reversals().batch([1])
    views = Views(model, named_blocks(model, [1]))
    with views:
        model.loss(*batch)
        model.backward()
    return dataclasses.replace(plain_trace(), boxes=boxes_of(model, views), config=model.config)


@pytest.fixture(scope="module")
def two_stacks():
    return traced(n_layers=3)


def test_a_box_holds_the_blocks_of_one_stack(two_stacks):
    boxes = {box.name: box for box in two_stacks.boxes}
    for stack in ("encoder", "decoder"):
        names = [instance.name for instance in boxes[f"{stack}.blocks.*.attention"].instances]
        assert names == [f"{stack}.blocks.{i}.attention" for i in range(3)]
    assert "encoder.blocks.*.cross_attention" not in boxes
    assert two_stacks.stacks == {"encoder.blocks": range(3), "decoder.blocks": range(3, 6)}


def test_only_the_blocks_that_are_asked_for_have_heat_maps(two_stacks):
    drawn = {
        instance.name.split(".attention")[0]
        for box in two_stacks.boxes
        for instance in box.instances
        for array in instance.arrays
        if array.value.maps and ".attention." in f"{instance.name}."
    }
    assert drawn == {"encoder.blocks.1", "decoder.blocks.1"}


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_the_diagram_goes_through_the_encoder_and_then_the_decoder(norm_position):
    trace = traced(n_layers=3, norm_position=norm_position)
    drawn = diagram(trace)
    assert [(frame.name, frame.label) for frame in drawn.frames] == [
        ("encoder.blocks.*", "encoder block, 3 times"),
        ("decoder.blocks.*", "decoder block, 3 times"),
    ]
    names = [node.name for node in drawn.nodes]
    for stack, parts in (("encoder", BLOCK), ("decoder", CROSS)):
        inside = [name for name in names if name.startswith(f"{stack}.blocks")]
        assert sorted(inside) == sorted(f"{stack}.blocks.*.{part}" for part in parts)
        assert f"{stack}.final_norm" in names
        frame = next(frame for frame in drawn.frames if frame.name == f"{stack}.blocks.*")
        for node in drawn.nodes:
            is_inside = frame.y < node.y and node.y + node.height < frame.y + frame.height
            assert is_inside == (node.name in inside)
    assert names.index("encoder.final_norm") < names.index("decoder.blocks.*.attention")
    assert names[-2:] == ["head", "cross_entropy"]
    tops = [node.y for node in drawn.nodes]
    assert tops == sorted(tops)
    # of a block: after each branch; five branches, three blocks of each
    assert len(drawn.labels) == 5 * 3


def test_the_plots_have_a_line_of_each_stack_and_go_on_from_one_to_the_next(two_stacks):
    activations, gradients, weights = depth_plots(two_stacks)
    lines = {line.name: [point.label for point in line.points] for line in activations.lines}
    assert lines["encoder residual stream"][-1] == "encoder.blocks.2.residual"
    assert lines["decoder residual stream"][:3] == [
        "decoder.blocks.0.residual_middle",
        "decoder.blocks.0.residual_cross",
        "decoder.blocks.0.residual",
    ]
    assert {"decoder attention output", "decoder cross_attention output"} <= lines.keys()
    assert [line.name for line in gradients.lines] == list(lines)
    assert [label for _, label in activations.x_ticks] == ["in", "0", "1", "2", "0", "1", "2"]
    places = {line.name: [point.x for point in line.points] for line in activations.lines}
    assert max(places["encoder residual stream"]) < min(places["decoder residual stream"])
    assert all(len(line.points) == 3 for line in weights.lines)
    for plot in (activations, gradients, weights):
        for line in plot.lines:
            for point in line.points:
                assert plot.left <= point.x <= plot.right


def test_parts_of_a_logit_have_a_row_for_each_block_of_both_stacks(two_stacks):
    names = [
        f"{stack}.blocks.{i}.{part}"
        for stack in ("encoder", "decoder")
        for i in range(2)
        for part in ("attention.head.0", "feed_forward")
    ]
    parts = LogitParts(["embeddings", *names], np.arange(9.0), 36.0)
    explanation = dataclasses.replace(two_stacks.explanation, parts=parts)
    rows = logit_rows(dataclasses.replace(two_stacks, explanation=explanation))
    assert rows.columns == ("head 0", "feed_forward")
    assert rows.blocks == (
        ("encoder 0", (1.0, 2.0)),
        ("encoder 1", (3.0, 4.0)),
        ("decoder 0", (5.0, 6.0)),
        ("decoder 1", (7.0, 8.0)),
    )
    assert rows.others == (("embeddings", 0.0),)


def test_every_link_of_the_diagram_leads_to_a_box(two_stacks):
    drawn = Page(page(two_stacks))
    ids = [e.attributes["id"] for e in drawn.elements if "id" in e.attributes]
    links = [e.attributes["href"] for e in drawn.all("a") if e.inside("svg")]
    assert {"#box-encoder-blocks", "#box-decoder-blocks-cross_attention"} <= set(links)
    assert {link[1:] for link in links} <= set(ids)
    assert len(ids) == len(set(ids))
    opened = [e.attributes["data-box"] for e in drawn.all(class_="box") if "open" in e.attributes]
    assert opened == ["encoder.blocks.*.attention", "decoder.blocks.*.attention"]
