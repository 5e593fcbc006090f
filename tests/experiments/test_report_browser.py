"""The site as a reader sees it: on a phone and a desk, by day and by night."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from browser import find_browser, look
from laboratory import add_hostile_result, add_result
from statformer.experiments.report import build_site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_browser() is None, reason="no Chromium on the path; `apt-get install chromium`"
    ),
]
PAGES = ("index.html", "claims/em_slope.html", "claims/wide.html", "claims/hostile.html")
PHONES = [{"page": page, "width": width} for page in PAGES for width in (320, 360)]
DESKS = [{"page": page, "width": 1280} for page in PAGES]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "packages" / "no_claims").mkdir(parents=True)
    (folder / "packages" / "no_claims" / "__init__.py").write_text("")
    results = folder / "results"
    add_result(results, "em_slope", not_the_authors="sizes are ours", provisional="so far")
    row = {f"a_long_name_of_a_measured_number_{i}": 0.1 * i for i in range(9)}
    add_result(results, "wide", paper="ours", rows=[{"d": 2, "seed": 0, **row}])
    add_hostile_result(results)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "packages")
        return build_site(results, folder / "site", package="no_claims").parent


@pytest.fixture(scope="module")
def seen(site: Path) -> dict[str, tuple[list[dict[str, Any]], list[str]]]:
    return {scheme: look(site, [*PHONES, *DESKS], scheme=scheme) for scheme in ("light", "dark")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_scrolls_sideways_and_all_text_can_be_read(
    seen: dict[str, tuple[list[dict[str, Any]], list[str]]], scheme: str
) -> None:
    findings, console = seen[scheme]
    assert len(findings) == len(PHONES) + len(DESKS)
    assert not console
    for one in findings:
        assert one["scroll_width"] <= one["width"], one
        assert not one["wide"], one
        assert not one["faint"], one
        assert one["rules"][0] > 50  # the style sheet was read
        assert all(name.startswith("file:") for name in one["loaded"])


def test_wide_tables_scroll_in_their_own_box(
    seen: dict[str, tuple[list[dict[str, Any]], list[str]]],
) -> None:
    (phone,) = (
        one for one in seen["light"][0] if one["page"] == "claims/wide.html" and one["width"] == 360
    )
    assert any(inside > width for width, inside in phone["boxes"])
    assert all(width <= 360 for width, _ in phone["boxes"])


def test_dark_is_dark_in_pages_and_figures(
    seen: dict[str, tuple[list[dict[str, Any]], list[str]]],
) -> None:
    for day, night in zip(seen["light"][0], seen["dark"][0], strict=True):
        assert brightness(day["paper"]) > 240 > 60 > brightness(night["paper"])
        assert brightness(day["ink"]) < 60 < 200 < brightness(night["ink"])
        assert len(day["chart"]) == len(night["chart"])
        pairs = list(zip(day["chart"], night["chart"], strict=True))
        assert all(brightness(a) < 128 < brightness(b) for a, b in pairs)
        assert bool(pairs) == day["page"].startswith("claims/")


def test_verdicts_are_filtered_without_a_script(site: Path) -> None:
    jobs = [{"page": "index.html", "click": [f"show-{key}"]} for key in ("undecided", "all")]
    (undecided, everything), _ = look(site, jobs)
    assert (undecided["claims"], undecided["papers"]) == (1, 1)
    assert (everything["claims"], everything["papers"]) == (3, 2)


def test_the_check_sees_a_page_that_is_too_wide_or_too_faint(site: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(site, broken, ignore=shutil.ignore_patterns(".profile"))
    sheet = broken / "site.css"
    faults = "main { min-width: 700px; } .facts { color: #999; }"
    sheet.write_text(sheet.read_text() + faults)
    index = broken / "index.html"
    index.write_text(index.read_text().replace("</body>", "<script>undefined_name</script></body>"))
    (one,), console = look(broken, [{"page": "index.html"}])
    assert one["scroll_width"] > one["width"]
    assert one["faint"]
    assert "undefined_name" in " ".join(console)


def brightness(colour: str) -> float:
    """Mean of red, green and blue in "rgb(1, 2, 3)"."""
    numbers = [float(part) for part in colour.strip("rgba()").split(",")[:3]]
    return sum(numbers) / 3
