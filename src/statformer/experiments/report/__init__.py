"""The site of all claims: plain pages that open from a file, made of recorded results."""

from __future__ import annotations

from statformer.experiments.report.site import build_site

__all__ = ["build_site"]
