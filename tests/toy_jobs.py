"""Work of jobs that behaves, raises, sleeps or kills its own process; each call leaves a line."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

Argument = tuple[str, str, int]  # behaviour, folder of the log, number to square


def square(argument: Argument) -> int:
    """The square of the number, if the behaviour lets it come to that."""
    behaviour, folder, x = argument
    place = Path(folder)
    with (place / "calls").open("a") as log:
        log.write(f"{x} {os.getpid()}\n")
    if behaviour == "raises":
        raise ValueError("so it is")
    if behaviour == "sleeps":
        time.sleep(600)
    if behaviour == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "dies once":
        try:
            (place / f"died-{x}").touch(exist_ok=False)
        except FileExistsError:
            return x * x
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "waits":  # until somebody kills it, or lets it go
        while not (place / "go").exists():
            time.sleep(0.05)
    return x * x


def calls(folder: Path) -> list[tuple[int, int]]:
    """(number, process) of every call so far."""
    log = folder / "calls"
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(x), int(pid)) for x, pid in (line.split() for line in lines)]


def wait_for(condition: object, seconds: float = 60.0) -> None:
    """Wait until `condition()` is true; raise TimeoutError if it does not become so."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"still not so after {seconds:g} s")
        time.sleep(0.05)
