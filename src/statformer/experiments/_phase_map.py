"""A phase diagram from rows of cells and seeds: its map, its boundary, and how both are drawn.

Axes: s seeds, i places on the x axis, j places on the y axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from statformer.plotting.chart import HeatMap, Panel, Series
from statformer.runs.boundaries import Along, Boundary, Constant, fit_boundary, fit_constant

_N_DRAWN = 60  # points of a drawn power law


@dataclass(frozen=True)
class PhaseMap:
    """A number z[s, i, j] of seed s at x[i] and y[j]; `level` parts it into two phases."""

    x: Float[np.ndarray, " i"]
    y: Float[np.ndarray, " j"]
    z: Float[np.ndarray, "s i j"]
    level: float
    along: Along = "x"

    @classmethod
    def of(
        cls, table: pd.DataFrame, x: str, y: str, value: str, level: float, along: Along = "x"
    ) -> PhaseMap:
        """From rows that have each pair of x and y once per seed. Raises ValueError otherwise."""
        ordered = table.sort_values(["seed", x, y])
        shape = tuple(int(ordered[column].nunique()) for column in ("seed", x, y))
        if math.prod(shape) != len(ordered) or ordered.duplicated(["seed", x, y]).any():
            raise ValueError(
                f"{len(ordered)} rows are not one for each of {shape[0]} seeds, {shape[1]} values "
                f"of {x} and {shape[2]} of {y}; leave out seeds that are not complete"
            )
        z = ordered[value].to_numpy(dtype=np.float64).reshape(shape)
        at = {axis: np.unique(ordered[axis].to_numpy(dtype=np.float64)) for axis in (x, y)}
        return cls(at[x], at[y], z, level, along)

    def boundary(self) -> Boundary:
        """y = scale x^slope where the mean over seeds passes the level."""
        rng = np.random.default_rng(0)
        return fit_boundary(self.z, self.x, self.y, self.level, rng, along=self.along)

    def constant(self, power: float) -> Constant:
        """x^power y where the mean over seeds passes the level."""
        rng = np.random.default_rng(0)
        return fit_constant(self.z, self.x, self.y, self.level, power, rng, along=self.along)

    def constants(self, power: float) -> Float[np.ndarray, " s"]:
        """The constant of each seed by itself."""
        rng = np.random.default_rng(0)
        one_by_one = (z[None] for z in self.z)
        return np.array(
            [
                fit_constant(z, self.x, self.y, self.level, power, rng, along=self.along).value
                for z in one_by_one
            ]
        )

    def panels(
        self,
        title: str,
        labels: tuple[str, str, str],
        reference: tuple[float, str],
        *,
        log_z: bool = False,
    ) -> list[Panel]:
        """The map of the mean and the map cut at the level, both with the two boundaries.

        labels     of x, y and the number
        reference  the power of theory, and how its curve is called
        """
        x_label, y_label, z_label = labels
        mean = self.z.mean(axis=0).T
        below, above = f"below {self.level:g}", f"from {self.level:g}"
        is_above = [[float(value >= self.level) for value in row] for row in mean]
        maps = [
            HeatMap(list(self.x), list(self.y), mean.tolist(), z_label, log_z=log_z),
            HeatMap(list(self.x), list(self.y), is_above, z_label, classes=(below, above)),
        ]
        titles = [title, f"{title}, cut at {self.level:g}"]
        curves = self._curves(*reference)
        return [
            Panel(name, x_label, y_label, curves, log_x=True, log_y=True, heat=heat)
            for name, heat in zip(titles, maps, strict=True)
        ]

    def _curves(self, power: float, reference: str) -> list[Series]:
        """Crossings and both power laws; nothing where the level is not passed often enough."""
        try:
            fit, known = self.boundary(), self.constant(power)
        except ValueError:
            return []
        points = fit.crossings
        x = np.geomspace(self.x[0], self.x[-1], _N_DRAWN)
        named = f"crossings of {self.level:g}"
        return [
            Series(named, points.x.tolist(), points.y.tolist(), style="points"),
            Series("fitted boundary", x.tolist(), self._near(fit.at(x))),
            Series(reference, x.tolist(), self._near(known.at(x)), style="dashed"),
        ]

    def _near(self, y: Float[np.ndarray, " q"]) -> list[float]:
        """A curve without what lies a decade or more beyond the map; steep ones go to infinity."""
        seen = (y > self.y[0] / 10.0) & (y < self.y[-1] * 10.0)
        return [float(value) for value in np.where(seen, y, np.nan)]
