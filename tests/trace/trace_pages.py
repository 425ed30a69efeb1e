"""Pages of traces for the tests, and a reader of pages."""

import functools
from html.parser import HTMLParser

import npgpt
from npgpt.models import MODELS
from npgpt.tokenizers import BPETokenizer, CharTokenizer
from npgpt.trace import trace

KINDS = ["gpt", "rnn", "gru", "lstm", "conv"]
VOID = {"meta", "img", "br", "link", "input", "hr"}
NASTY = "</style><script>alert(1)</script>\"'&amp;\n\t\0\u202e\u2066🙂́<!--]]>{{x}}{% y %}"


def traced(tokenizer, text, n_layers=3, n_heads=2, layers=None, **options):
    """Trace a text through a small model with random weights."""
    config = npgpt.GPTConfig(
        tokenizer.vocab_size, 128, n_layers=n_layers, n_heads=n_heads, d_model=8 * n_heads
    )
    model = npgpt.GPT(config, seed=3)
    return trace(model, tokenizer, text, layers=layers, steps=2, name=NASTY, **options)


@functools.cache
def plain_trace(kind="gpt"):
    """Return a trace of an ordinary text through a small model of a family."""
    tokenizer = CharTokenizer("abcde .")
    if kind == "gpt":
        return traced(tokenizer, "abba cab.")
    family = MODELS[kind]
    model = family(family.Config(tokenizer.vocab_size, 4, n_layers=2, d_model=8), seed=3)
    return trace(model, tokenizer, "abba cab.", steps=2)


@functools.cache
def plain_page(kind="gpt"):
    """Return the page of an ordinary text."""
    return plain_trace(kind).to_html()


@functools.cache
def nasty_pages():
    """Return pages of a text that tries to break out, by characters and by bytes."""
    tokenizers = CharTokenizer(NASTY), BPETokenizer([])
    return [traced(tokenizer, NASTY, n_layers=1).to_html() for tokenizer in tokenizers]


class Element:
    """A tag with its attributes, its place and the text inside it."""

    def __init__(self, tag, attributes, parent):
        self.tag, self.attributes, self.parent = tag, dict(attributes), parent
        self.text = ""

    def inside(self, tag=None, **attributes):
        """Tell whether an ancestor has this tag and these attributes."""
        wanted = _names(attributes)
        here = self.parent
        while here is not None:
            if tag in (None, here.tag) and wanted.items() <= here.attributes.items():
                return True
            here = here.parent
        return False


def _names(attributes):
    return {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}


class Page(HTMLParser):
    """Reads a page; raises AssertionError where tags do not fit each other."""

    def __init__(self, html):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(html)
        self.close()
        assert not self._open, [element.tag for element in self._open]

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"{tag} has an attribute twice: {names}"
        element = Element(tag, attrs, self._open[-1] if self._open else None)
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(Element(tag, attrs, self._open[-1] if self._open else None))

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> without a beginning"
        assert self._open[-1].tag == tag, f"</{tag}> ends <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data):
        for element in self._open:
            element.text += data

    def all(self, tag=None, **attributes):
        """List the elements with a tag and attributes."""
        wanted = _names(attributes)
        return [
            element
            for element in self.elements
            if tag in (None, element.tag) and wanted.items() <= element.attributes.items()
        ]
