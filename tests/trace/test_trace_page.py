"""The page of a trace: its structure, its escaping, and that it needs nothing else."""

import base64
import builtins
import hashlib
import io
import re

import numpy as np
import pytest

import npgpt
from npgpt.tokenizers import CharTokenizer
from npgpt.trace.array_views import HeatMap
from npgpt.trace.page import frame
from npgpt.trace.page.colours import COLOUR_MAP, LEVELS, levels, style
from npgpt.trace.page.depth_plots import depth_plots, time_plots
from npgpt.trace.page.diagram import diagram
from npgpt.trace.page.heat_images import heat_image
from tests.trace.trace_pages import KINDS, NASTY, Page, nasty_pages, plain_page, plain_trace, traced

PIL = pytest.importorskip("PIL.Image")
pytest.importorskip("jinja2")


@pytest.fixture(scope="module")
def page():
    return Page(plain_page())


every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_every_section_and_every_box_is_there(kind):
    page = Page(plain_page(kind))
    sections = {s.attributes.get("id") for s in page.all("section")}
    assert {"tokens", "explanation", "flow", "model", "reading"} <= sections
    boxes = {
        element.attributes["data-box"]: element for element in page.all("details", class_="box")
    }
    assert list(boxes) == [box.name for box in plain_trace(kind).boxes]
    for box in plain_trace(kind).boxes:
        text = boxes[box.name].text
        assert box.kind in text
        for line in box.equation.forward + box.equation.backward:
            assert line in text
        for source in box.code:
            assert f"{source.path}:{source.first}" in text
            assert source.lines[-1][1] in text
        for instance in box.instances:
            for array in instance.arrays:
                assert " × ".join(map(str, array.value.shape)) in text


@every_kind
def test_links_of_the_diagram_lead_into_boxes(kind):
    page = Page(plain_page(kind))
    ids = {
        element.attributes["id"]: element for element in page.elements if "id" in element.attributes
    }
    assert len(ids) == len([e for e in page.elements if "id" in e.attributes])  # none twice
    links = [e for e in page.all("a") if e.inside("svg")]
    assert len(links) > 4
    for link in page.all("a"):
        target = ids[link.attributes["href"].removeprefix("#")]
        if link.inside("svg"):  # inside the details, so that a browser without scripts opens them
            assert target.inside("details", class_="box")
    inside = {"gpt": "blocks-attention", "conv": "convolutions-gate"}.get(kind, "network-hidden")
    assert {link.attributes["href"] for link in links} >= {f"#box-{inside}", "#box-head"}


def test_without_scripts_every_layer_and_head_is_in_the_page(page):
    hidden = [e for e in page.elements if "hidden" in e.attributes]
    assert {e.tag for e in hidden} == {"form", "p", "g"}  # what needs scripts; labels at one place
    layers = [
        e.attributes["data-layer"]
        for e in page.all("section", class_="instance")
        if "data-layer" in e.attributes
    ]
    assert set(layers) == {"0", "1", "2"}
    attention = [i for i in page.all("img") if i.inside(data_box="blocks.*.attention")]
    per_head = [i for i in attention if i.inside("div", class_="pair head")]
    assert (
        len(per_head) == 3 * 2 * 6 * 2
    )  # layers, heads, q k v scores weights context, with gradients
    rows = [e for e in page.all("tr") if e.inside("section", id="tokens")]
    assert len(rows) == 1 + len(plain_trace().predictions)


def test_every_image_has_a_text_and_every_table_has_heads(page):
    assert page.all("img")
    assert all(image.attributes["alt"].startswith("Heat map of") for image in page.all("img"))
    for table in page.all("table"):
        assert [e for e in page.all("th") if e.parent and table in _ancestors(e)]
    for cell in page.all("th"):
        assert cell.attributes["scope"] in ("row", "col")
    assert page.all("html")[0].attributes["lang"] == "en"


