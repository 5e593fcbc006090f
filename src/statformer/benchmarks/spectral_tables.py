"""Tables of (c): low rank plus noise, corrupted to a known share, with the true subspace attached.

Axes: n rows, d columns, k components.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from statformer.benchmarks import spectral_unseen
from statformer.benchmarks.missing_cells import with_missing_cells
from statformer.benchmarks.spectral_settings import Sizes

CLEAN, ROWS, CELLS, TAILS = "clean", "outlying rows", "outlying cells", "heavy tails"
MISSING, BOTH, WIDE = "missing cells", "two at once", "more columns than rows allow"
HELD_OUT, NEVER = "held out of training", "never in any prior"
GROUPS = (CLEAN, ROWS, CELLS, TAILS, MISSING, BOTH, WIDE, HELD_OUT, NEVER)
SHARES = (0.05, 0.1, 0.2)
RATES = (0.1, 0.3, 0.6)
_DRAW = "second draw"  # the first one was looked at while the network was made
# The kinds of `tasks.corruption.HELD_OUT`, and whether rows or cells are hit.
HELD_OUT_KINDS = {
    "adversarial_cluster": "rows",
    "swapped_cells": "cells",
    "shifted_columns": "cells",
}

Matrix = Float[np.ndarray, "n d"]


@dataclass(frozen=True)
class Table:
    """X "n d" with NaN where a cell is missing, and the true basis "k d", orthonormal."""

    X: Matrix
    basis: Float[np.ndarray, "k d"]


@dataclass(frozen=True)
class Battery:
    """Tables of one kind.

    shapes   (n, d, k), in turn
    levels   what `tasks.corrupted_rows.CorruptedRows` corrupts, by share or degrees of freedom
    kinds    which kinds of corruption it draws from; empty: all that training saw
    missing  a mechanism of `missing_cells` and a rate, on top
    own      a corruption of `spectral_unseen` and a share, on tables of that module instead
    """

    name: str
    group: str
    shapes: tuple[tuple[int, int, int], ...]
    levels: Mapping[str, float] = field(default_factory=dict)
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: tuple[str, float] | None = None
    own: tuple[str, float] | None = None

    @property
    def seed(self) -> int:
        """The seed of its tables, from its name: other tables than those of first looks."""
        return zlib.crc32(f"{_DRAW}: {self.name}".encode())

    def table(self, index: int) -> Table:
        """Table number `index`; the same whatever else is measured."""
        n, d, k = self.shapes[index % len(self.shapes)]
        rng = np.random.default_rng([self.seed, index])
        table = self._own(n, d, k, rng) if self.own else self._of_prior(n, d, k, index)
        if self.missing is None:
            return table
        mechanism, rate = self.missing
        # cells that are missing already (of no battery so far) would break the ranks
        return Table(with_missing_cells(table.X, mechanism, rate, rng), table.basis)

    def _own(self, n: int, d: int, k: int, rng: np.random.Generator) -> Table:
        assert self.own is not None
        name, share = self.own
        clean = spectral_unseen.low_rank_table(n, d, k, rng)
        X = spectral_unseen.CORRUPTIONS[name](clean, share, rng) if share else clean.X
        return Table(X, clean.basis)

    def _of_prior(self, n: int, d: int, k: int, index: int) -> Table:
        import torch

        from statformer.tasks.corrupted_rows import CorruptedRows
        from statformer.tasks.stream import TaskStream

        options: dict[str, Any] = {"levels": dict(self.levels)}
        if self.kinds:
            options["kinds"] = dict(self.kinds)
        prior = CorruptedRows(n_rows=(n, n), n_columns=(d, d), n_components=(k, k), **options)
        batch = prior.sample(TaskStream(self.seed, index, range(1), dtype=torch.float64))
        X, basis = batch.X[0].double().numpy(), batch.basis[0].double().numpy()
        return Table(X, np.linalg.qr(basis.T)[0].T)


def batteries(sizes: Sizes) -> list[Battery]:
    """All batteries of (c), clean ones first."""
    at, wide = sizes.shapes, (sizes.wide,)
    found = [
        Battery("clean", CLEAN, at),
        Battery("clean, uniform scores", CLEAN, at, own=("", 0.0)),
        Battery("clean, wide", CLEAN, wide),
        Battery("clean, many columns", CLEAN, (sizes.many_columns,), own=("", 0.0)),
    ]
    for kind, group in (("rows", ROWS), ("cells", CELLS)):
        found += [Battery(f"{kind} {s:.0%}", group, at, {kind: s}) for s in SHARES]
    found += [Battery(f"t noise, df {v}", TAILS, at, {"noise_df": float(v)}) for v in (5, 3, 2)]
    found.append(Battery("t rows, df 2", TAILS, at, {"row_df": 2.0}))
    for mechanism in ("MCAR", "MAR", "MNAR"):
        rates = RATES if mechanism != "MAR" else RATES[1:2]
        found += [
            Battery(f"missing {mechanism} {r:.0%}", MISSING, at, missing=(mechanism, r))
            for r in rates
        ]
    found += [
        Battery("rows 10%, cells 10%", BOTH, at, {"rows": 0.1, "cells": 0.1}),
        Battery("rows 10%, missing 30%", BOTH, at, {"rows": 0.1}, missing=("MCAR", 0.3)),
        Battery("cells 10%, missing 30%", BOTH, at, {"cells": 0.1}, missing=("MCAR", 0.3)),
        Battery("wide, rows 10%", WIDE, wide, {"rows": 0.1}),
        Battery("wide, cells 10%", WIDE, wide, {"cells": 0.1}),
        Battery("wide, missing 30%", WIDE, wide, missing=("MCAR", 0.3)),
    ]
    return [*found, *_held_out(at), *_never(at)]


def _held_out(at: tuple[tuple[int, int, int], ...]) -> list[Battery]:
    """A cell for each kind that training never saw, at 10 and 20 %."""
    return [
        Battery(f"held out: {kind}, {s:.0%}", HELD_OUT, at, {where: s}, {where: (kind,)})
        for kind, where in HELD_OUT_KINDS.items()
        for s in SHARES[1:]
    ]


def _never(at: tuple[tuple[int, int, int], ...]) -> list[Battery]:
    return [
        Battery(f"never: {name}, {s:.0%}", NEVER, at, own=(name, s))
        for name in spectral_unseen.CORRUPTIONS
        for s in SHARES[1:]
    ]
