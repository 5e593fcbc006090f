"""Says which tiny grids take longer than they should; it refuses none, for machines differ."""

from __future__ import annotations

from typing import Any

MOST_SECONDS = 3.0  # of one core


def pytest_terminal_summary(terminalreporter: Any) -> None:
    slow = [
        (dict(report.user_properties)["core_seconds"], report.nodeid)
        for report in terminalreporter.stats.get("passed", [])
        if dict(report.user_properties).get("core_seconds", 0.0) > MOST_SECONDS
    ]
    for seconds, test in sorted(slow, reverse=True):
        terminalreporter.write_line(f"{seconds:.1f} s of one core, more than 3 s: {test}")
