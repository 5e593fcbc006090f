"""The picture of `statformer cluster --plot`: our clusters, EM's, and the label column if there.

Axes: points n, features d, components c.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.mixture import GaussianMixture

from statformer.cli.encoding import Encoded
from statformer.cli.records import ClusterReport
from statformer.cli.report import as_asked, weights_name
from statformer.cli.rivals import Rival, agreement
from statformer.plotting import Panel, plot_clusters

if TYPE_CHECKING:
    from statformer.estimators import AttentionMixture

OTHER = "other"
MOST_LABELS = 14


def draw(
    table: Encoded,
    model: AttentionMixture,
    proba: np.ndarray,
    rival: Rival,
    label: pd.Series | None,
    report: ClusterReport,
    path: Path,
) -> None:
    """Write the picture to `path`."""
    ours = Panel(
        f"AttentionMixture, {weights_name(report)}{_ari(label, model.labels_)}",
        model.labels_,
        proba.max(axis=1),
        model.means_,
        model.covariances_,
    )
    panels = [ours]
    if rival.labels is not None:
        panels.append(_em_panel(table, rival, label))
    if label is not None:
        panels.append(_label_panel(label))
    figure: Any = plot_clusters(table.X, panels, feature_names=table.names, title=_title(report))
    figure.savefig(path)


def _em_panel(table: Encoded, rival: Rival, label: pd.Series | None) -> Panel:
    assert rival.labels is not None
    means = covariances = None
    if isinstance(rival.model, GaussianMixture):
        means, covariances = table.in_units(rival.model.means_, full_covariances(rival.model))
    title = f"{rival.name}{_ari(label, rival.labels)}"
    return Panel(title, rival.labels, rival.proba, means, covariances)


def full_covariances(model: GaussianMixture) -> np.ndarray:
    """The covariances (c, d, d) of a scikit-learn mixture of any covariance type."""
    n_components, d = model.means_.shape
    stored = np.asarray(model.covariances_)
    if model.covariance_type == "full":
        return stored
    if model.covariance_type == "tied":
        return np.broadcast_to(stored, (n_components, d, d))
    variances = stored if stored.ndim == 2 else np.repeat(stored[:, None], d, axis=1)
    return np.asarray(variances[:, :, None] * np.eye(d))


def _label_panel(label: pd.Series) -> Panel:
    text = label.astype(object).where(label.notna(), "missing").astype(str)
    names = list(text.value_counts().index[:MOST_LABELS])
    place = {name: position for position, name in enumerate(names)}
    codes = np.array([place.get(name, len(names)) for name in text])
    if len(names) in codes:
        names.append(OTHER)
    return Panel(f"label column {str(label.name)!r}", codes, names=names)


def _ari(label: pd.Series | None, labels: np.ndarray) -> str:
    if label is None:
        return ""
    there = label.notna().to_numpy()
    ari, _ = agreement(label[there].astype(str).to_numpy(), labels[there])
    return f"\nARI {ari:.2f} to the labels"


def _title(report: ClusterReport) -> str:
    name = report.table if report.table == "standard input" else Path(report.table).name
    count = "1 cluster" if report.k == 1 else f"{report.k} clusters"
    if report.k_asked is not None:
        return f"{name}: {count}{as_asked(report)}"
    return f"{name}: {count}, P(K = {report.k}) = {report.k_probability[report.k - 1]:.2f}"
