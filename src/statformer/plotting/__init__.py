"""Pictures of what the estimators found. The only home of matplotlib."""

from __future__ import annotations

from statformer.plotting.mixture import Panel, plot_clusters

__all__ = ["Panel", "plot_clusters"]
