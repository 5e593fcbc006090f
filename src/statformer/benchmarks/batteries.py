"""The batteries: groups of tables that every part draws from, and the loop over their cells.

A battery names a source of tables and, for a family left out, the weights that never saw it. A
part measures some batteries by a function of a job (a block of tables) and sums the rows up.

Axes: n points, d features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from statformer.benchmarks.families import FAMILIES
from statformer.benchmarks.missing_cells import MECHANISMS
from statformer.benchmarks.settings import LEFT_OUT, Bench, Progress, Sizes
from statformer.benchmarks.sources import Source, Table
from statformer.estimators.base import resolve_weights

IN_PRIOR, LEFT, NEVER, SHAPED = "in-prior", "left out", "never trained", "shapes"
MISSING, MIXED, SINGLE = "missing cells", "mixed columns", "one cluster"
RATES = (0.2, 0.4)
APART = (1.3, 8.0)
PURE_APART = (2.0, 6.0)  # of the Gaussian mixtures that lose cells

Rows = dict[str, list[Any]]


@dataclass(frozen=True)
class Battery:
    """A group of tables. family: what the weights have never seen, None for the shipped ones."""

    source: Source
    group: str
    family: str | None = None

    @property
    def name(self) -> str:
        """The name of the source."""
        return self.source.name


@dataclass(frozen=True)
class Job:
    """A block of tables of a battery, the weights that meet it, and the pool of the selector."""

    battery: Battery
    index: int
    n_tables: int
    weights: str
    pool: Path

    def tables(self) -> list[Table]:
        """The tables; the same whatever else is measured."""
        return self.battery.source.block(self.index, self.n_tables)

    def seed(self, i: int) -> int:
        """A seed for what draws on table i."""
        return self.index * 1000 + i


def batteries(sizes: Sizes, counts: tuple[int, int] = (2, 10)) -> list[Battery]:
    """All batteries with `counts` clusters, in-prior first; those of one cluster where counts
    begin at 1."""
    shapes = table_shapes(sizes)
    few = (counts[0], min(counts[1], 6))
    known = "" if counts[0] > 1 else ", K from 1"

    def source(name: str, family: str, at: tuple[tuple[int, int], ...] = shapes) -> Source:
        return Source(name + known, family, at, APART, counts)

    found = [
        Battery(source("mixture prior", "prior"), IN_PRIOR),
        Battery(source("wide prior", "wide"), IN_PRIOR),
    ]
    found += [
        Battery(source(f"left out: {family}", f"left out {family}"), LEFT, family)
        for family in LEFT_OUT
    ]
    found += [Battery(source(f"never: {family}", family), NEVER, family) for family in FAMILIES]
    planar = tuple((n, 2) for n in sizes.rows)
    found.append(Battery(Source("shapes", "shapes", planar, APART, (2, 10)), SHAPED))
    for mechanism in MECHANISMS:
        for rate in RATES:
            name = f"missing: {mechanism} {rate:.0%}"
            lossy = Source(name + known, f"{mechanism} {rate}", sizes.lossy_shapes, PURE_APART, few)
            found.append(Battery(lossy, MISSING))
    mixed = Source("mixed columns" + known, "mixed columns", sizes.lossy_shapes, APART, few)
    found.append(Battery(mixed, MIXED))
    if counts[0] == 1:
        found.append(Battery(Source("one cluster", "one cluster", shapes, APART, (1, 1)), SINGLE))
        one = Source("one cluster, wide prior", "wide", shapes, APART, (1, 1))
        found.append(Battery(one, SINGLE))
    return found


def table_shapes(sizes: Sizes) -> tuple[tuple[int, int], ...]:
    """(n, d) so that consecutive blocks differ in both; every pair occurs unless sizes forbid."""
    n_rows, n_columns = len(sizes.rows), len(sizes.columns)
    rounds = n_rows * n_columns
    return tuple(
        dict.fromkeys(
            (sizes.rows[(i + i // n_columns) % n_rows], sizes.columns[i % n_columns])
            for i in range(rounds)
        )
    )


def measure_batteries(
    bench: Bench,
    part: str,
    found: Sequence[Battery],
    size: str,
    measure: Callable[[Job], Rows],
    summary: Callable[[Rows], Mapping[str, Any]],
) -> None:
    """Measure every battery that the record does not hold yet, block by block.

    `size` names the field of `Sizes` that says how many tables a battery has in this part.
    A battery whose weights are not there is recorded as "missing"; it is measured when the
    command is given again after they have arrived.
    """
    for battery in found:
        n_tables = getattr(bench.sizes, size)
        if battery.group in {MISSING, MIXED}:
            n_tables = min(n_tables, bench.sizes.lossy_tables)
        per_job = min(bench.sizes.per_job, n_tables)
        n_jobs = -(-n_tables // per_job)
        key = f"{part}: {battery.name}"
        about: dict[str, Any] = {"part": part, "group": battery.group, "family": battery.family}
        weights = bench.weights
        if battery.family in LEFT_OUT:
            path = bench.weights_without(battery.family)
            weights = str(path)
            if not path.is_file():
                bench.record.put(key, {**about, "weights": weights, "missing": f"{path}: no file"})
                continue
        digest = resolve_weights(weights).sha256
        if key in bench.record and bench.record.cells[key].get("weights_sha256") == digest:
            continue
        jobs = [Job(battery, i, per_job, weights, bench.pool) for i in range(n_jobs)]
        rows: Rows = {}
        for i, answer in enumerate(bench.workers.run(measure, jobs)):
            for name, values in answer.items():
                rows.setdefault(name, []).extend(values)
            bench.callback(Progress(part, battery.name, i + 1, n_jobs))
        about |= {"weights": weights, "weights_sha256": digest, "shapes": battery.source.shapes}
        about |= {"n_components": battery.source.n_components, "seed": battery.source.seed}
        bench.record.put(key, {**about, **summary(rows)})
