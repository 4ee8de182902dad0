"""Array types used all over the package."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
"""A 2-D array of pixels, shape ``(ny, nx)``."""

FloatImage = NDArray[np.float32]
Mask = NDArray[np.bool_]
Points = NDArray[np.float64]
"""Points as rows of ``(x, y)``, shape ``(n, 2)``, in pixels; pixel centres are whole numbers."""
