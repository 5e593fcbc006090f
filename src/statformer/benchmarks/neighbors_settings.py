"""How much of the attention neighbours is measured: `--quick`, `--full`, and what parts get.

Axes: n context rows, q queries, d columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from statformer.benchmarks.settings import Progress, silent
from statformer.runs.record import Record

PARTS = {
    "a": "time and memory of one nearest neighbour",
    "b": "predictions beside tuned k-NN",
    "c": "the shifted prompts of the paper",
}


@dataclass(frozen=True)
class Sizes:
    """Shapes and numbers of instances."""

    name: str
    rows: tuple[int, ...] = (10**3, 10**4, 10**5, 10**6)  # of (a)
    columns: tuple[int, ...] = (4, 16, 64, 256)
    products: float = 8e10  # n d q of a cell of (a), which sets q
    queries: tuple[int, int] = (100, 10**4)  # the least and the largest q
    kd_tree_queries: int = 20  # of a kd-tree on a large table
    rounds: int = 3
    seeds: int = 5  # divisions into folds in (b)
    prompts: int = 10_000  # of a cell of (c)


FULL = Sizes("full")
QUICK = Sizes(
    "quick",
    rows=(10**3, 10**4, 10**5),
    columns=(4, 16, 64),
    products=4e9,
    queries=(100, 2000),
    seeds=1,
    prompts=2000,
)


@dataclass(frozen=True)
class Bench:
    """What every part needs; `tables` is a folder of labelled CSV files, last column the label."""

    sizes: Sizes
    record: Record
    tables: Path = Path("examples/data")
    callback: Callable[[Progress], None] = silent
