"""What a `PrincipalNetwork` answers, and what it needs to weigh rows that it did not see.

Axes: b tables, n points, d features, k components.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from statformer.batch import Array
from statformer.nn.principal_cells import CellScales
from statformer.nn.principal_features import RowScales
from statformer.nn.principal_steps import Subspace
from statformer.nn.principal_table import Units


@dataclass(frozen=True)
class Summary:
    """What the last layer compared rows and cells with: enough to weigh other rows alone."""

    units: Units
    at: Subspace
    rows: RowScales
    context: Array
    pooled: Array | None
    cells: CellScales | None
    cell_context: Array | None
    cell_pooled: Array | None


@dataclass(frozen=True)
class PrincipalTrace:
    """The answer of a `PrincipalNetwork`.

    mean           "b d"    location under the final weights
    components     "b k d"  orthonormal rows, by falling variance; signs are arbitrary
    variances      "b k"    weighted variance along the components
    noise_variance "b"      mean variance of the residual per remaining direction
    row_weights    "b n"    learned weight of each row in (0, 1], without the given row weight
    cell_weights   "b n d"  learned weight of each cell in (0, 1], 0 where missing; None on
                            complete tables in form "rows"
    completed      "b n d"  X with missing cells reconstructed, and doubtful ones drawn to their
                            reconstruction by 1 - weight
    summary        what `PrincipalNetwork.weigh` needs
    subspaces, layer_weights  per layer, "b k d" and "b n"; empty unless all were asked for
    """

    mean: Array
    components: Array
    variances: Array
    noise_variance: Array
    row_weights: Array
    cell_weights: Array | None
    completed: Array
    summary: Summary
    subspaces: list[Array] = field(default_factory=list)
    layer_weights: list[Array] = field(default_factory=list)
