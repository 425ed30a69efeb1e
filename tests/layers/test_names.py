"""Dotted names: where in a model they are, and that one file alone looks for that."""

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import npgpt
from npgpt.finetuning.freezing import train_last_block
from npgpt.layers.core.names import parent_of, pattern_of, place_of, stacks_of
from tests.models.test_new_families import recurrent, translator
from tests.models.tiny import CONFIGS, shaken_model

PACKAGE = Path(npgpt.__file__).parent
WORDS = st.from_regex(r"[a-z_]+[0-9]?", fullmatch=True)
PATHS = st.lists(WORDS, max_size=3).map(".".join)


@given(st.lists(WORDS, min_size=1, max_size=3).map(".".join), st.integers(0, 99), PATHS)
def test_a_name_is_cut_at_its_first_number(stack, number, rest):
    name = ".".join(filter(None, (stack, str(number), rest)))
    assert place_of(name) == (stack, number, rest)
    pattern, found = pattern_of(name)
    assert (pattern.replace("*", str(number)), found) == (name, number)
    assert place_of(pattern) == (stack, None, rest)
    assert place_of(f"{name}.head.7" if rest else name) == (
        stack,
        number,
        rest and f"{rest}.head.7",
    )


@given(PATHS)
def test_a_name_without_a_number_is_left_whole(name):
    assert place_of(name) == ("", None, name)
    assert pattern_of(name) == (name, None)


def test_the_parent_of_a_layer_is_the_layer_that_holds_it():
    for model in (translator(), shaken_model(CONFIGS["tied"])):
        names = {name for name, _ in model.named_layers()}
        for name, layer in model.named_layers():
            for inside, _ in layer.children():
                if inside:  # a stack without a name of its own is named as what holds it
                    assert parent_of(f"{name}.{inside}".lstrip(".")) == name
            assert parent_of(name) in names


def test_depths_go_on_from_the_encoder_to_the_decoder():
    names = list(translator(n_layers=3).state_dict())
    expected = {"encoder.blocks": range(3), "decoder.blocks": range(3, 6)}
    assert stacks_of(names) == expected
    assert stacks_of(reversed(names)) == {
        "decoder.blocks": range(3),
        "encoder.blocks": range(3, 6),
    }
    assert stacks_of(recurrent().state_dict()) == {}


def test_blocks_that_are_alike_share_a_row_of_the_summary_in_each_stack():
    model = translator(n_layers=3)
    rows = {row.name: row.copies for row in npgpt.models.summary.Summary.of(model).rows}
    assert rows["encoder.blocks.0-2.attention.qkv.weight"] == 3
    assert rows["decoder.blocks.0-2.cross_attention.kv.weight"] == 3
    assert rows["encoder.final_norm.gamma"] == rows["decoder.final_norm.gamma"] == 1
    assert sum(rows.values()) == len(model.parameters())


def test_the_last_block_of_two_stacks_is_the_decoders():
    trained = train_last_block(translator(n_layers=3))
    assert {place_of(name)[:2] for name in trained} == {("decoder.blocks", 2), ("", None)}
    assert [name for name in trained if "final_norm" in name] == [
        "decoder.final_norm.gamma",
        "decoder.final_norm.beta",
    ]


def test_a_model_without_blocks_has_no_last_one():
    with pytest.raises(ValueError, match="Recurrent has no stack of blocks"):
        train_last_block(recurrent())


# --- no other file looks for blocks by their name -------------------------------------------------

LOOKS_FOR_BLOCKS = re.compile(r"(?<![ \w])blocks\\?\.")
# what says how the parts of a model are called
DEFINITIONS = ("hub/architectures/", "models/gpt.py")


def strings_of(path):
    """Yield every string of a file that is no docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node.value


def test_no_file_finds_blocks_by_the_words_of_their_names():
    found = []
    for path in sorted(PACKAGE.rglob("*")):
        name = path.relative_to(PACKAGE).as_posix()
        if path.suffix == ".py" and not name.startswith(DEFINITIONS):
            found += [name for text in strings_of(path) if LOOKS_FOR_BLOCKS.search(text)]
        elif path.suffix in (".html", ".svg", ".js", ".css"):
            text = path.read_text(encoding="utf-8")
            found += [name for _ in re.findall(r"[\"']blocks\b", text)]
    assert not found


@pytest.mark.parametrize(
    ("code", "is_found"),
    [
        ('name.startswith("blocks.")', True),
        ('f"blocks.{i}.attention"', True),
        ('f"{prefix}.blocks.{i}"', True),
        ('re.compile(r"blocks\\.(\\d+)")', True),
        ('"Numbers of blocks."', False),
        ('"blocks"', False),
        ('def f():\n    """Such as blocks.3, or ``blocks.3``."""', False),
    ],
)
def test_what_looks_for_blocks_is_noticed(code, is_found, tmp_path):
    path = tmp_path / "file.py"
    path.write_text(code)
    assert any(map(LOOKS_FOR_BLOCKS.search, strings_of(path))) == is_found
