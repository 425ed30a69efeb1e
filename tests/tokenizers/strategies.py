"""Texts that tokenizers find hard."""

from hypothesis import strategies as st

# one of each alternative of the pattern, every width of UTF-8, marks, joiners, digits of scripts
SNIPPETS = st.sampled_from(
    ["'s", "'ll", "'", " 're", "  ", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\x1c", "\x85",
     "don't", "naïve", "e\u0301", "日本語", "١٢٣", "४५", "Ⅻ", "½", "👩‍👩‍👧‍👦", "🇨🇭", "👍🏽", "\u200d", "\ufeff", "\x00",
     "\U0010ffff", "<|endoftext|>", "_", "--", "0", "100", "a" * 40],
)  # fmt: skip
WHITE_SPACE = st.sampled_from(
    [*"\t\n\x0b\x0c\r \x85\xa0\u1680", *map(chr, range(0x2000, 0x200B)), *"\u2028\u2029\u202f\u205f\u3000"]
)  # fmt: skip
TEXTS = st.lists(SNIPPETS | st.text(max_size=12) | WHITE_SPACE | st.text("ab '", max_size=9)).map(
    "".join
)
WITH_SURROGATES = st.lists(TEXTS | st.text(st.characters(categories=["Cs"]), max_size=3)).map(
    "".join
)
BYTES = st.lists(st.binary(max_size=12) | TEXTS.map(str.encode), max_size=8).map(b"".join)
