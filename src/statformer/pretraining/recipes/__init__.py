"""One file per recipe; each exposes `recipe(**options)` or `RECIPE`, and is found by its name."""

from __future__ import annotations
