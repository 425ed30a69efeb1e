"""The same operations in Numba, made for speed and proved equal to `npgpt.ops.reference`.

Each public function here has its reference twin's name, arguments and results; its docstring is the
twin's. Kernels take contiguous float32 or float64 arrays; whatever else comes (complex numbers, for
a complex step) goes to the reference. Sums over rows are made in fixed chunks, so that the result
does not depend on the number of threads. Machine code is cached on disk beside this file, or in the
user's cache folder where this one cannot be written.
"""

from typing import TYPE_CHECKING

from npgpt.ops.compiled.activations import *
from npgpt.ops.compiled.adam import *
from npgpt.ops.compiled.addition import *
from npgpt.ops.compiled.additive_scores import *
from npgpt.ops.compiled.attention import *
from npgpt.ops.compiled.cached_attention import *
from npgpt.ops.compiled.convolution import *
from npgpt.ops.compiled.cross_entropy import *
from npgpt.ops.compiled.dropout import *
from npgpt.ops.compiled.embedding import *
from npgpt.ops.compiled.gelu import *
from npgpt.ops.compiled.gru import *
from npgpt.ops.compiled.layer_norm import *
from npgpt.ops.compiled.linear import *
from npgpt.ops.compiled.lora import *
from npgpt.ops.compiled.lstm import *
from npgpt.ops.compiled.quantized import *
from npgpt.ops.compiled.rms_norm import *
from npgpt.ops.compiled.rnn import *
from npgpt.ops.compiled.rotary import *
from npgpt.ops.compiled.sgd import *

if not TYPE_CHECKING:  # checkers and editors follow the imports: what each file's own list names
    __all__ = sorted(
        name for name, value in globals().items() if callable(value) and not name.startswith("_")
    )
