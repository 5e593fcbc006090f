"""Peak memory of a piece of work, above what the process held before it (Linux)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["peak_above"]


def peak_above(work: Callable[[], object]) -> int | None:
    """Bytes of the largest resident set while `work` runs, minus the one before it.

    None where the system does not tell. Not `getrusage`, which after a fork also counts the peak of
    the program that forked.
    """
    with suppress(OSError):  # where it fails, an earlier peak counts too
        Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    work()
    after = _status("VmHWM")
    return None if before is None or after is None else max(after - before, 0)


def _status(field: str) -> int | None:
    """Bytes of a field of /proc/self/status."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(
        (int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None
    )
