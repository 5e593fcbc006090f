"""How much of the training of patch networks is measured: `--quick`, `--full`, and what parts get.

Axes: n points, d features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from statformer.benchmarks.settings import Progress, silent
from statformer.runs.record import Record
from statformer.runs.workers import Workers

PARTS = {"a": "one cell of a phase diagram, beside plain descent", "b": "a whole phase diagram"}


@dataclass(frozen=True)
class Sizes:
    """Cells and repetitions; d = 1000 throughout.

    points     n of the cells of (a)
    strengths  strengths of the signal in a row of the diagram
    plain      how many of them plain descent trains, one after the other, in a round of (a)
    rounds     fresh samples of (a)
    grid       (strengths, sample sizes, seeds) of the diagram of (b)
    """

    name: str
    points: tuple[int, ...] = (20, 100, 400)
    strengths: int = 20
    plain: int = 2
    rounds: int = 3
    grid: tuple[int, int, int] = (20, 20, 5)
    n_features: int = 1000


FULL = Sizes("full")
QUICK = Sizes("quick", points=(20, 100), plain=1, grid=(20, 20, 1))


@dataclass(frozen=True)
class Bench:
    """What every part needs."""

    sizes: Sizes
    record: Record
    workers: Workers
    n_workers: int = 1
    callback: Callable[[Progress], None] = silent
