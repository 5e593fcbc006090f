"""How much of the spectral methods is measured: `--quick`, `--full`, and what every part gets.

Axes: n points, d features, k components.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from statformer.benchmarks.settings import Progress, silent
from statformer.runs.record import Record
from statformer.runs.workers import Workers

PARTS = {
    "a": "the construction",
    "b": "trained as in the paper",
    "c": "corrupted tables",
    "d": "time and memory",
    "e": "two classes",
}
LEAST_TABLES = 100  # of a cell of (c), below which a run is for a first look


@dataclass(frozen=True)
class Sizes:
    """Numbers of instances. Fewer than 100 to a cell of (c) is for a first look."""

    name: str
    constructed: int = 10  # tables of a cell of (a)
    depths: tuple[int, ...] = (5, 10, 20, 40, 80)  # power steps per component in (a)
    instances: int = 2048  # of a cell of (b), the paper's number
    read_out_steps: int = 2500  # of 256 instances: as many as the networks of (b) saw
    tables: int = 100  # of a cell of (c)
    per_job: int = 20
    shapes: tuple[tuple[int, int, int], ...] = ((60, 10, 2), (100, 20, 3), (150, 30, 4))  # n d k
    wide: tuple[int, int, int] = (40, 30, 2)
    many_columns: tuple[int, int, int] = (300, 150, 3)
    large_cells: tuple[int, ...] = (10**5, 10**6, 10**7, 4 * 10**7, 2 * 10**8)  # n d of (d)
    rounds: int = 3
    two_classes: int = 50  # tables of a cell of (e)
    rows: tuple[int, ...] = (100, 400)  # of (e)
    columns: tuple[int, ...] = (10, 100, 400)


FULL = Sizes("full")
QUICK = Sizes(
    "quick",
    constructed=5,
    depths=(5, 20, 80),
    instances=256,
    read_out_steps=300,
    tables=10,
    per_job=10,
    large_cells=(10**5, 10**6, 10**7),
    two_classes=10,
    rows=(100,),
    columns=(10, 100),
)


@dataclass(frozen=True)
class Bench:
    """What every part needs.

    weights   "pretrained", "constructed" or a path: the network of (c) and (d)
    networks  folder of the trained networks of (b), `eigen_<target>_<name>/final.safetensors`
    images    an .npz file of images, or a folder that holds `mnist.npz`; None where there is none
    """

    sizes: Sizes
    record: Record
    workers: Workers
    weights: str = "pretrained"
    networks: Path = Path("training")
    images: Path | None = None
    callback: Callable[[Progress], None] = silent

    @property
    def image_file(self) -> Path | None:
        """The .npz file of the images, where there is one."""
        if self.images is None:
            return None
        path = self.images / "mnist.npz" if self.images.is_dir() else self.images
        return path if path.is_file() else None
