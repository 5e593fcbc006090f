from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from laboratory import HOSTILE, chart
from statformer.plotting.chart import Chart, Panel, Series
from statformer.plotting.chart_svg import DARK, chart_svg, dark_rules, panel_svgs

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(one.itertext()).strip() for one in ET.fromstring(svg).iter(f"{SVG}text")]


def test_text_is_text_and_a_reader_of_screens_hears_what_is_drawn() -> None:
    first, second = panel_svgs(chart())
    assert {"EM", "oracle", "separation", "error", "t"} <= set(texts(first))
    assert "loss" in texts(second)
    root = ET.fromstring(first)
    assert root.get("role") == "img"
    assert "EM: 0.5 at 1, 0.02 at 4." in root.get("aria-label", "")


def test_hostile_text_stays_text() -> None:
    (svg,) = panel_svgs(Chart([Panel(HOSTILE, HOSTILE, HOSTILE, [Series(HOSTILE, (1,), (1,))])]))
    root = ET.fromstring(svg)  # well-formed
    assert not [one for one in root.iter() if one.tag.endswith("script")]
    assert "<script>alert(1)</script>" in " ".join(texts(svg))
    assert "$x^{$" in " ".join(texts(svg))


def test_every_colour_has_a_partner_for_dark_pages() -> None:
    series = [Series(f"curve {i}", (1, 2), (i, 1), (0, 0), (i, 2)) for i in range(8)]
    bars = [Series("bars", (0, 1), (1, 2), (0, 1), (2, 3), "bars")]
    panels = [
        Panel("", "x", "y", series, rule=1.0, rule_label="rule"),
        Panel("", "x", "y", bars, categories=("a", "b")),
    ]
    for svg in panel_svgs(Chart(panels)):
        used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg))
        assert used
        assert used <= {colour.lower() for colour in DARK}
        assert "fill: #ffffff" not in svg  # no background
        assert not re.search(r"<text(?![^>]*fill: #)[^>]*>", svg)  # no text in default black
    for light, dark in DARK.items():
        assert f'"fill: {light.lower()}"]{{fill:{dark}' in dark_rules()


def test_a_whole_chart_is_one_file_with_its_own_rules() -> None:
    whole = chart_svg(panel_svgs(chart()), chart().in_words())
    root = ET.fromstring(whole.encode())
    panels = root.findall(f"{SVG}svg")
    assert len(panels) == 2
    assert float(panels[1].get("x", "0")) == float(panels[0].get("width", "0")) > 0
    assert float(root.get("width", "0")) == 2 * float(panels[0].get("width", "0"))
    assert dark_rules() in "".join(root.find(f"{SVG}style").itertext())  # type: ignore[union-attr]


def test_names_are_not_shared_between_panels_and_all_are_found() -> None:
    whole = chart_svg(panel_svgs(chart()), "")
    names = re.findall(r'\bid="([^"]*)"', whole)
    assert names
    assert len(names) == len(set(names))
    wanted = set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', whole))
    assert {a or b for a, b in wanted} <= set(names)


def test_equal_charts_give_equal_bytes() -> None:
    assert panel_svgs(chart()) == panel_svgs(chart())


@pytest.mark.parametrize("n_panels", [1, 3, 4])
def test_four_panels_take_two_rows(n_panels: int) -> None:
    panel = Panel("", "x", "y", [Series("a", (1, 2), (1, 2))])
    svgs = panel_svgs(Chart([panel] * n_panels))
    root = ET.fromstring(chart_svg(svgs, "").encode())
    height = float(ET.fromstring(svgs[0]).get("height", "0"))
    assert float(root.get("height", "0")) == pytest.approx(height * (2 if n_panels == 4 else 1))
