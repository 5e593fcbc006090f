from __future__ import annotations

import math

import pytest

from statformer.experiments.verdict import Verdict


@pytest.mark.parametrize(
    ("measured", "interval", "status"),
    [
        (1.0, None, "holds"),
        (2.0, None, "holds"),
        (2.1, None, "fails"),
        (1.0, (0.5, 1.9), "holds"),
        (1.0, (0.5, 2.1), "undecided"),
        (3.0, (1.9, 3.5), "undecided"),
        (3.0, (2.1, 3.5), "fails"),
        (math.nan, None, "undecided"),
        (1.0, (0.5, math.nan), "undecided"),
    ],
)
def test_below_and_above_mirror_each_other(
    measured: float, interval: tuple[float, float] | None, status: str
) -> None:
    below = Verdict.below(measured, 2.0, threshold_source="ours", interval=interval, what="gap")
    mirrored = None if interval is None else (-interval[1], -interval[0])
    above = Verdict.above(-measured, -2.0, threshold_source="ours", interval=mirrored, what="gap")
    assert below.status == above.status == status
    assert (below.reason != "") == (status == "undecided")
    assert below.measured.startswith("gap ")
    assert below.threshold == "at most 2"
    assert above.threshold == "at least -2"


def test_the_numbers_are_in_the_words() -> None:
    verdict = Verdict.above(3.25, 2, threshold_source="paper", interval=(3.0, 3.5), what="slope")
    assert verdict.measured == "slope 3.25 [3, 3.5]"


def make(status: str, source: str) -> Verdict:
    return Verdict(status, f"m-{status}", "t", source, "why" if status != "holds" else "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (["holds", "holds"], "holds"),
        (["holds", "undecided"], "undecided"),
        (["undecided", "fails", "holds"], "fails"),
    ],
)
def test_all_of_is_as_good_as_the_worst(statuses: list[str], status: str) -> None:
    verdict = Verdict.all_of(*(make(one, "paper") for one in statuses))
    assert verdict.status == status
    assert verdict.measured == "; ".join(f"m-{one}" for one in statuses)
    assert (verdict.reason == "") == (status == "holds")


@pytest.mark.parametrize(
    ("sources", "source"),
    [
        (["paper", "paper"], "paper"),
        (["paper", "derived"], "derived"),
        (["derived", "ours", "paper"], "ours"),
    ],
)
def test_all_of_names_the_threshold_that_is_least_the_papers(
    sources: list[str], source: str
) -> None:
    assert Verdict.all_of(*(make("holds", one) for one in sources)).threshold_source == source


def test_what_is_no_verdict_is_refused() -> None:
    with pytest.raises(ValueError, match="status is 'maybe'; pass one of holds"):
        Verdict("maybe", "1", "2", "ours")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threshold_source is 'theirs'"):
        Verdict("holds", "1", "2", "theirs")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one"):
        Verdict.all_of()
