"""What tokenizers use of the compiled code; `reference.forms` has the same names."""

from npgpt.tokenizers.compiled.codec import MergeEncoder as MergeEncoder
from npgpt.tokenizers.compiled.codec import PieceDecoder as PieceDecoder
from npgpt.tokenizers.compiled.counting import PreTokenCounts as PreTokenCounts
from npgpt.tokenizers.compiled.training import learn_merges as learn_merges
from npgpt.tokenizers.compiled.word_pieces import PieceEncoder as PieceEncoder
from npgpt.tokenizers.compiled.word_pieces import Speller as Speller
