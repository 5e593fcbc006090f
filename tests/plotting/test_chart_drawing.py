from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from statformer.plotting.chart import Chart, HeatMap, Panel, Series
from statformer.plotting.chart_drawing import COLOURS, draw_chart, draw_panels
from statformer.plotting.chart_svg import DARK
from statformer.plotting.chart_text import number_text


def curve(label: str, *, style: str = "line", n: int = 3) -> Series:
    return Series(label, range(1, n + 1), [0.5 / (i + 1) for i in range(n)], style=style)  # type: ignore[arg-type]


def test_a_label_keeps_its_colour_in_every_panel() -> None:
    chart = Chart(
        [
            Panel("one", "x", "y", [curve("a"), curve("b")]),
            Panel("two", "x", "y", [curve("b"), curve("c", style="dashed")]),
        ]
    )
    first, second = (figure.axes[0] for figure in draw_panels(chart))
    assert [line.get_color() for line in first.lines] == list(COLOURS[:2])
    assert [line.get_color() for line in second.lines] == list(COLOURS[1:3])
    whole = draw_chart(chart)
    assert [line.get_color() for line in whole.axes[1].lines] == list(COLOURS[1:3])
    assert [text.get_text() for text in draw_panels(chart)[1].legends[0].get_texts()] == ["b", "c"]


def test_curves_differ_by_more_than_colour() -> None:
    series = [curve(f"curve {i}") for i in range(9)]
    (figure,) = draw_panels(Chart([Panel("", "x", "y", series)]))
    lines = figure.axes[0].lines
    assert len({line.get_marker() for line in lines[:6]}) == 6
    assert lines[7].get_color() == lines[0].get_color()
    assert lines[7].get_linestyle() != lines[0].get_linestyle()


def test_a_zero_on_a_logarithmic_axis_is_marked_at_the_edge_and_not_dropped() -> None:
    series = Series("gap", (1, 2, 3), (1e-9, 0.0, 1e-8), (0.0, 0.0, 1e-9), (1e-8, 0.0, 1e-7))
    (figure,) = draw_panels(Chart([Panel("", "depth", "gap", [series], log_y=True)]))
    ax = figure.axes[0]
    line, mark = ax.lines
    assert math.isnan(line.get_ydata()[1])
    np.testing.assert_array_equal(mark.get_xdata(), [2])
    np.testing.assert_array_equal(mark.get_ydata(), [0.0])  # of the height of the axes
    assert mark.get_transform() == ax.get_xaxis_transform()
    assert "(▽ is 0)" in ax.get_xlabel()
    assert ax.get_ylim()[0] > 1e-12


def test_bars_stand_side_by_side_over_their_names_with_whiskers() -> None:
    bars = [
        Series(name, (0, 1), (0.5, 0.8), (0.4, 0.7), (0.6, 0.9), "bars") for name in ("EM", "Lloyd")
    ]
    panel = Panel("", "table", "ARI", bars, categories=("heavy tails", "even"), rule=0.3)
    ax = draw_panels(Chart([panel]))[0].axes[0]
    boxes = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches)
    assert len(boxes) == 4
    assert all(left[1] < right[0] for left, right in pairwise(boxes))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["heavy tails", "even"]
    ends = [path.vertices[:, 1].tolist() for path in ax.collections[0].get_paths()]
    assert ends == [[0.4, 0.6], [0.7, 0.9]]
    assert ax.lines[0].get_ydata() == [0.3, 0.3]


def test_points_over_one_name_stand_beside_each_other() -> None:
    points = [Series(name, (0, 1), (0.5, 0.8), style="points") for name in ("train", "held out")]
    named = Panel("", "table", "ARI", points, categories=("a", "b"))
    plain = Panel("", "n", "ARI", points)
    (first, second), (third, fourth) = (
        figure.axes[0].lines for figure in draw_panels(Chart([named, plain]))
    )
    assert (first.get_xdata() < second.get_xdata()).all()
    np.testing.assert_allclose((first.get_xdata() + second.get_xdata()) / 2, [0, 1])
    np.testing.assert_array_equal(third.get_xdata(), fourth.get_xdata())


def test_a_single_place_is_the_only_tick() -> None:
    panel = Panel("", "steps", "gap", [Series("a", (15,), (1,))])
    assert draw_panels(Chart([panel]))[0].axes[0].get_xticks().tolist() == [15]


def test_a_heat_map_has_its_values_at_its_places() -> None:
    heat = HeatMap((1, 10, 100), (0, 1), ((1, 2, 3), (4, -5, 6)), "loss", log_z=True, contours=True)
    figure = draw_panels(Chart([Panel("", "n", "depth", heat=heat, log_x=True)]))[0]
    mesh = figure.axes[0].collections[0]
    drawn = mesh.get_array()
    assert drawn.shape == (2, 3)
    assert drawn[0, 2] == 3
    assert bool(drawn.mask[1, 1])  # -5 has no logarithm
    edges = mesh.get_coordinates()[0, :, 0]
    np.testing.assert_allclose(edges[1:3], [10**0.5, 10**1.5])
    assert figure.axes[1].get_ylabel() == "loss"


