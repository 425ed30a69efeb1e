"""The specification: every operation in NumPy, written to be read beside its derivation.

Each file holds one subject as a forward/backward pair. Three rules hold throughout:

- One grammar: ``op_backward(dy, <forward's inputs>, <what forward kept>, *, <gradients>, out)``.
  The gradient of an *input* is returned; the gradient of a *parameter* is added into the array
  given by its name (``dweight``, ``dgamma``, ...), because one parameter may be used several times,
  and left out where none is given. What forward computes but backward does not need is not passed.
- Nothing is kept between calls: what backward needs is passed to it.
- Every operation is analytic (no ``abs``, no conjugate, comparisons on real parts only), so that
  it accepts complex numbers and a complex step differentiates it to rounding.
"""

from typing import TYPE_CHECKING

from npgpt.ops.reference.adam import *
from npgpt.ops.reference.addition import *
from npgpt.ops.reference.additive_scores import *
from npgpt.ops.reference.attention import *
from npgpt.ops.reference.batch_norm import *
from npgpt.ops.reference.cached_attention import *
from npgpt.ops.reference.convolution import *
from npgpt.ops.reference.cross_entropy import *
from npgpt.ops.reference.dropout import *
from npgpt.ops.reference.embedding import *
from npgpt.ops.reference.gelu import *
from npgpt.ops.reference.glu import *
from npgpt.ops.reference.gru import *
from npgpt.ops.reference.layer_norm import *
from npgpt.ops.reference.linear import *
from npgpt.ops.reference.lora import *
from npgpt.ops.reference.lstm import *
from npgpt.ops.reference.masking import *
from npgpt.ops.reference.normalise import *
from npgpt.ops.reference.positions import *
from npgpt.ops.reference.preference import *
from npgpt.ops.reference.quantized import *
from npgpt.ops.reference.relu import *
from npgpt.ops.reference.rms_norm import *
from npgpt.ops.reference.rnn import *
from npgpt.ops.reference.rotary import *
from npgpt.ops.reference.sgd import *
from npgpt.ops.reference.silu import *
from npgpt.ops.reference.softmax import *
from npgpt.ops.reference.swiglu import *
from npgpt.ops.reference.tanh import *

if not TYPE_CHECKING:  # checkers and editors follow the imports: what each file's own list names
    __all__ = sorted(
        name for name, value in globals().items() if callable(value) and not name.startswith("_")
    )
