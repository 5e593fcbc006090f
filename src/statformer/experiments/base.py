"""What an experiment is: a claim, a grid, a measure, a verdict, and the faults that flip it.

A module of this folder that defines `EXPERIMENT` is an experiment, under the module's name; there
is nothing to register. Modules that begin with an underscore are shared parts.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from statformer.experiments.verdict import Status, ThresholdSource, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from statformer.plotting.chart import Chart

__all__ = [
    "SIZES",
    "Cell",
    "Control",
    "Experiment",
    "Kind",
    "Measure",
    "Row",
    "Size",
    "Status",
    "ThresholdSource",
    "Verdict",
    "cell_rng",
    "cell_text",
]

Size = Literal["tiny", "quick", "full"]
Kind = Literal["existence", "learnability", "mechanism"]
SIZES: tuple[Size, ...] = get_args(Size)

Cell = Mapping[str, Any]
Row = Mapping[str, Any]
Measure = Callable[[Cell, np.random.Generator], Row | Sequence[Row]]

_ARXIV = re.compile(r"\d{4}\.\d{4,5}")
_SCALARS = (str, int, float, bool)


@dataclass(frozen=True, kw_only=True)
class Control:
    """A variant of the measure with a known outcome: a planted fault, or a case that must hold.

    measure  as the experiment's
    says     what is broken, or why it must hold, in a few words
    size     the size at which the tests run it; that of `control_size` where not given
    """

    measure: Measure
    says: str
    size: Literal["tiny", "quick"] | None = None

    def __post_init__(self) -> None:
        if not callable(self.measure):
            raise TypeError(f"measure is {self.measure!r}; pass a function (cell, rng) -> row")
        if not self.says.strip():
            raise ValueError("says is empty; say in a few words what is broken")
        if self.size not in (None, "tiny", "quick"):
            raise ValueError(f"size is {self.size!r}; pass 'tiny' or 'quick'")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One claim and how it is decided. Cells are the product of a grid; each has several seeds.

    claim            one sentence
    paper            arXiv id ("2501.02547"), or "ours" for a claim of our own
    source           where in the paper it stands, and by whom that was seen
    kind             existence (weights exist), learnability (training finds them) or mechanism (the
                     trained network works that way)
    grid, quick, tiny    values of every axis at full size, for a round over all experiments
                     (a core-minute or so), and for the tests (3 seconds in all)
    n_seeds, quick_seeds, tiny_seeds    seeds of a cell at each size
    measure          (cell, rng) -> a row, or several that share the cell; numbers, text, booleans
    holds            table -> Verdict; one line per row: the cell, "seed", what was measured
    figure           table -> Chart, or None
    not_the_authors  which settings were not found or are smaller than the authors'; "" where none
    cost             measured: "quick 40 s, full 9 min on one core"
    controls         planted faults by name; with one the verdict must not be "holds"
    control_size     the size at which the experiment itself holds, or its positive control
    positive         a variant that must hold, where the claim can fail by weakness
    timeout_minutes  of one cell and seed

    Raises TypeError or ValueError, with the field and a remedy, for an experiment that could not
    run.
    """

    claim: str
    paper: str
    source: str
    kind: Kind
    grid: Mapping[str, Sequence[Any]]
    quick: Mapping[str, Sequence[Any]]
    tiny: Mapping[str, Sequence[Any]]
    n_seeds: int
    quick_seeds: int
    measure: Measure
    holds: Callable[[pd.DataFrame], Verdict]
    tiny_seeds: int = 1
    figure: Callable[[pd.DataFrame], Chart] | None = None
    not_the_authors: str = ""
    cost: str = ""
    controls: Mapping[str, Control] = field(default_factory=dict)
    control_size: Literal["tiny", "quick"] = "tiny"
    positive: Control | None = None
    timeout_minutes: float = 30.0

    def __post_init__(self) -> None:
        for name in ("claim", "source"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} is empty; an experiment states what it tests and whence")
        if self.paper != "ours" and not _ARXIV.fullmatch(self.paper):
            raise ValueError(f"paper is {self.paper!r}; pass an arXiv id such as '2501.02547'")
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind is {self.kind!r}; pass one of {', '.join(get_args(Kind))}")
        for name in ("grid", "quick", "tiny"):
            _check_grid(name, getattr(self, name), self.grid)
        self._check_counts_and_functions()

    def _check_counts_and_functions(self) -> None:
        for name in ("n_seeds", "quick_seeds", "tiny_seeds"):
            count = getattr(self, name)
            if not isinstance(count, int) or count < 1:
                raise ValueError(f"{name} is {count!r}; pass a whole number of at least 1")
        for name in ("measure", "holds"):
            if not callable(getattr(self, name)):
                raise TypeError(f"{name} is {getattr(self, name)!r}; pass a function")
        for name, control in self.controls.items():
            if not isinstance(control, Control):
                raise TypeError(f"controls[{name!r}] is {control!r}; pass a Control")
        if self.control_size not in ("tiny", "quick"):
            raise ValueError(f"control_size is {self.control_size!r}; pass 'tiny' or 'quick'")
        if not self.timeout_minutes > 0:
            raise ValueError(f"timeout_minutes is {self.timeout_minutes}; pass a positive number")

    def cells(self, size: Size) -> list[dict[str, Any]]:
        """The cells of a size: the product of its axes, the last axis running fastest."""
        axes = {"tiny": self.tiny, "quick": self.quick, "full": self.grid}[size]
        return [
            dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
        ]

    def seeds(self, size: Size) -> range:
        """The seeds of every cell of a size."""
        counts = {"tiny": self.tiny_seeds, "quick": self.quick_seeds, "full": self.n_seeds}
        return range(counts[size])


def cell_text(cell: Cell) -> str:
    """The cell as JSON with sorted names: equal for equal cells, whatever the order of axes."""
    return json.dumps(dict(cell), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def cell_rng(name: str, cell: Cell, seed: int) -> np.random.Generator:
    """The generator of an experiment's cell and seed; it depends on nothing else."""
    digest = hashlib.sha256(f"{name}\0{cell_text(cell)}\0{seed}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def _check_grid(name: str, axes: Mapping[str, Sequence[Any]], grid: Mapping[str, Any]) -> None:
    """Raise where the axes are not those of `grid`, or an axis is empty, repeated or no scalar."""
    if set(axes) != set(grid):
        raise ValueError(
            f"{name} has the axes {sorted(axes)} and grid {sorted(grid)}; give all sizes the same"
        )
    for axis, values in axes.items():
        if axis == "seed":
            raise ValueError(f"{name} has an axis 'seed'; seeds are counted by n_seeds")
        if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):
            raise ValueError(f"{name}[{axis!r}] is {values!r}; pass a tuple of at least one value")
        wrong = [value for value in values if type(value) not in _SCALARS]
        if wrong:
            raise TypeError(f"{name}[{axis!r}] holds {wrong[0]!r}; pass str, int, float or bool")
        if len(set(values)) < len(values):
            raise ValueError(f"{name}[{axis!r}] is {values!r}; a value stands there twice")
