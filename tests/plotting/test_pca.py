"""The picture of components: what is drawn where, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from statformer.plotting.mixture import MOST_POINTS
from statformer.plotting.pca import (
    MOST_COLUMNS,
    MOST_LOADED,
    ComponentView,
    chosen_rows,
    frame_of,
    plot_components,
)


def view_of(n: int = 80, k: int = 3, d: int = 5, *, n_rest: int = 2) -> ComponentView:
    rng = np.random.default_rng(0)
    return ComponentView(
        scores=rng.normal(size=(n, k)) * np.arange(k, 0, -1),
        row_weights=rng.uniform(0.2, 1.0, size=n),
        shares=np.array([0.5, 0.2, 0.1, 0.05, 0.05, 0.04, 0.03])[:k],
        loadings=np.linalg.qr(rng.normal(size=(d, k)))[0].T,
        feature_names=[f"column {j}" for j in range(d)],
        n_rest=n_rest,
    )


def drawn(ax: object) -> np.ndarray:
    return np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])


def test_every_row_is_drawn_at_its_first_two_scores() -> None:
    view = view_of()
    points, *_, bar = plot_components(view, title="t").axes
    at = drawn(points)
    order = np.lexsort(at.T)
    expected = view.scores[:, :2]
    np.testing.assert_allclose(at[order], expected[np.lexsort(expected.T)])
    values = np.concatenate([c.get_array() for c in points.collections])
    np.testing.assert_allclose(np.sort(values), np.sort(view.row_weights))
    assert points.get_title() == "80 rows"
    assert points.get_xlabel() == "component 1 (50% of variance)"
    assert points.get_ylabel() == "component 2 (20% of variance)"
    assert bar.get_ylabel() == "weight of the row"
    other = plot_components(replace(view, weight_name="weight of its cells"))
    assert other.axes[-1].get_ylabel() == "weight of its cells"


def test_shares_are_bars_and_the_rest_is_one_more() -> None:
    bars = plot_components(view_of()).axes[1]
    np.testing.assert_allclose([p.get_height() for p in bars.patches], [0.5, 0.2, 0.1, 0.2])
    names = [t.get_text() for t in bars.get_xticklabels()]
    assert names == ["1", "2", "3", "2\nmore"]
    bars = plot_components(view_of(n_rest=0)).axes[1]
    assert len(bars.patches) == 3


def test_loadings_are_numbers_in_cells() -> None:
    view = view_of()
    cells = plot_components(view).axes[2]
    np.testing.assert_allclose(np.asarray(cells.images[0].get_array()), view.loadings.T)
    said = [float(t.get_text().replace("−", "-")) for t in cells.texts]
    np.testing.assert_allclose(said, view.loadings.T.ravel(), atol=0.0051)
    assert [t.get_text() for t in cells.get_yticklabels()] == view.feature_names


def test_many_columns_and_components() -> None:
    view = view_of(k=7, d=30)
    view.loadings[:, 4] = 0.9
    cells = plot_components(view).axes[2]
    assert np.asarray(cells.images[0].get_array()).shape == (MOST_COLUMNS, MOST_LOADED)
    assert cells.get_title() == "loadings, 16 of 30 columns"
    assert "column 4" in [t.get_text() for t in cells.get_yticklabels()]


def test_rows_far_away_are_triangles_on_the_border() -> None:
    view = view_of()
    view.scores[3] = [1e4, 0.0, 0.0]
    view.scores[4] = [0.0, -1e4, 0.0]
    points = plot_components(view).axes[0]
    (low, high), (bottom, top) = points.get_xlim(), points.get_ylim()
    at = drawn(points)
    assert len(at) == 80
    assert (at >= [low, bottom]).all()
    assert (at <= [high, top]).all()
    assert high < 100
    assert [t.get_text() for t in points.texts] == ["▲ 2 rows further out"]


def test_no_colour_bar_where_all_rows_weigh_the_same() -> None:
    view = view_of()
    view.row_weights[:] = 1.0
    assert len(plot_components(view).axes) == 3


def test_one_component_is_drawn_against_noise() -> None:
    figure = plot_components(view_of(k=1))
    assert figure.axes[0].get_ylabel() == "noise, to part the points"
    again = drawn(plot_components(view_of(k=1)).axes[0])
    np.testing.assert_array_equal(drawn(figure.axes[0]), again)


def test_a_long_table_is_thinned_but_not_of_its_light_rows() -> None:
    weights = np.ones(3 * MOST_POINTS)
    weights[::100] = 0.1
    rows = chosen_rows(weights)
    assert len(set(rows)) == MOST_POINTS
    assert set(np.flatnonzero(weights < 1)) <= set(rows)
    np.testing.assert_array_equal(rows, chosen_rows(weights))
    assert weights[rows[-1]] == 0.1  # drawn last, on top


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.array([[0.0, 0.0], [1.0, 0.0]])])
def test_a_frame_has_an_extent(points: np.ndarray) -> None:
    low, high = frame_of(points)
    assert (high > low).all()


def test_refusals() -> None:
    view = view_of()
    view.scores[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        plot_components(view)
    with pytest.raises(ValueError, match="finite"):
        plot_components(view_of(n=0))


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_it_can_be_saved(tmp_path: Path, ending: str) -> None:
    before = dict(mpl.rcParams)
    path = tmp_path / f"picture.{ending}"
    plot_components(view_of(), title="a table").savefig(path)
    assert path.stat().st_size > 5000
    assert dict(mpl.rcParams) == before
