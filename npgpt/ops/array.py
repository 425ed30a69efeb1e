"""The types that operations are written in."""

import numpy as np

Array = np.ndarray  # of which shape, each docstring says
Scalar = float | np.floating
