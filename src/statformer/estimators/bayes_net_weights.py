"""The network of candidate parent sets that `weights` names, and the tables that it smooths.

Axes: v variables, n rows, c configurations of the parents, d categories.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from statformer.constructions.parent_sets import parent_set_weights
from statformer.estimators.base import CONSTRUCTED
from statformer.estimators.bayes_net_reading import MAX_CELLS, MAX_SETS
from statformer.estimators.bayes_net_tables import Table, Tables
from statformer.nn.parent_set_candidates import all_subsets
from statformer.nn.parent_sets import ParentSetNetwork
from statformer.reference.bayes_net import Structure
from statformer.weights import load_weights

PRETRAINED = "pretrained"
SHIPPED = "random_dag"


def parent_set_network(weights: Any) -> ParentSetNetwork:
    """The network of "constructed", "pretrained" or the path of a .safetensors file.

    Raises TypeError, FileNotFoundError, or WeightsError for a file of another network.
    """
    if not isinstance(weights, (str, Path)):
        raise TypeError(
            f"weights={weights!r} should be 'constructed', 'pretrained' or the path of a "
            ".safetensors file"
        )
    if weights == CONSTRUCTED:
        return ParentSetNetwork(parent_set_weights())
    arrays, _ = load_weights(SHIPPED if weights == PRETRAINED else weights)
    return ParentSetNetwork(arrays)


def smoothed_tables(
    network: ParentSetNetwork, structure: Structure, counts: Sequence[Table]
) -> Tables:
    """p(variable | parents) as the network smooths the counts of the given parents.

    The candidates are all sets of the given parents, so that a configuration that few rows have
    leans on fewer parents, and the table is that of all of them. Where these tables have more
    than `MAX_CELLS` cells the parents are the only candidate, and lean on equal shares. Cells of a
    table of counts are rows with weights, so that expected counts of EM serve as well as whole
    ones.
    """
    probabilities, seen = [], []
    for table in counts:
        cells = np.flatnonzero(table)
        rows = np.stack(np.unravel_index(cells, table.shape), axis=1)
        k = table.ndim - 1
        sets = all_subsets(range(k), k) if _is_small(table) else (tuple(range(k)),)
        answer = network(rows, table.shape, k, sets, table.ravel()[cells])
        probabilities.append(answer.table(len(sets) - 1).reshape(table.shape))
        seen.append(np.ones(table.shape[:-1], dtype=bool))
    return Tables(structure, tuple(probabilities), tuple(seen))


def _is_small(table: Table) -> bool:
    """Whether the tables of all sets of the parents are within the limits of a reading."""
    *parents, d = table.shape
    cells = d * math.prod(1 + size for size in parents)
    return 2 ** len(parents) <= MAX_SETS and cells <= MAX_CELLS
