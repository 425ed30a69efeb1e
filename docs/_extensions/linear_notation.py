"""Equations of docstrings, which a terminal shows as they stand, as TeX for a page.

A docstring says ``y = gamma * (x - mean) / sqrt(var + eps) + beta`` or ``q = x W_q^T + b_q``. The
grammar: relations, sums, products (``*``, ``@``, a dot, or a space between factors), fractions
(without spaces around it ``/`` takes one factor on either side), powers, calls, indices, norms
between bars, ``sum_i`` and ``sqrt``. What does not follow it stays code.
"""

from __future__ import annotations

import re

LETTERS = {"eps": "\\epsilon", "inf": "\\infty", "ih": "ih"} | {
    name: f"\\{name}"
    for name in (
        "alpha", "beta", "gamma", "delta", "theta", "lambda", "mu", "pi", "sigma", "phi", "omega",
        "Phi", "Sigma",
    )
}  # fmt: skip
FUNCTIONS = {"log": "\\log", "exp": "\\exp", "sin": "\\sin", "cos": "\\cos", "tanh": "\\tanh"}
RELATIONS = {"=": "=", "<=": "\\le", ">=": "\\ge", "<": "<", ">": ">"} | {
    f"{sign}=": f"\\mathrel{{{sign}{{=}}}}" for sign in "+-"
}
RELATIONS["*="] = "\\mathrel{\\ast{=}}"
SUMS = {"+": "+", "-": "-", "+-": "\\pm"}
PRODUCTS = {"*": " \\ast ", "@": "\\; ", ".": " \\cdot "}
WORDS = ("in", "kv", "lr", "up")  # indices of two letters that are words
TOKEN = re.compile(
    r"(?P<space>\s*)(?P<text>\d+(?:,\d{3})*(?:\.\d+)?|[A-Za-z][A-Za-z0-9]*(?:_\{[^}]*\}|_[A-Za-z0-9]+)*"
    r"|\.\.\.|!!|\*\*|\+-|[-+*<>]=|[-+*/@^=<>|()\[\],.!])"
)
OPERATION = re.compile(r" ([-+*]?=|[-+*/@]|[<>]=?) |\^|sqrt|sum_|\|.*\|")
CODE = re.compile(r"[\"'`:;#$~\\?]|<\||\w=\S|\S=\w|\w\.[a-z]{2}|->|^\W+$|^--")


GRADIENT = re.compile(r"d([A-Za-z]|beta|gamma|gate|logits|loss|margin|scores?|up|weights?)")


class NotAnEquationError(ValueError):
    """The text is not in the notation."""


def to_tex(text: str) -> str | None:
    r"""Translate an equation or a term; None for what is code.

    Examples
    --------
    >>> to_tex("w_s = exp(scores_s) / sum_r exp(scores_r)")
    'w_{s} = \\frac{\\exp(\\mathrm{scores}_{s})}{\\sum_{r} \\exp(\\mathrm{scores}_{r})}'
    >>> to_tex("GPT(config, seed=0)") is None
    True
    """
    text = " ".join(text.split())
    if CODE.search(text) or not OPERATION.search(text):
        return None
    try:
        return Parser(text).whole()
    except NotAnEquationError:
        return None


