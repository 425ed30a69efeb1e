"""Tokenizers in plain Python: what the compiled ones are proved equal to.

Pre-tokens are found by a regular expression, merges are done one by one.
"""

from npgpt.tokenizers.reference.merging import apply_merges, encode
from npgpt.tokenizers.reference.pre_tokens import PRE_TOKEN, pre_tokens, pre_tokens_of_bytes
from npgpt.tokenizers.reference.training import learn_merges, merge_pair

__all__ = [
    "PRE_TOKEN",
    "apply_merges",
    "encode",
    "learn_merges",
    "merge_pair",
    "pre_tokens",
    "pre_tokens_of_bytes",
]
