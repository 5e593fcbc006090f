"""Claims of the papers and our own: one file, one claim, one verdict."""

from __future__ import annotations
