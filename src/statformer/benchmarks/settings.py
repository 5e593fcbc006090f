"""How much is measured: sizes of `--quick` and `--full`, and what every part is handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from statformer.runs.record import Record
from statformer.runs.workers import Workers

PARTS = {
    "a": "K given",
    "b": "K unknown",
    "c": "the paper's family",
    "d": "development tables",
    "e": "time and memory",
}
LEFT_OUT = ("skew", "discrete", "very_heavy_tails", "smooth_map", "outliers")


@dataclass(frozen=True)
class Sizes:
    """Numbers of tables. A cell with fewer than 200 is for a first look, and the file says so."""

    name: str
    tables: int  # of a cell of (a) and (b)
    per_job: int = 10
    rows: tuple[int, ...] = (200, 600)
    columns: tuple[int, ...] = (2, 8, 32)
    paper_tables: int = 1000  # of a separation with a target; a fifth of it elsewhere
    seeds: int = 5  # of (d)
    timed_tables: int = 1000
    timed_sweeps: int = 20
    long_rows: tuple[int, ...] = (100_000, 1_000_000)
    repeats: int = 3


FULL = Sizes("full", tables=200)
QUICK = Sizes(
    "quick",
    tables=30,
    per_job=6,
    paper_tables=500,
    seeds=2,
    timed_tables=100,
    timed_sweeps=3,
    long_rows=(100_000,),
    repeats=2,
)


@dataclass(frozen=True)
class Progress:
    """Where a run stands: a part, one of its cells, and the share of the cell that is done."""

    part: str
    cell: str
    done: int
    total: int


def silent(progress: Progress) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Bench:
    """What every part needs.

    weights   "pretrained" or a path: the network under test
    without   folder with `mixture_without_<family>/final.safetensors`
    tables    folder of labelled CSV files, last column the label
    """

    sizes: Sizes
    record: Record
    workers: Workers
    weights: str = "pretrained"
    without: Path = Path("training")
    tables: Path = Path("examples/data")
    callback: Callable[[Progress], None] = silent

    def weights_without(self, family: str) -> Path:
        """The checkpoint that never saw `family`."""
        return self.without / f"mixture_without_{family}" / "final.safetensors"
