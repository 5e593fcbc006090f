"""Small multiples of curves: colours by name, shaded intervals, marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from statformer.plotting.spectral import Curve, CurvePanel, plot_curves

pytest.importorskip("matplotlib")


def test_a_name_looks_the_same_in_every_panel(tmp_path: Path) -> None:
    ours = Curve([0, 1, 2], [1.0, 2.0, 4.0], [0.5, 1.5, 3.0], [1.5, 2.5, 5.0])
    theirs = Curve([0, 1, 2], [3.0, 3.0, 3.0])
    panels = [
        CurvePanel("one", {"ours": ours, "theirs": theirs}, names={0: "none", 1: "5%", 2: "10%"}),
        CurvePanel("two", {"theirs": theirs, "ours": ours}, log="y", mark=(1.5, "threshold")),
    ]
    figure = plot_curves(panels, ours=("ours",), title="angles")
    first, second = figure.axes
    colours = [{line.get_label(): line.get_color() for line in ax.lines} for ax in (first, second)]
    assert colours[0]["ours"] == colours[1]["ours"] != colours[0]["theirs"]
    assert [len(ax.collections) for ax in (first, second)] == [1, 1]  # intervals of ours alone
    assert [label.get_text() for label in first.get_xticklabels()] == ["none", "5%", "10%"]
    assert second.get_yscale() == "log"
    assert second.lines[-1].get_xdata() == [1.5, 1.5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "theirs"]
    figure.savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5_000


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="panels is empty"):
        plot_curves([])
