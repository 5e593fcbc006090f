"""Tables of categories whose last variable has two parents, and networks with random weights."""

from __future__ import annotations

import numpy as np

from bayes_nets import random_codes
from statformer.nn.parent_set_head import head_shapes
from statformer.nn.parent_sets import ParentSetNetwork
from statformer.reference.bayes_net import Structure

STRUCTURE = Structure(((), (0,), (1,), (), (1, 3)))
SIZES = (2, 3, 2, 4, 3)
TARGET = 4


def rows(n: int = 60, seed: int = 0) -> np.ndarray:
    """Rows "n v" of a random network over `STRUCTURE`."""
    return random_codes(STRUCTURE, SIZES, n, seed).T


def learned(seed: int = 0, n_hidden: int = 6) -> ParentSetNetwork:
    """A network whose every weight is away from the theorem's, as after training."""
    rng = np.random.default_rng(seed)
    shapes = head_shapes(n_hidden)
    return ParentSetNetwork({name: 0.5 * rng.normal(size=shape) for name, shape in shapes.items()})
