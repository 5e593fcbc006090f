"""Functions that the array API lacks."""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from statformer.batch import Array


def log_gamma(x: Array) -> Array:
    """log Gamma(x), x >= 0.5: Stirling's series after eight steps up (error < 4e-12)."""
    xp = array_namespace(x)
    product = x
    for step in range(1, 8):
        product = product * (x + float(step))
    y = x + 8.0
    series = 1.0 / (12.0 * y) - 1.0 / (360.0 * y**3) + 1.0 / (1260.0 * y**5)
    series = series - 1.0 / (1680.0 * y**7)
    return (y - 0.5) * xp.log(y) - y + 0.5 * math.log(2.0 * math.pi) + series - xp.log(product)