def test_a_map_of_classes_has_their_names_and_one_colour_each() -> None:
    heat = HeatMap((1, 2), (1, 2), ((0, 1), (1, math.nan)), "side", classes=("low", "high"))
    figure = draw_panels(Chart([Panel("", "x", "y", heat=heat)]))[0]
    bar = figure.axes[1]
    assert [label.get_text() for label in bar.get_yticklabels()] == ["low", "high"]
    mesh = figure.axes[0].collections[0]
    colours = mesh.to_rgba(np.array([0, 1]))
    assert mesh.cmap.N == 2
    assert abs(colours[0, :3].mean() - colours[1, :3].mean()) > 0.2  # also without colour


def test_curves_end_where_the_map_ends_and_points_do_not() -> None:
    heat = HeatMap((1, 10), (10, 100), ((1, 2), (3, 4)), "loss")
    far = Series("boundary", (0.01, 10), (1e6, 10))
    (figure,) = draw_panels(Chart([Panel("", "x", "y", [far], True, True, heat)]))
    np.testing.assert_allclose(figure.axes[0].get_xlim(), (10**-0.5, 10**1.5))
    np.testing.assert_allclose(figure.axes[0].get_ylim(), (10**0.5, 10**2.5))
    point = Series("seen", (200.0, math.nan), (20.0, 20.0), style="points")
    (figure,) = draw_panels(Chart([Panel("", "x", "y", [far, point], True, True, heat)]))
    np.testing.assert_allclose(figure.axes[0].get_xlim(), (10**-0.5, 200.0))


@pytest.mark.parametrize(
    "panel",
    [
        Panel("", "x", "y"),
        Panel("", "x", "y", heat=HeatMap((1,), (1,), ((math.nan,),), "z", classes=("one", "two"))),
        Panel("", "x", "y", [Series("none", (), ())], log_x=True, log_y=True),
        Panel("", "x", "y", [Series("nan", (1, 2), (math.nan, math.nan))], log_y=True),
        Panel("", "x", "y", [Series("zero", (0, 1), (0.0, -1.0))], log_x=True, log_y=True, rule=-1),
        Panel("", "x", "y", [Series("one", (1,), (1,), (0,), (2,))], log_y=True),
        Panel("", "x", "y", heat=HeatMap((1,), (1,), ((2.0,),), "z", log_z=True, contours=True)),
        Panel("", "x", "y", heat=HeatMap((1,), (1,), ((math.nan,),), "z", log_z=True)),
        Panel(
            "", "x", "y", [curve("s", style="bars")], categories=[f"category {i}" for i in "abcd"]
        ),
        Panel("$x^{", "a " * 60, "b " * 60, [curve("$\\frac " * 9), curve("bell \x07")]),
        Panel("", "x", "y", [curve("many", n=400)], log_x=True),
    ],
)
def test_odd_panels_are_drawn_without_a_warning(panel: Panel, tmp_path: Path) -> None:
    (figure,) = draw_panels(Chart([panel]))
    path = tmp_path / "panel.png"
    figure.savefig(path)
    assert path.stat().st_size > 1_000


def test_drawing_leaves_the_settings_of_matplotlib_alone() -> None:
    before = dict(mpl.rcParams)
    draw_chart(Chart([Panel("", "x", "y", [curve("a")])]))
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01, "0.01"),
        (-0.5, "−0.5"),
        (250, "250"),
        (20_000, "20k"),
        (1e-5, "10⁻⁵"),
        (-2e-16, "−2·10⁻¹⁶"),
        (-1e6, "−10⁶"),
        (9.99999e-4, "0.001"),
        (9.998e-5, "10⁻⁴"),
        (99_999, "10⁵"),
        (math.inf, "inf"),
    ],
)
def test_numbers_on_axes(value: float, text: str) -> None:
    assert number_text(value) == text


def test_every_colour_can_be_seen_on_its_page_and_text_can_be_read() -> None:
    """Contrast (WCAG 2.2): 3 for curves, 4.5 for text; the frame is no information."""
    *curves, ink, muted, _ = DARK.items()
    for light, dark in curves:
        assert contrast(light, "#FDFDFB") >= 3.0
        assert contrast(dark, "#15181B") >= 3.0
    for light, dark in (ink, muted):
        assert contrast(light, "#FDFDFB") >= 4.5
        assert contrast(dark, "#15181B") >= 4.5


@pytest.mark.parametrize("page", [0, 1], ids=["light", "dark"])
def test_neighbours_in_the_palette_differ_for_the_colour_blind(page: int) -> None:
    """The first four colours, as a deuteranope and a protanope see them (Viénot et al. 1999)."""
    colours = [pair[page] for pair in DARK.items()][:4]
    for lost in (DEUTERANOPE, PROTANOPE):
        seen = [lost @ linear(colour) for colour in colours]
        gaps = [
            float(np.abs(a ** (1 / 2.2) - b ** (1 / 2.2)).sum())
            for i, a in enumerate(np.clip(seen, 0, 1))
            for b in np.clip(seen, 0, 1)[:i]
        ]
        assert min(gaps) > 0.15


# Linear RGB to linear RGB, rows sum to 1.
DEUTERANOPE = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
PROTANOPE = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])


def linear(colour: str) -> np.ndarray:
    code = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(np.array([0.2126, 0.7152, 0.0722]) @ linear(c)) for c in (one, other))
    return (high + 0.05) / (low + 0.05)
