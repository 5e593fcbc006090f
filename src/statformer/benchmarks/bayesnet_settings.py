"""How much of Bayesian networks is measured: `--quick`, `--full`, and what every part gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from statformer.benchmarks.settings import Progress, silent
from statformer.runs.record import Record

PARTS = {
    "a": "total variation to the truth",
    "b": "equality with pgmpy",
    "c": "rows per second",
    "d": "structures read from rows",
}


@dataclass(frozen=True)
class Sizes:
    """Numbers of networks, rows and variables."""

    name: str
    contexts: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100, 200, 300, 400, 500)  # N_test of (a)
    networks: int = 2000  # of a structure of (a)
    attention_networks: int = 100  # of them, those that the attention itself answers
    read_networks: int = 200  # of them, those whose parents are read from the rows
    read_large_networks: int = 20  # the same, from 10 variables on
    compared_networks: int = 20  # of a cell of (b)
    variables: tuple[int, ...] = (10, 25, 50)  # of (c)
    rows: tuple[int, ...] = (10**3, 10**4, 10**5, 10**6)
    rounds: int = 3
    searched_networks: int = 20  # of a cell of (d)
    searched_rows: tuple[int, ...] = (100, 500, 2000)


FULL = Sizes("full")
QUICK = Sizes(
    "quick",
    contexts=(1, 5, 20, 100, 500),
    networks=200,
    attention_networks=10,
    read_networks=40,
    read_large_networks=3,
    compared_networks=3,
    searched_networks=5,
    searched_rows=(500,),
    rows=(10**3, 10**4),
)


@dataclass(frozen=True)
class Bench:
    """What every part needs."""

    sizes: Sizes
    record: Record
    callback: Callable[[Progress], None] = silent
