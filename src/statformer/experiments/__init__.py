"""Every claim of every paper as an experiment with a verdict: one file, one claim."""

from __future__ import annotations