class Parser:
    """Recursive descent, a method for each level of the grammar."""

    def __init__(self, text: str):
        self.tokens, place = [], 0
        while place < len(text):
            match = TOKEN.match(text, place)
            if not match:
                raise NotAnEquationError(text)
            self.tokens.append((bool(match["space"]), match["text"]))
            place = match.end()
        self.place, self.bars, self.raised = 0, 0, 0

    def peek(self, ahead: int = 0) -> str:
        """Return a token that comes, or "" behind the last."""
        place = self.place + ahead
        return self.tokens[place][1] if place < len(self.tokens) else ""

    def spaced(self, ahead: int = 0) -> bool:
        """Say whether a space stands before a token that comes."""
        place = self.place + ahead
        return place < len(self.tokens) and self.tokens[place][0]

    def take(self, expected: str | None = None) -> str:
        """Return the next token and step over it."""
        token = self.peek()
        if not token or expected not in (None, token):
            raise NotAnEquationError(token)
        self.place += 1
        return token

    def whole(self) -> str:
        """Translate everything."""
        tex = self.items()
        if self.peek():
            raise NotAnEquationError(self.peek())
        return tex

    def items(self) -> str:
        """Relations with commas between them."""
        tex = self.relation()
        while self.peek() == ",":
            self.take()
            tex += ",\\; " + self.relation()
        return tex

    def relation(self) -> str:
        """Sums with a sign of relation between them; a bar in parentheses means "given"."""
        tex = self.sum()
        while self.peek() in RELATIONS or (self.peek() == "|" and not self.bars):
            sign = self.take()
            tex += f" {RELATIONS.get(sign, chr(92) + 'mid')} {self.sum()}"
        return tex

    def sum(self) -> str:
        """Products with plus or minus between them."""
        tex = self.take() if self.peek() == "-" else ""
        tex += self.product()
        while self.peek() in SUMS:
            tex += f" {SUMS[self.take()]} {self.product()}"
        return tex

    def starts_factor(self) -> bool:
        """Say whether the next token begins a factor."""
        token = self.peek()
        return token == "..." or token[:1].isalnum() or token == "(" or (
            token == "|" and not self.bars and self.spaced() and not self.spaced(1)
        )  # fmt: skip

    def product(self) -> str:
        """Factors, and what they are divided by, from left to right."""
        tex = self.quotient()
        while True:
            if self.peek() in PRODUCTS:
                tex += PRODUCTS[self.take()] + self.quotient()
            elif self.peek() == "/":
                self.take()
                tex = self.fraction(tex, self.quotient())
            elif self.starts_factor():
                tex += ("\\;" if self.spaced() else "") + " " + self.quotient()
            else:
                return tex

    def quotient(self) -> str:
        """Read a factor, or two with a ``/`` that has no spaces around it: ``x/2``."""
        tex = self.factor()
        while self.peek() == "/" and not self.spaced():
            self.take()
            tex = self.fraction(tex, self.factor())
        return tex

    def fraction(self, above: str, below: str) -> str:
        """Write one number over another; in an exponent beside it."""
        if self.raised:
            return f"{above}/{below}"
        return f"\\frac{{{without_parentheses(above)}}}{{{without_parentheses(below)}}}"

    def factor(self) -> str:
        """Read a number with a name (``2i``), a differential (``d theta``), or a power."""
        if self.peek() == "d" and self.spaced(1) and self.peek(1)[:1].isalpha():
            self.take()
            tex = f"d\\,{self.power()}"
            if self.peek() == "/" and self.peek(1)[:1] == "d":
                self.take()
                tex = self.fraction(tex, self.factor())
            return tex
        tex = self.power()
        if tex.isdigit() and self.peek()[:1].isalpha() and not self.spaced():
            tex += f" {self.power()}"
        return tex

    def power(self) -> str:
        """Read an atom and its exponent."""
        tex = self.atom()
        if self.peek() == "." and self.peek(1) == "T" and not self.spaced(1):
            self.place += 2
            return f"{tex}^{{\\top}}"
        if self.peek() not in ("^", "**"):
            return tex
        self.take()
        self.raised += 1
        if self.peek() == "T":
            self.take()
            exponent = "\\top"
        else:
            sign = self.take() if self.peek() == "-" else ""
            exponent = sign + without_parentheses(self.atom())
        self.raised -= 1
        return f"{tex}^{{{exponent}}}" + self.argument(tex)

    def argument(self, function: str) -> str:
        """What follows the name of a function without parentheses: ``tanh u``."""
        if function in FUNCTIONS.values() and self.starts_factor():
            return f" {self.factor()}"
        return ""

    def atom(self) -> str:
        """Read a number, a name, a call, a sum, a root, or something in parentheses or bars."""
        token = self.take()
        if token == "(":
            tex = f"({self.items()})"
            self.take(")")
        elif token == "|":
            self.bars += 1
            tex = f"\\lvert {self.relation()} \\rvert"
            self.bars -= 1
            self.take("|")
        elif token == "...":
            return "\\dots"
        elif token[0].isdigit():
            return token.replace(",", "{,}")
        elif token == "sqrt":
            return f"\\sqrt{{{without_parentheses(self.power())}}}"
        elif token.startswith("sum_") or (
            token == "sum" and self.peek() not in ("(", "of", "over")
        ):
            return f"\\sum{subscript(token[4:])} {self.product()}"
        elif token[0].isalpha():
            tex = self.name(token)
        else:
            raise NotAnEquationError(token)
        while self.peek() == "[" or self.peek() in ("!", "!!"):
            tex += self.take()
            if tex.endswith("["):
                tex += self.items() + self.take("]")
        return tex

    def name(self, token: str) -> str:
        """Read a variable, or a function with its arguments."""
        call = self.peek() == "(" and not self.spaced()
        tex = FUNCTIONS.get(token) or symbol(token, call)
        if call:
            self.take()
            bars, self.bars = self.bars, 0
            tex += f"({self.items()})"
            self.bars = bars
            self.take(")")
        elif self.peek() != "^":
            tex += self.argument(tex)
        return tex


def without_parentheses(tex: str) -> str:
    """Drop the parentheses round a whole term, where a bar or a raised place groups already."""
    if not (tex.startswith("(") and tex.endswith(")")):
        return tex
    depth = 0
    for place, character in enumerate(tex):
        depth += (character == "(") - (character == ")")
        if depth == 0 and place < len(tex) - 1:
            return tex
    return tex[1:-1]


def symbol(name: str, call: bool = False) -> str:
    """Translate a name: ``W_qkv``, ``dx_hat``, ``theta``, ``head_size``."""
    name = re.sub(r"^([a-z])(\d)$", r"\1_\2", name.replace("{", "").replace("}", ""))
    if name == "dlog_p":
        return "d\\log p"
    base, _, below = name.partition("_")
    hat = below == "hat"
    gradient = "d" if GRADIENT.fullmatch(base) else ""
    letter = base[len(gradient) :]
    long = letter not in LETTERS and len(letter) > 1
    if long and (len(below) > 2 or below in WORDS) and letter != "logits":
        return f"\\mathrm{{{name.replace('_', chr(92) + '_')}}}"
    if long:
        letter = f"\\operatorname{{{letter}}}" if call else f"\\mathrm{{{letter}}}"
    letter = LETTERS.get(letter, letter)
    if hat:
        return f"{gradient}\\hat{{{letter}}}"
    return gradient + letter + subscript(below)


def subscript(text: str) -> str:
    """Write indices, ``ts``, in italics and words, ``projection``, upright."""
    text = text.strip("{}").replace("_", "\\_")
    if not text:
        return ""
    italic = (len(text) <= 2 or re.search(r"[,+-]", text)) and text not in WORDS
    return f"_{{{text}}}" if italic else f"_{{\\mathrm{{{text}}}}}"
