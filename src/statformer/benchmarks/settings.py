"""How much is measured: sizes of `--quick` and `--full`, and what every part is handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from statformer.runs.record import Record
from statformer.runs.workers import Workers

PARTS = {
    "c": "the paper's family",
    "d": "development tables",
    "e": "time and memory",
    "f": "batteries, K given",
    "g": "batteries, K unknown",
    "h": "the judge as a selector",
    "i": "calibration",
    "j": "effort and speed",
}
# Families whose weights were trained without them, as files named after them.
LEFT_OUT = (
    "skew",
    "discrete",
    "very_heavy_tails",
    "smooth_map",
    "outliers",
    "shapes",
    "categorical",
    "counts",
)
LEAST_TABLES = 50  # of a battery, below which a run is for a first look


@dataclass(frozen=True)
class Sizes:
    """Numbers of tables. Fewer than 50 to a battery is for a first look, and the file says so."""

    name: str
    tables: int  # of a battery of (f)
    per_job: int = 5
    unknown_tables: int = 30  # of a battery of (g)
    judged_tables: int = 14  # of a battery of (h)
    calibrated_tables: int = 60  # of a battery of (i)
    effort_tables: int = 16  # of a battery of (j)
    rows: tuple[int, ...] = (150, 300, 500)
    columns: tuple[int, ...] = (2, 5, 12, 24)
    lossy_shapes: tuple[tuple[int, int], ...] = ((150, 5), (300, 8), (300, 5), (150, 8))
    lossy_tables: int = 50  # at most, of a battery with missing cells or categories
    paper_tables: int = 1000  # of a separation with a target; a fifth of it elsewhere
    seeds: int = 5  # of (d)
    timed_tables: int = 1000
    timed_sweeps: int = 20
    long_rows: tuple[int, ...] = (100_000, 1_000_000)
    repeats: int = 3


FULL = Sizes("full", tables=50)
QUICK = Sizes(
    "quick",
    tables=8,
    per_job=2,
    unknown_tables=5,
    judged_tables=3,
    calibrated_tables=8,
    effort_tables=3,
    lossy_tables=6,
    paper_tables=200,
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
    without   folder with `judge_without_<family>/final.safetensors` and `selector/pool.safetensors`
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
        return self.without / f"judge_without_{family}" / "final.safetensors"

    @property
    def pool(self) -> Path:
        """The tables that the boosted trees learn from."""
        return self.without / "selector" / "pool.safetensors"
