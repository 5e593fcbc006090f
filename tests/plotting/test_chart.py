from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from statformer.plotting.chart import Chart, HeatMap, Panel, Series


def chart() -> Chart:
    bars = Series("EM", np.arange(2), np.array([0.5, math.nan]), [0.4, 0.1], [0.6, 0.2], "bars")
    heat = HeatMap([1, 2], [3], [[np.float32(1.5), math.inf]], "loss", log_z=True, contours=True)
    first = Panel("bars", "table", "ARI", [bars], categories=("a", "b"), rule=0.4, rule_label="t")
    return Chart([first, Panel("", "x", "y", heat=heat, log_x=True, log_y=True)], "caption")


def test_a_chart_passes_through_json_and_gaps_stay_gaps() -> None:
    text = json.dumps(chart().to_json(), allow_nan=False)
    back = Chart.from_json(json.loads(text))
    assert back.to_json() == chart().to_json()
    (bars,), heat = back.panels[0].series, back.panels[1].heat
    assert heat is not None
    assert bars.style == "bars"
    assert bars.y[0] == 0.5
    assert math.isnan(bars.y[1])
    assert math.isnan(heat.z[0][1])
    assert (heat.log_z, heat.contours, back.panels[1].log_x) == (True, True, True)
    assert (back.panels[0].categories, back.panels[0].rule) == (["a", "b"], 0.4)


def test_in_words_a_chart_names_its_axes_curves_and_ends() -> None:
    words = chart().in_words()
    assert "bars: ARI over table. EM: 0.5 at a." in words
    assert "map of loss from 1.5 to 1.5, y over x." in words
    curve = Series("Lloyd", (1, 2, 3), (0.9, 0.5, 0.25))
    line = Chart([Panel("t", "n", "error", [curve, Series("none", (), ())])]).in_words()
    assert line == "t: error over n. Lloyd: 0.9 at 1, 0.25 at 3. none: no values."


def test_a_map_of_classes_passes_through_json_and_is_counted_in_words() -> None:
    heat = HeatMap((1, 2), (3,), ((0, 1),), "error cut at 0.2", classes=("above", "below"))
    drawn = Chart([Panel("", "n", "SNR", heat=heat)])
    back = Chart.from_json(json.loads(json.dumps(drawn.to_json()))).panels[0].heat
    assert back is not None
    assert list(back.classes) == ["above", "below"]
    assert "error cut at 0.2 (above in 1, below in 1 of 2 cells), SNR over n." in drawn.in_words()
    older = drawn.to_json()
    del older["panels"][0]["heat"]["classes"]
    assert not Chart.from_json(older).panels[0].heat.classes  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda: Series("s", (1, 2), (1,)), "y of series 's' has 1 numbers for 2 places"),
        (lambda: Series("s", (1,), (1,), low=(0, 1), high=(2,)), "low of series 's'"),
        (lambda: Series("s", (1,), (1,), low=(0,)), "one of low and high"),
        (lambda: Series("s", (1,), (1,), style="pie"), "style must be one of"),
        (lambda: HeatMap((1, 2), (1,), ((1,),), "z"), "1 rows .* of 2 numbers"),
        (lambda: HeatMap((), (1,), ((),), "z"), "at least one x"),
        (lambda: HeatMap((1,), (1,), ((2,),), "z", classes=("a", "b")), "values 0 to 1"),
        (lambda: Chart(()), "panels is empty"),
    ],
)
def test_what_cannot_be_drawn_is_refused(broken: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        broken()  # type: ignore[operator]


def test_a_chart_needs_no_matplotlib() -> None:
    code = "import sys, statformer.plotting.chart; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
