"""Proposals: labelings of a table, made and described; on numpy and scipy alone."""

from __future__ import annotations
