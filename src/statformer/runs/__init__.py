"""What benchmarks and experiments share: intervals, timings, the machine, records, workers."""

from __future__ import annotations
