"""The picture of clusters: the plane, the ellipses and the colours are what they claim to be."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.patches import Ellipse

from statformer.plotting import Panel, plot_clusters
from statformer.plotting.mixture import MOST_POINTS, match_colours, principal_view


@pytest.fixture
def X() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) * [1, 10, 100, 1000] + [0, 5, 0, 7]


def centres(X: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    groups = [X[labels == c] for c in range(labels.max() + 1)]
    return np.array([g.mean(axis=0) for g in groups]), np.array([np.cov(g.T) for g in groups])


def test_the_view_is_the_principal_plane_of_the_standardised_table(X: np.ndarray) -> None:
    view = principal_view(X)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    values, vectors = np.linalg.eigh(np.cov(Z.T))
    np.testing.assert_allclose(
        np.abs(view.directions.T @ vectors[:, ::-1][:, :2]), np.eye(2), atol=1e-10
    )
    np.testing.assert_allclose(view.share, values[::-1][:2] / values.sum())
    np.testing.assert_allclose(view.points, Z @ view.directions)


def test_a_shadow_is_the_mean_and_covariance_of_the_shadows(X: np.ndarray) -> None:
    view = principal_view(X)
    rows = X[:100]
    mean, covariance = view.shadow(rows.mean(axis=0), np.cov(rows.T))
    np.testing.assert_allclose(mean, view.points[:100].mean(axis=0))
    np.testing.assert_allclose(covariance, np.cov(view.points[:100].T))


def test_an_ellipse_passes_two_standard_deviations_from_its_centre(X: np.ndarray) -> None:
    labels = (X[:, 0] > 0).astype(int)
    means, covariances = centres(X, labels)
    figure = plot_clusters(X, [Panel("one", labels, None, means, covariances)])
    ellipses = [p for p in figure.axes[0].patches if isinstance(p, Ellipse) and not p.get_fill()]
    assert len(ellipses) == 2
    view = principal_view(X)
    for ellipse, mean, covariance in zip(ellipses, means, covariances, strict=True):
        centre, shadow = view.shadow(mean, covariance)
        edge = ellipse.get_patch_transform().transform(ellipse.get_path().vertices[::6])
        steps = edge - centre
        distance = np.sqrt(np.einsum("ni,ij,nj->n", steps, np.linalg.inv(shadow), steps))
        np.testing.assert_allclose(distance, 2.0, rtol=1e-3)


def test_colours_follow_the_clusters_through_a_renaming() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
    renaming = np.array([2, 0, 1])
    np.testing.assert_array_equal(match_colours(labels, renaming[labels])[renaming], [0, 1, 2])


def test_clusters_left_over_get_colours_left_over() -> None:
    labels = np.zeros(6, dtype=int)
    styles = match_colours(labels, np.array([0, 1, 1, 1, 2, 2]))
    assert styles[1] == 0
    assert sorted(styles) == [0, 1, 2]


def test_the_legend_counts_the_rows_and_the_title_is_there(X: np.ndarray) -> None:
    labels = np.repeat([0, 1], [200, 100])
    figure = plot_clusters(
        X, [Panel("a", labels), Panel("b", 1 - labels)], title="two clusters", feature_names="uvwx"
    )
    for ax in figure.axes:
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0: 200", "1: 100"]
    assert figure.get_suptitle() == "two clusters"


def test_doubtful_rows_are_fainter(X: np.ndarray) -> None:
    labels = (X[:, 0] > 0).astype(int)
    certainty = np.linspace(0.5, 1.0, len(X))
    figure = plot_clusters(X, [Panel("one", labels, certainty)])
    for c, drawn in enumerate(figure.axes[0].collections[::2]):
        alpha = np.asarray(drawn.get_alpha())
        assert (np.diff(alpha[np.argsort(certainty[labels == c])]) > 0).all()


@pytest.mark.parametrize("n", [1, 2, 50])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_small_and_flat_tables(tmp_path: Path, n: int, d: int) -> None:
    X = np.random.default_rng(0).normal(size=(n, d))
    X[:, 0] = 1.0 if d > 1 else X[:, 0]
    labels = np.zeros(n, dtype=int)
    panel = Panel("p", labels, np.ones(n), X.mean(axis=0)[None], np.eye(d)[None])
    plot_clusters(X, [panel]).savefig(tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 1000


def test_a_large_table_is_drawn_in_part_and_counted_in_full() -> None:
    X = np.random.default_rng(0).normal(size=(3 * MOST_POINTS, 2))
    figure = plot_clusters(X, [Panel("p", np.zeros(len(X), dtype=int))])
    assert len(figure.axes[0].collections[0].get_offsets()) == MOST_POINTS
    assert figure.axes[0].get_legend().get_texts()[0].get_text() == "0: 15,000"


@pytest.mark.parametrize("X", [np.zeros((0, 2)), np.zeros(3), np.full((3, 2), np.nan)])
def test_what_cannot_be_drawn_is_refused(X: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite table"):
        plot_clusters(X, [Panel("p", np.zeros(len(X), dtype=int))])


def test_matplotlib_is_left_as_found(X: np.ndarray) -> None:
    before = dict(mpl.rcParams)
    plot_clusters(X, [Panel("p", np.zeros(len(X), dtype=int))])
    assert dict(mpl.rcParams) == before
