from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from statformer.plotting.calibration import ReliabilityPanel, plot_reliability

pytest.importorskip("matplotlib")


def test_a_point_lies_at_the_means_of_its_bin(tmp_path: Path) -> None:
    bins = np.array([[100.0, 20.0, 30.0], [0.0, 0.0, 0.0], [300.0, 270.0, 210.0]])
    panels = [ReliabilityPanel("one", {"ours": bins}), ReliabilityPanel("two", {"none": 0 * bins})]
    figure = plot_reliability(panels, title="reliability")
    first, second = figure.axes
    curve = next(line for line in first.lines if line.get_label().startswith("ours"))
    np.testing.assert_allclose(curve.get_xdata(), [0.2, 0.9])
    np.testing.assert_allclose(curve.get_ydata(), [0.3, 0.7])
    assert curve.get_label() == "ours: 0.175"  # (10 + 60) / 400
    assert len(second.lines) == 1  # the diagonal alone
    figure.savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5_000


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="panels is empty"):
        plot_reliability([])
