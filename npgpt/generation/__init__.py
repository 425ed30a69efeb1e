"""Generation: choosing the next token from logits, and repeating that.

Nothing here knows a model: `generate_tokens` and `beam_search` work on anything that reads prompts
and gives the logits of the next token, step by step; `stream_text` makes text of the tokens.
"""

from npgpt.generation.beam import LENGTH_PENALTIES, Hypothesis, beam_search, search_beams
from npgpt.generation.decoders import (
    ContextWarning,
    EveryTime,
    StepByStep,
    prompts_of,
    window_start,
)
from npgpt.generation.loop import generate_tokens
from npgpt.generation.sampling import (
    Sampling,
    next_token_probabilities,
    penalize_repetition,
    sample_tokens,
)
from npgpt.generation.text import continuation, ids_without_token, sampling_with, stream_text
from npgpt.generation.translated import TranslatedText, translate_texts
from npgpt.generation.translates import Encoded, Translation
from npgpt.generation.translating import Translating

__all__ = [
    "LENGTH_PENALTIES",
    "ContextWarning",
    "Encoded",
    "EveryTime",
    "Hypothesis",
    "Sampling",
    "StepByStep",
    "TranslatedText",
    "Translating",
    "Translation",
    "beam_search",
    "continuation",
    "generate_tokens",
    "ids_without_token",
    "next_token_probabilities",
    "penalize_repetition",
    "prompts_of",
    "sample_tokens",
    "sampling_with",
    "search_beams",
    "stream_text",
    "translate_texts",
    "window_start",
]
