"""For the tests of your own layers: gradients proved over drawn shapes and values.

Needs Hypothesis, which the extra ``test`` brings.
"""

try:
    import hypothesis  # noqa: F401
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "npgpt.testing needs Hypothesis: pip install 'npgpt[test]' brings it."
    ) from None

from npgpt.testing.checks import arrays, assert_gradients_correct, dtypes, shapes
from npgpt.testing.drawn_layers import configs, layers

__all__ = ["arrays", "assert_gradients_correct", "configs", "dtypes", "layers", "shapes"]
