"""A package of toy experiments on disk, which worker processes can import."""

from __future__ import annotations

import textwrap
from pathlib import Path

TOY = '''
"""The mean of n halves is a half."""

import os
import signal
import time
from pathlib import Path

from {package}._parts import FACTOR
from statformer.experiments.base import Control, Experiment, Verdict

FOLDER = Path({folder!r})


def measure(cell, rng):
    with (FOLDER / "measured").open("a") as log:
        log.write(f"{{cell['n']}} {{os.getpid()}}\\n")
    behave(cell["behaviour"], cell["n"])
    return {{"gap": abs(float(rng.integers(2, size=cell["n"]).mean()) - 0.5) * FACTOR}}


def behave(behaviour, n):
    if behaviour == "raises":
        raise RuntimeError("planted")
    if behaviour == "sleeps":
        time.sleep(600)
    if behaviour == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "dies once":
        try:
            (FOLDER / "died").touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "waits":
        while not (FOLDER / f"go-{{n}}").exists():
            time.sleep(0.05)


def shifted(cell, rng):
    return {{"gap": measure(cell, rng)["gap"] + 1.0}}


def holds(table):
    return Verdict.below(table["gap"].max(), 0.5, threshold_source="ours", what="gap")


EXPERIMENT = Experiment(
    claim="The mean of fair coins is near a half.",
    paper={paper!r},
    source="the law of large numbers",
    kind="existence",
    grid={{"n": (1000, 2000, 3000), "behaviour": ({behaviour!r},)}},
    quick={{"n": (1000, 2000), "behaviour": ({behaviour!r},)}},
    tiny={{"n": (1000,), "behaviour": ("behaves",)}},
    n_seeds=3,
    quick_seeds=2,
    measure=measure,
    holds=holds,
    controls={{"shifted": Control(measure=shifted, says="one is added")}},
    timeout_minutes={timeout},
)
'''


def write_lab(
    folder: Path,
    package: str,
    *,
    name: str = "toy",
    behaviour: str = "behaves",
    timeout: float = 5.0,
    paper: str = "ours",
) -> str:
    """Write `package` with an experiment `name` to `folder`; return the package's name.

    What is measured is logged in `folder`/measured, a line "n pid" for each call.
    """
    place = folder / package
    place.mkdir(exist_ok=True)
    (place / "__init__.py").touch()
    (place / "_parts.py").write_text("FACTOR = 1.0\n")
    (place / "notes.py").write_text('"""No experiment."""\n')
    text = TOY.format(
        package=package, folder=str(folder), behaviour=behaviour, timeout=timeout, paper=paper
    )
    (place / f"{name}.py").write_text(textwrap.dedent(text))
    return package


def measured(folder: Path) -> list[int]:
    """The n of every measurement so far, in order."""
    log = folder / "measured"
    if not log.exists():
        return []
    return [int(line.split()[0]) for line in log.read_text().splitlines()]
