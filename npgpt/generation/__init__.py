"""Generation: choosing the next token from logits, and repeating that.

Nothing here knows a model: `generate_tokens` works on any function from token ids to the logits of
the next one.
"""

from npgpt.generation.loop import generate_tokens
from npgpt.generation.sampling import next_token_probabilities, sample_tokens

__all__ = ["generate_tokens", "next_token_probabilities", "sample_tokens"]
