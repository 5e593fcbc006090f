from __future__ import annotations

import numpy as np
import pytest

from statformer.runs.fits import fit_line


def points(rng: np.random.Generator, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log10 n over two decades, log10 of 3 n^-0.5, and whose: 8 seeds differ in their slope."""
    x = np.tile(np.linspace(1.0, 3.0, 6), 8)
    seeds = np.repeat(np.arange(8), 6)
    tilt = noise * rng.normal(size=8)[seeds]
    return x, np.log10(3.0) - 0.5 * x + tilt * (x - 2.0), seeds


def test_an_exact_line_has_its_slope_and_no_width() -> None:
    x, y, _ = points(np.random.default_rng(0), 0.0)
    fit = fit_line(x, y, np.random.default_rng(1))
    assert fit.slope == pytest.approx(-0.5, abs=1e-12)
    assert fit.interval == pytest.approx((-0.5, -0.5), abs=1e-10)
    assert fit.intercept == pytest.approx(np.log10(3.0))
    assert fit.decades == pytest.approx(2.0)
    assert not fit.is_short
    assert str(fit) == "-0.500 [-0.500, -0.500]"


def test_a_fit_agrees_with_polyfit_and_is_short_below_a_decade_and_a_half() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=30), rng.normal(size=30)
    fit = fit_line(x, y, rng)
    assert (fit.slope, fit.intercept) == pytest.approx(tuple(np.polyfit(x, y, 1)))
    assert fit.low < fit.slope < fit.high
    natural = fit_line(np.linspace(0.0, 3.0, 5), np.arange(5.0), rng, log_base=np.e)
    assert natural.decades == pytest.approx(3.0 * np.log10(np.e))
    assert natural.is_short
    assert "short: 1.3 decades" in str(natural)
    assert natural.as_dict()["is_short"] is True


def test_seeds_that_are_drawn_together_cover_and_points_alone_do_not() -> None:
    covered = {"together": 0, "alone": 0}
    for trial in range(200):
        rng = np.random.default_rng(trial)
        x, y, seeds = points(rng, 0.05)
        for name, groups in (("together", seeds), ("alone", None)):
            low, high = fit_line(x, y, rng, groups).interval
            covered[name] += low <= -0.5 <= high
    assert covered["together"] > 0.85 * 200
    assert covered["alone"] < covered["together"]


def test_one_seed_is_drawn_by_points() -> None:
    rng = np.random.default_rng(3)
    x, y = np.arange(10.0), np.arange(10.0) + rng.normal(size=10)
    alone = fit_line(x, y, np.random.default_rng(0))
    assert fit_line(x, y, np.random.default_rng(0), np.zeros(10, dtype=int)) == alone
    assert alone.high > alone.low


def test_draws_without_a_slope_are_left_out() -> None:
    fit = fit_line(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 2.0]), np.random.default_rng(0))
    assert fit.interval == pytest.approx((2.0, 2.0))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([0.0, 1.0], [0.0, 1.0], "at least 3"),
        ([0.0, 1.0, 2.0], [0.0, 1.0], r"x has shape \(3,\) and y \(2,\)"),
        ([0.0, 1.0, np.nan], [0.0, 1.0, 2.0], "not finite"),
        ([1.0, 1.0, 1.0], [0.0, 1.0, 2.0], "two places"),
    ],
)
def test_what_has_no_slope_is_refused(x: list[float], y: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_line(np.array(x), np.array(y), np.random.default_rng(0))
