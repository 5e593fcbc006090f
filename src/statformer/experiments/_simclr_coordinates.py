"""Gaussian vectors by their coordinates alone, so that their width costs nothing.

Axes: b runs, v vectors.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from statformer.tasks.stream import TaskStream


def gaussian_coordinates(
    n_vectors: int, n_features: int, stream: TaskStream
) -> Float[Tensor, "b v v"]:
    """Coordinates of v independent N(0, I) vectors in the basis that Gram and Schmidt make of them.

    Row i is N(0, 1) in the i directions of the vectors before it; what is left of it has a length
    drawn from chi with n_features - i degrees of freedom (Bartlett's decomposition). All inner
    products are distributed as those of the vectors themselves, whatever n_features is.

    Raises ValueError for more vectors than features, which would depend on each other.
    """
    if not 1 <= n_vectors <= n_features:
        raise ValueError(f"n_vectors={n_vectors}: pass 1 to n_features={n_features}")
    degrees = n_features - torch.arange(n_vectors, dtype=stream.dtype, device=stream.device)
    lengths = torch.sqrt(2.0 * stream.gamma(degrees.expand(len(stream), -1) / 2.0, n_vectors))
    return torch.tril(stream.normal(n_vectors, n_vectors), -1) + torch.diag_embed(lengths)
