"""What benchmarks and experiments share: intervals, timings, the machine, records, jobs, rows."""

from __future__ import annotations