def _ancestors(element):
    while element.parent is not None:
        element = element.parent
        yield element


@every_kind
def test_every_image_is_that_of_its_array(kind):
    page, shown = Page(plain_page(kind)), {}
    for image in page.all("img"):
        figure = image.parent.attributes["class"].split()[1]
        place = next(e for e in _ancestors(image) if e.attributes.get("class") == "instance")
        name = next(e.text for e in page.all("h4") if e.parent is place)
        shown[name, figure, image.attributes["data-caption"]] = image.attributes["src"]
    expected = {}
    for box in plain_trace(kind).boxes:
        for instance in box.instances:
            for array in instance.arrays:
                for which, view, prefix in (
                    ("value", array.value, ""),
                    ("grad", array.grad, "gradient of "),
                ):
                    for head, heat_map in enumerate(view.maps):
                        caption = (
                            prefix + array.name + (f", head {head}" if array.has_heads else "")
                        )
                        expected[instance.title, which, caption] = heat_image(heat_map).data
    assert shown == expected


@pytest.mark.parametrize("which", [0, 1])
def test_a_text_cannot_break_out_of_the_page(which):
    html = nasty_pages()[which]
    page = Page(html)
    assert len(page.all("script")) == 1
    assert len(page.all("style")) == 1
    assert NASTY.partition("\n")[0] in page.all("title")[0].text
    assert "<script>alert" not in html
    assert "\0" not in html
    assert "\u202e" not in html
    assert "\u2066" not in html
    assert html.count("<!--") == 0
    expected = Page(plain_page())
    assert {e.tag for e in page.elements} == {e.tag for e in expected.elements}
    tokens = [
        e.text
        for e in page.all("bdi")
        if e.inside("ol", aria_label="Loss of each token, given those before it")
    ]
    assert tokens[:9] == list("</style><")
    assert {"↵", "⇥", r"\x00", (r"U+202E", r"\xe2")[which]} <= set(tokens)
    assert len(tokens) == len(NASTY) if which == 0 else len(tokens) == len(NASTY.encode())


