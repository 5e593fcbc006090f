"""Priors over tasks, and the counter-based stream that draws from them."""

from __future__ import annotations
