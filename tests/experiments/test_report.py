from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from laboratory import HOSTILE, add_hostile_result, add_result
from statformer.experiments.report import build_site
from statformer.experiments.report.html import Html, element, join
from statformer.experiments.report.papers import in_order, title
from statformer.experiments.report.parts import seconds_text
from statformer.experiments.report.tables import summarise, table_markup
from statformer.experiments.results import read_results, read_table

VOID = {"br", "col", "hr", "input", "link", "meta"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; complains where a tag is not closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.names: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"href", "src"} and value is not None:
                self.links.append(value)
            if name == "id" and value is not None:
                self.names.append(value)
            if name.startswith("on"):
                self.handlers.append(name)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.text += " " if tag in {"td", "th", "dt", "dd", "p", "h1"} else ""

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of experiments with one that has not been run, and a shared part."""
    folder = tmp_path / "packages" / "few_claims"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "_shared.py").write_text("EXPERIMENT = None\n")
    (folder / "waiting.py").write_text(
        "from statformer.experiments.base import Experiment, Verdict\n"
        "grid = {'d': (1,)}\n"
        "EXPERIMENT = Experiment(claim='Nobody has looked yet.', paper='2412.19444',\n"
        "    source='abstract [paper]', kind='existence', grid=grid, quick=grid, tiny=grid,\n"
        "    n_seeds=1, quick_seeds=1, measure=lambda cell, rng: {'gap': 0.0},\n"
        "    holds=lambda table: Verdict.below(0.0, 1.0, threshold_source='ours'))\n"
    )
    monkeypatch.syspath_prepend(folder.parent)
    for name in [name for name in sys.modules if name.split(".")[0] == "few_claims"]:
        monkeypatch.delitem(sys.modules, name)
    return "few_claims"


def build(tmp_path: Path, package: str) -> Path:
    index = build_site(tmp_path / "results", tmp_path / "site", package=package)
    assert index == tmp_path / "site" / "index.html"
    return index


def test_overview_has_every_claim_with_its_verdict_and_the_one_not_run(
    tmp_path: Path, package: str
) -> None:
    results = tmp_path / "results"
    add_result(results, "em_slope", not_the_authors="sizes are ours")
    failed = {
        "status": "fails",
        "measured": "slope 0.3",
        "threshold": "at most 0.2",
        "threshold_source": "paper",
        "reason": "too few layers",
    }
    add_result(results, "looped", paper="2410.08292", verdict=failed, chart=None, size="full")
    add_result(results, "others", paper="1234.56789", provisional="the file was changed")
    page = Page(build(tmp_path, package))
    text = " ".join(page.text.split())
    assert "all 4" in text
    assert "holds 2" in text
    assert "fails 1" in text
    assert "not run 1" in text
    assert "Nobody has looked yet." in text
    assert "gap 0.15 [0.14, 0.16] · threshold at most 0.2 (ours)" in text
    assert "slope 0.3 · threshold at most 0.2 (the paper’s)" in text
    assert text.count("not the authors’ setting") == 1
    assert text.count("provisional") == 1
    assert text.count("quick size") == 2
    assert "3 seeds" in text
    assert "83 s" in text
    assert "0f1e2d3c4b" in text
    assert title("2410.08292") in text
    assert "https://arxiv.org/abs/2410.08292" in page.links
    assert "script" not in page.tags


def test_every_link_inside_the_site_leads_somewhere(tmp_path: Path, package: str) -> None:
    add_result(tmp_path / "results")
    add_result(tmp_path / "results", "without_figure", chart=None)
    site = build(tmp_path, package).parent
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert len(pages) == 4
    outside = set()
    for path, page in pages.items():
        assert len(page.names) == len(set(page.names))
        for link in page.links:
            if link.startswith("https:"):
                outside.add(link)
                continue
            file, _, name = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.is_file(), link
            if target.suffix == ".html" and name:
                assert name in pages[target].names, link
    assert outside == {"https://arxiv.org/abs/2502.06007", "https://arxiv.org/abs/2412.19444"}
    assert not list(site.rglob("*.part"))
    assert "http" not in (site / "site.css").read_text()


def test_a_claims_page_has_what_a_reader_needs_to_believe_or_repeat_it(
    tmp_path: Path, package: str
) -> None:
    add_result(tmp_path / "results", size="tiny")
    add_result(tmp_path / "results", not_the_authors="k is smaller", n_reused=2)
    page = Page(build(tmp_path, package).parent / "claims" / "em_slope.html")
    text = " ".join(page.text.split())
    for words in (
        "The error falls with depth.",
        "learnability: training finds them",
        "item 1 [paper]",
        "k is smaller",
        "before the run, in commit a1b2c3d4e5 (2026-01-02 01:00 UTC+01:00)",
        "tiny: holds (the largest size decides)",
        "half_step the step is halved tiny",
        "Must hold: the oracle",
        "statformer experiments run em_slope --quick",
        "quick, 3 seeds per cell, 6 jobs, 2 taken from an earlier run",
        "83 s by the clock, summed over the jobs; 42 s of them on a core",
        "a processor, 2 cores, 8 GiB, Linux 6",
        "Python 3.11.7, numpy 2.0",
        "Caption of EM.",
        "4 lines: means over 3 seeds",
        "All 12 rows",
    ):
        assert words in text, words
    assert "torch" not in text  # not installed
    assert page.tags.count("figure") == 1


def test_thresholds_that_are_younger_than_the_run_are_called_so(
    tmp_path: Path, package: str
) -> None:
    late = {"commit": "ab" * 20, "date": "2026-01-02T03:04:06+00:00", "is_clean": True, "note": ""}
    add_result(tmp_path / "results", "late", thresholds=late)
    add_result(tmp_path / "results", "dirty", thresholds=late | {"is_clean": False})
    add_result(tmp_path / "results", "lost", thresholds=late | {"commit": None, "note": "no git"})
    claims = build(tmp_path, package).parent / "claims"
    assert "after the run, in commit abababab" in Page(claims / "late.html").text
    assert "the file had changes after commit" in Page(claims / "dirty.html").text
    assert "not known (no git)" in Page(claims / "lost.html").text


def test_nothing_that_people_write_becomes_markup(tmp_path: Path, package: str) -> None:
    add_hostile_result(tmp_path / "results")
    site = build(tmp_path, package).parent
    for path in site.rglob("*.html"):
        page = Page(path)
        assert "script" not in page.tags
        assert not page.handlers
        assert "\x07" not in path.read_text(encoding="utf-8")
    text = Page(site / "claims" / "hostile.html").text
    assert text.count("<script>alert(1)</script>") >= 12
    assert pd.read_csv(site / "data" / "hostile.csv")["prior"].tolist()[-1] == HOSTILE


def test_the_rows_lie_beside_the_page(tmp_path: Path, package: str) -> None:
    add_result(tmp_path / "results")
    site = build(tmp_path, package).parent
    (result,) = read_results(tmp_path / "results")
    rows = read_table(tmp_path / "results", result)
    pd.testing.assert_frame_equal(pd.read_parquet(site / "data" / "em_slope.parquet"), rows)
    pd.testing.assert_frame_equal(pd.read_csv(site / "data" / "em_slope.csv"), rows)


def test_a_run_without_a_finished_job_says_so(tmp_path: Path, package: str) -> None:
    failed = [
        {"cell": {}, "seed": None, "error": "figure: x"},
        {"cell": {"d": 2}, "seed": 0, "error": "TimeoutError"},
    ]
    add_result(tmp_path / "results", "broken", failed=failed, chart=None)
    path = tmp_path / "results" / "broken.quick.json"
    path.write_text(path.read_text().replace('"key"', ""))
    text = Page(build(tmp_path, package).parent / "claims" / "broken.html").text
    assert "No job has finished." in text
    assert "d 2 0 TimeoutError" in text
    assert "figure: x" in text
    assert "None" not in text


def test_a_site_is_written_over_and_a_name_cannot_leave_it(tmp_path: Path, package: str) -> None:
    add_result(tmp_path / "results")
    before = build(tmp_path, package).read_text()
    assert build(tmp_path, package).read_text() == before
    path = tmp_path / "results" / "em_slope.quick.json"
    path.write_text(path.read_text().replace('"name": "em_slope"', '"name": "../em_slope"'))
    with pytest.raises(ValueError, match=r"name is '\.\./em_slope'"):
        build(tmp_path, package)


def test_elements_escape_all_but_markup() -> None:
    made = element("p", "a < b", element("b", "&"), None, 3, title='"x"', hidden=True, class_=None)
    assert made == '<p title="&quot;x&quot;" hidden>a &lt; b<b>&amp;</b>3</p>'
    assert isinstance(made, Html)
    assert join(made, "<") == made + "&lt;"
    assert not isinstance(made + "<", Html)  # text added to markup is text again
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'


def test_rows_of_a_cell_are_summed_up_over_seeds() -> None:
    rows = [
        {"n": n, "seed": seed, "depth": depth, "gap": n * (seed + 1.0), "steps": seed, "how": "EM"}
        for n in (10, 1000)
        for seed in range(3)
        for depth in (1, 2)
    ]
    summary = summarise(pd.DataFrame(rows), ["n"])
    assert summary.keys == ["n", "depth"]
    assert summary.values == ["gap", "steps", "how"]
    assert (summary.n_cells, summary.n_seeds) == (4, 3)
    plain = [re.sub("<[^>]*>", "", cell) for cell in summary.lines[2]]
    assert plain == ["1000", "1", "2000 [1000, 3000]", "1 [0, 2]", "EM"]
    assert '<div class="scroll" tabindex="0" role="region"' in table_markup(summary)


def test_repeats_within_a_seed_do_not_narrow_its_interval() -> None:
    """Rows of one seed are no independent draws: 50 equal ones count as one."""
    once = [{"seed": seed, "gap": float(seed)} for seed in range(4)]
    intervals = [summarise(pd.DataFrame(once * n), []).lines for n in (1, 50)]
    assert intervals[0] == intervals[1]


def test_a_long_table_is_cut_and_gaps_truth_and_text_are_shown() -> None:
    rows = [
        {"n": n, "seed": seed, "ok": seed == 0, "gap": float("nan"), "how": f"way {seed}"}
        for n in range(5)
        for seed in range(2)
    ]
    summary = summarise(pd.DataFrame(rows), ["n"], most=2)
    assert (len(summary.lines), summary.n_cells) == (2, 5)
    assert [str(cell) for cell in summary.lines[0]] == [
        "0",
        "yes 1/2, no 1/2",
        "–",
        "way 0 1/2, way 1 1/2",
    ]


def test_papers_and_times() -> None:
    assert in_order(["9999.00001", "ours", "2502.06007", "ours"]) == [
        "2502.06007",
        "ours",
        "9999.00001",
    ]
    assert title("9999.00001") == "arXiv 9999.00001"
    times = [seconds_text(seconds) for seconds in (0.04, 9.96, 99.6, 5400)]
    assert times == ["0.0 s", "10 s", "1.7 min", "1.5 h"]
