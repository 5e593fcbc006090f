from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from statformer.plotting.optim import CurvePanel, RatioPanel, plot_curves, plot_ratios

pytest.importorskip("matplotlib")


def test_a_line_is_the_median_and_ends_where_a_seed_diverged(tmp_path: Path) -> None:
    ours = np.array([[3.0, 2.0, 1.0], [3.0, 1.0, 0.5], [3.0, 1.5, 0.2]])
    gone = np.array([[3.0, 2.0, 1.0], [3.0, np.nan, np.nan]])
    panels = [[CurvePanel("task", (0, 5, 10), {"ours": ours, "gone": gone})], []]
    figure = plot_curves(panels, title="curves", first=("ours",))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["ours"].get_ydata(), [3.0, 1.5, 0.5])
    np.testing.assert_allclose(lines["gone"].get_xdata(), [0])
    assert lines["ours"].get_linewidth() > lines["gone"].get_linewidth()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "gone"]
    figure.savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5_000


def test_a_name_keeps_its_colour_in_every_panel() -> None:
    flat = np.ones((1, 2))
    first = CurvePanel("one", (1, 2), {"a": flat, "b": flat}, is_log_x=True)
    second = CurvePanel("two", (1, 2), {"b": flat}, is_log_x=True)
    figure = plot_curves([[first, second]])
    colours = [{x.get_label(): x.get_color() for x in ax.lines} for ax in figure.axes]
    assert colours[0]["b"] == colours[1]["b"] != colours[0]["a"]
    assert figure.axes[0].get_xscale() == "log"


def test_ratios_stand_at_their_values_and_show_what_is_over_the_limit(tmp_path: Path) -> None:
    ratios = {"fast": (0.5, 0.4, 0.6), "slow": (2.0, 1.9, 2.2)}
    figure = plot_ratios([RatioPanel("size", ratios, limit=1.25)], title="times")
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == [0.5, 2.0]
    assert points[0].get_color() != points[1].get_color()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["fast", "slow"]
    figure.savefig(tmp_path / "ratios.png")
    assert (tmp_path / "ratios.png").stat().st_size > 5_000


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="panels is empty"):
        plot_curves([])
    with pytest.raises(ValueError, match="panels is empty"):
        plot_ratios([])
