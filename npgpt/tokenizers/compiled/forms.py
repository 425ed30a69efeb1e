"""What tokenizers use of the compiled code; `reference.forms` has the same names."""

from npgpt.tokenizers.compiled.codec import MergeEncoder, PieceDecoder
from npgpt.tokenizers.compiled.counting import PreTokenCounts
from npgpt.tokenizers.compiled.training import learn_merges

__all__ = ["MergeEncoder", "PieceDecoder", "PreTokenCounts", "learn_merges"]
