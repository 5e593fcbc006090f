"""The rule that n |mu|^4 = C sigma^4 d is about, as an oracle in a network's place.

A linear rule w = sum_i y_i (signal_i + noise_i) is what every filter learns first. It tells labels
from fresh samples with error Phi(-<w, mu> / |w|), near Phi(-(n |mu|^4 / (sigma^4 d))^(1/2)) where d
is large. Derived.

Axes: b strengths of the signal, n points.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from statformer.optim.patch_descent import PatchProducts


def mean_rule_error(
    products: PatchProducts, signal_norms: Float[Tensor, " b"], *, projected: bool = True
) -> Float[Tensor, " b"]:
    """Phi(-<w, mu> / |w|); with projected noise |w| is that of w off the signal."""
    along = products.patches[0, 1:] @ products.y + signal_norms * (products.y @ products.signs)
    off = products.y @ products.patches[1:, 1:] @ products.y
    off = off - (products.patches[0, 1:] @ products.y) ** 2
    width = off if projected else off + along.square()
    return torch.special.ndtr(-signal_norms * along / width.sqrt())