def test_the_page_loads_nothing_and_only_its_own_script_may_run(page):
    html = plain_page()
    assert not re.search(r"https?://", html)
    assert not re.search(r"@import|url\((?!#)", html)
    for element in page.elements:
        assert "onclick" not in element.attributes
        for name in ("src", "href"):
            value = element.attributes.get(name, "#")
            assert value.startswith(("#", "data:image/png;base64,"))
    policy = page.all("meta", http_equiv="Content-Security-Policy")[0].attributes["content"]
    digest = base64.b64encode(hashlib.sha256(page.all("script")[0].text.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_a_page_says_which_layers_carry_heat_maps():
    some = Page(traced(CharTokenizer("ab"), "abab", layers=[1]).to_html())
    none = Page(traced(CharTokenizer("ab"), "abab", layers=[]).to_html())
    assert "Of 3 layers, 1 carries heat maps" in some.all("body")[0].text
    assert "No layer carries heat maps" in none.all("body")[0].text
    layers = {
        e.attributes["data-layer"]
        for e in some.all("section", class_="instance")
        if "data-layer" in e.attributes
    }
    assert layers == {"0", "1", "2"}  # all have statistics
    assert not [i for i in none.all("img") if i.inside(data_layer="0")]
    assert [i for i in some.all("img") if i.inside(data_layer="1")]


def test_a_page_of_gpt2s_depth_and_width_stays_small():
    # 12 layers of 12 heads over 64 tokens, each heat map as large as one can be; three layers shown
    config = npgpt.GPTConfig(700, 64, n_layers=12, n_heads=12, d_model=192)
    tokenizer = CharTokenizer(map(chr, range(256, 955)))
    text = "".join(tokenizer.characters[i] for i in np.random.default_rng(0).integers(0, 699, 64))
    page = npgpt.trace.trace(npgpt.GPT(config), tokenizer, text, steps=1).to_html()
    assert len(page) < 4e6


@pytest.mark.parametrize(
    "changes",
    [
        {"norm_position": "post"}, {"shortcut": False}, {"position": "alibi"}, {"norm": "none"},
        {"norm": "rms", "activation": "swiglu", "position": "rope", "n_kv_heads": 1, "bias": False},
    ],
)  # fmt: skip
def test_every_kind_of_model_has_a_page(changes):
    tokenizer = CharTokenizer("abcde ")
    config = npgpt.GPTConfig(tokenizer.vocab_size, 16, n_layers=2, n_heads=2, d_model=8, **changes)
    traced = npgpt.trace.trace(npgpt.GPT(config), tokenizer, "abba cab", steps=1)
    page = Page(traced.to_html())
    drawn = {link.attributes["href"] for link in page.all("a") if link.inside("svg")}
    assert drawn >= {
        "#box-blocks-attention",
        "#box-blocks-attention_norm",
        "#box-blocks-feed_forward",
    }
    is_sum = config.shortcut and config.norm_position == "pre"
    assert ("sum: the logit" in page.all("body")[0].text) is is_sum
    assert len(page.all("circle", class_="sum")) == 2 * config.shortcut
    for tag, attribute in (("rect", "y"), ("text", "y"), ("circle", "cy")):
        height = float(page.all("svg", role="group")[0].attributes["viewbox"].split()[3])
        places = [
            float(e.attributes[attribute]) for e in page.all(tag) if e.inside("svg", role="group")
        ]
        assert all(0 <= place <= height for place in places)


@pytest.mark.parametrize(
    ("kind", "gates"),
    [
        ("rnn", ["hidden"]),
        ("gru", ["reset_gate", "update_gate", "candidate", "hidden"]),
        ("lstm", ["input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden"]),
    ],
)
def test_a_recurrent_layer_is_drawn_with_its_gates_and_states(kind, gates):
    drawn = diagram(plain_trace(kind))
    network = next(node for node in drawn.nodes if node.name == "network")
    assert [part.label for part in network.parts] == gates
    (loop,), (frame,) = drawn.loops, drawn.frames
    assert network.y < loop.end < loop.begin < network.y + network.height
    assert frame.y < network.y
    assert network.y + network.height < frame.y + frame.height
    assert frame.label == "layer, 2 times"
    assert [label.block for label in drawn.labels] == [None, 0, 1]
    page = Page(plain_page(kind))
    for gate in gates:  # rows are tokens, beside them
        images = [i for i in page.all("img") if i.inside("details", data_box=f"network.{gate}")]
        assert len(images) == 2 * 2
        assert {i.attributes["data-shape"] for i in images} == {"9 8"}
        rows = [e for e in page.all("li") if e.inside("details", data_box=f"network.{gate}")]
        assert [row.text for row in rows[:9]] == list("abba␣cab.")
    over_time = time_plots(plain_trace(kind))
    assert {len(line.points) for line in over_time[0].lines} == {9}


def test_convolutions_are_drawn_with_their_halves_and_shortcuts():
    drawn = diagram(plain_trace("conv"))
    glu = next(node for node in drawn.nodes if node.name == "convolutions.*.glu")
    assert [part.label for part in glu.parts] == ["value", "gate"]
    assert len(drawn.shortcuts) == 1
    assert len(drawn.labels) == 1 + 2
    assert "sum: the logit" in Page(plain_page("conv")).all("body")[0].text
    assert "a RNNLM has none" in Page(plain_page("rnn")).all("body")[0].text
    assert "Head" not in Page(plain_page("conv")).all("form")[0].text


# --- colours and images ----------------------------------------------------------------------


def test_a_heat_map_is_an_image_whose_colours_say_the_values():
    cells = np.array([[0.0, 1.0, -1.0], [0.5, np.nan, -7.0]], np.float32)
    image = heat_image(HeatMap(cells, (2, 3), 2.0))
    png = base64.b64decode(image.data.removeprefix("data:image/png;base64,"))
    pixels = np.asarray(PIL.open(io.BytesIO(png)).convert("RGBA"))
    assert pixels.shape == (2, 3, 4)
    assert pixels[1, 1, 3] == 0  # no value: transparent
    assert (pixels[..., 3] == 0).sum() == 1
    for place, share in (
        ((0, 0), 0.0),
        ((0, 1), 0.5),
        ((0, 2), -0.5),
        ((1, 0), 0.25),
        ((1, 2), -1.0),
    ):
        level = LEVELS + round(share * LEVELS)
        np.testing.assert_array_equal(pixels[place][:3], COLOUR_MAP[level])


def test_every_level_has_a_colour_of_its_own():
    assert len({tuple(colour) for colour in COLOUR_MAP.tolist()}) == 2 * LEVELS + 1


def test_colours_grow_darker_away_from_0_for_all_eyes():
    # lightness alone tells magnitudes apart; blue against orange tells the sign, also without red or green
    lightness = COLOUR_MAP @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(lightness[LEVELS:]) <= 0.5).all()
    assert (np.diff(lightness[: LEVELS + 1]) >= -0.5).all()
    below, above = COLOUR_MAP[:LEVELS].astype(int), COLOUR_MAP[LEVELS + 1 :].astype(int)
    assert (below[:, 2] >= below[:, 0]).all()
    assert (above[:, 2] <= above[:, 0]).all()


def test_all_zeros_have_the_colour_of_0():
    np.testing.assert_array_equal(levels(np.zeros(3), 0.0), LEVELS + 1)


@pytest.mark.parametrize("value", [-1.0, -0.6, -0.2, 0.0, 0.2, 0.6, 1.0])
def test_what_is_written_on_a_colour_can_be_read(value):
    background, colour = re.findall(r"#(\w+)", style(value, 1.0))

    def luminance(digits):
        digits = digits if len(digits) == 6 else "".join(2 * c for c in digits)
        parts = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ np.array([0.2126, 0.7152, 0.0722])

    light, dark = sorted([luminance(background), luminance(colour)], reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2, contrast of text


def test_the_plots_have_every_block_and_stay_inside():
    plots = depth_plots(plain_trace())
    assert [len(plot.lines) for plot in plots] == [3, 3, 4]
    assert [len(line.points) for line in plots[0].lines] == [7, 3, 3]
    others = [plain_trace(kind) for kind in KINDS[1:]]
    assert [len(depth_plots(other)) for other in others] == [3] * 4
    assert [len(time_plots(other)) for other in others] == [2, 2, 2, 0]
    plots += [plot for other in others for plot in [*depth_plots(other), *time_plots(other)]]
    for plot in plots:
        for line in plot.lines:
            for point in line.points:
                assert plot.left <= point.x <= plot.right
                assert plot.top <= point.y <= plot.bottom
            xs = [point.x for point in line.points]
            assert xs == sorted(xs)


# --- elsewhere than in a file ----------------------------------------------------------------


def test_a_notebook_shows_the_page_in_a_frame_of_its_own():
    frame_element = Page(plain_trace()._repr_html_()).all("iframe")[0]
    assert frame_element.attributes["srcdoc"] == plain_page()
    assert frame_element.attributes["sandbox"] == "allow-scripts"
    assert frame(plain_trace()) == plain_trace()._repr_html_()


@pytest.mark.parametrize(("module", "package"), [("jinja2", "Jinja2"), ("PIL", "Pillow")])
def test_without_a_package_it_says_what_to_install(module, package, monkeypatch, tmp_path):
    original = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.partition(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ModuleNotFoundError, match=rf"needs {package}: pip install 'npgpt\[lab\]'"):
        plain_trace().save(tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
