"""The gallery: one panel per table, the truth as colours, missing cells on the axes."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from statformer.plotting.mixture import COLOURS
from statformer.plotting.prior import Specimen, plot_specimens


def specimen(d: int = 2, title: str = "t", note: str = "") -> Specimen:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, d))
    y = rng.integers(-1, 3, 60)
    return Specimen(title, X, y, np.zeros(d, dtype=bool), note)


def drawn(ax: object) -> dict[tuple[float, ...], np.ndarray]:
    """The points of a panel by their colour."""
    found: dict[tuple[float, ...], np.ndarray] = {}
    for scatter in ax.collections:
        points = np.asarray(scatter.get_offsets())
        colours = scatter.get_facecolors()
        if len(points) and len(colours):
            found[tuple(np.round(colours[0][:3], 4))] = points
    return found


def test_points_have_the_colours_of_their_clusters() -> None:
    one = specimen()
    figure = plot_specimens([one], title="all")
    points = drawn(figure.axes[0])
    for c in range(3):
        colour = tuple(np.round(mpl.colors.to_rgb(COLOURS[c]), 4))
        np.testing.assert_allclose(points[colour], one.X[one.y == c])
    assert figure.get_suptitle() == "all"


def test_rows_with_a_missing_cell_are_ticks_on_the_other_axis() -> None:
    X = np.array([[0.0, 0.0], [1.0, 1.0], [np.nan, 0.5], [0.25, np.nan]])
    figure = plot_specimens([Specimen("t", X, np.zeros(4, int), np.zeros(2, bool))])
    sets = [np.asarray(s.get_offsets()) for s in figure.axes[0].collections]
    everything = np.concatenate([s for s in sets if len(s)])
    assert [0.25, 0.02] in everything.tolist()
    assert [0.02, 0.5] in everything.tolist()
    assert len(everything) == 4


@pytest.mark.parametrize("d", [1, 2, 7])
def test_tables_of_any_width_are_drawn(d: int) -> None:
    one = specimen(d)
    holes = one.X.copy()
    if d > 1:
        holes[::5, 0] = np.nan
    figure = plot_specimens([one, Specimen("holes", holes, one.y, one.is_categorical)] * 4)
    assert len([ax for ax in figure.axes if ax.axison]) == 8
    figure.canvas.draw()


def test_titles_and_notes_are_there() -> None:
    ax = plot_specimens([specimen(title="rings", note="in 5 % of tables")]).axes[0]
    assert ax.get_title() == "rings"
    assert ax.get_xlabel() == "in 5 % of tables"


def test_codes_are_spread_and_far_points_do_not_set_the_frame() -> None:
    X = np.column_stack([np.repeat([0.0, 1.0], 30), np.arange(60.0)])
    X[0, 1] = 1e6
    figure = plot_specimens([Specimen("t", X, np.zeros(60, int), np.array([True, False]))])
    ax = figure.axes[0]
    (points,) = [p for p in (np.asarray(s.get_offsets()) for s in ax.collections) if len(p)]
    x = points[:, 0]
    assert len(np.unique(x)) == 60
    assert np.abs(x - X[:, 0]).max() < 0.3
    assert ax.get_ylim()[1] < 1e4


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="specimens is empty"):
        plot_specimens([])
