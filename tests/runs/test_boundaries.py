from __future__ import annotations

import math

import numpy as np
import pytest

from statformer.runs.boundaries import Along, crossings, fit_boundary, fit_constant

X, Y = np.geomspace(0.05, 0.5, 20), np.geomspace(10.0, 1000.0, 15)


def diagram(power: float = 4.0, constant: float = 0.02, noise: float = 0.0) -> np.ndarray:
    """0.2 where x^power y = constant, falling through it along both axes; four seeds."""
    rng = np.random.default_rng(0)
    u = np.log(X)[:, None] * power + np.log(Y) - np.log(constant)
    shifts = noise * rng.normal(size=(4, 1, 1))
    return 0.2 - 0.05 * (u + shifts)


@pytest.mark.parametrize("along", ["x", "y"])
@pytest.mark.parametrize("power", [0.5, 2.0, 4.0])
def test_a_power_law_is_found_exactly(along: Along, power: float) -> None:
    z = diagram(power, constant=(X[10] ** power) * Y[7])
    fit = fit_boundary(z, X, Y, 0.2, np.random.default_rng(0), along=along)
    assert fit.slope == pytest.approx(-power, abs=1e-9)
    assert fit.interval == pytest.approx((-power, -power), abs=1e-9)
    assert fit.r_squared == pytest.approx(1.0)
    assert fit.share == 1.0
    np.testing.assert_allclose(fit.at(X) * X**power, X[10] ** power * Y[7])
    known = fit_constant(z, X, Y, 0.2, power, np.random.default_rng(0), along=along)
    assert known.value == pytest.approx(X[10] ** power * Y[7])
    assert known.r_squared == pytest.approx(1.0)
    np.testing.assert_allclose(known.at(X), fit.at(X))


def test_a_wrong_power_shows_in_its_fit() -> None:
    known = fit_constant(diagram(4.0), X, Y, 0.2, 2.0, np.random.default_rng(0))
    assert known.r_squared < 0.5


def test_lines_without_one_crossing_are_counted() -> None:
    z = np.array([[0.9, 0.9, 0.1], [0.1, 0.9, 0.9], [0.9, 0.9, 0.1], [0.1, 0.1, 0.1]]).T
    x, y = np.array([1.0, 10.0, 100.0]), np.array([1.0, 2.0, 3.0, 4.0])
    found = crossings(z, x, y, 0.5)
    np.testing.assert_allclose(found.x, [10**1.5, 10**0.5, 10**1.5])
    np.testing.assert_allclose(found.y, [1.0, 2.0, 3.0])
    assert (found.n_none, found.n_several) == (1, 0)
    columns = crossings(z, x, y, 0.5, along="y")
    assert (columns.n_points, columns.n_none, columns.n_several) == (1, 0, 2)
    assert str(columns) == "1 of 3 lines (0 without a crossing, 2 with several)"
    np.testing.assert_allclose(columns.y, [math.sqrt(12.0)])


def test_interpolation_is_linear_in_the_logarithm() -> None:
    z = np.array([[1.0, 1.0], [0.0, 0.0]])
    found = crossings(z, np.array([1.0, 16.0]), np.array([1.0, 2.0]), 0.25)
    np.testing.assert_allclose(found.x, [8.0, 8.0])


def test_the_interval_is_of_the_seeds() -> None:
    """A seed shifts the whole boundary: the constant is unsure, the slope is not."""
    z = diagram(noise=0.3)
    rng = np.random.default_rng(0)
    fit, known = fit_boundary(z, X, Y, 0.2, rng), fit_constant(z, X, Y, 0.2, 4.0, rng)
    assert fit.high - fit.low < 1e-6
    assert known.low < known.value * 0.97
    assert known.high > known.value * 1.03
    alone = fit_boundary(z[:1], X, Y, 0.2, rng)
    assert all(math.isnan(end) for end in alone.interval)


def test_a_boundary_along_the_y_axis_has_no_slope_that_is_sure() -> None:
    rng = np.random.default_rng(0)
    tilt = np.array([-0.4, -0.2, 0.2, 0.4])[:, None, None] * (np.log(Y) - np.log(Y).mean())
    z = 0.2 - np.log(X / X[10])[None, :, None] + tilt
    fit = fit_boundary(z, X, Y, 0.2, rng)
    assert fit.interval == (-math.inf, math.inf)
    upright = fit_boundary(z.mean(axis=0, keepdims=True), X, Y, 0.2, rng)
    np.testing.assert_allclose(upright.crossings.x, X[10])
    assert abs(upright.slope) > 1e9


def test_errors_along_a_line_do_not_flatten_its_slope() -> None:
    """Least squares of y on x would, where the noise is that of x; x on y is right on average."""
    rng = np.random.default_rng(0)
    found, flat = [], []
    for _ in range(30):
        u = np.log(X)[:, None] * 4.0 + np.log(Y) - np.log(0.02) + rng.normal(0, 1.0, len(Y))
        fit = fit_boundary((0.2 - 0.05 * u)[None], X, Y, 0.2, rng)
        found.append(1.0 / fit.slope)
        log_x, log_y = np.log(fit.crossings.x), np.log(fit.crossings.y)
        flat.append(np.polyfit(log_x, log_y, 1)[0])
    assert np.mean(found) == pytest.approx(-0.25, abs=0.03)
    assert np.mean(flat) > -3.6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"z": np.zeros((2, 3, 4))}, "shape"),
        ({"z": np.full((2, 20, 15), np.nan)}, "600 values that are not finite"),
        ({"x": X[::-1]}, "x must be"),
        ({"y": np.concatenate([[0.0], Y[1:]])}, "y must be"),
        ({"along": "z"}, "along='z'"),
        ({"level": 99.0}, "0 of 15 lines"),
    ],
)
def test_what_has_no_boundary_is_refused(change: dict[str, object], words: str) -> None:
    given = {"z": diagram(), "x": X, "y": Y, "level": 0.2} | change
    with pytest.raises(ValueError, match=words):
        fit_boundary(rng=np.random.default_rng(0), **given)  # type: ignore[arg-type]


def test_a_power_of_zero_cannot_place_a_row() -> None:
    with pytest.raises(ValueError, match="power=0"):
        fit_constant(diagram(), X, Y, 0.2, 0.0, np.random.default_rng(0))
