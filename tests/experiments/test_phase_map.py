from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from statformer.experiments._phase_map import PhaseMap

X, Y = np.geomspace(0.05, 0.5, 8), (10, 30, 90, 270)


def table() -> pd.DataFrame:
    """0.2 on x^4 y = 0.02 c, c = 1, 2, 4 by seed, falling; rows in no order."""
    rows = [
        {
            "seed": seed,
            "x": x,
            "y": y,
            "z": 0.2 - 0.05 * np.log(x**4 * y / (0.02 * 2.0**seed)),
            "other": 1.0,
        }
        for seed in range(3)
        for x in X
        for y in Y
    ]
    return pd.DataFrame(rows).sample(frac=1.0, random_state=0)


def diagram() -> PhaseMap:
    return PhaseMap.of(table(), "x", "y", "z", 0.2)


def test_values_are_at_their_places_whatever_the_order_of_the_rows() -> None:
    found = diagram()
    assert found.z.shape == (3, len(X), len(Y))
    for seed, i, j in ((0, 0, 0), (2, 7, 3), (1, 3, 2)):
        expected = 0.2 - 0.05 * np.log(X[i] ** 4 * Y[j] / (0.02 * 2.0**seed))
        assert found.z[seed, i, j] == pytest.approx(expected)


def test_the_boundary_and_the_constants_of_all_and_of_each_seed() -> None:
    assert diagram().boundary().slope == pytest.approx(-4.0)
    assert diagram().constant(4.0).value == pytest.approx(0.04)
    np.testing.assert_allclose(diagram().constants(4.0), [0.02, 0.04, 0.08])


def test_rows_that_are_missing_or_doubled_are_refused() -> None:
    with pytest.raises(ValueError, match="95 rows are not one for each of 3 seeds, 8 values of x"):
        PhaseMap.of(table().iloc[1:], "x", "y", "z", 0.2)
    doubled = pd.concat([table().iloc[1:], table().iloc[1:2]])
    with pytest.raises(ValueError, match="96 rows are not one"):
        PhaseMap.of(doubled, "x", "y", "z", 0.2)


def test_panels_have_the_map_its_cut_and_both_curves() -> None:
    value, cut = diagram().panels("errors", ("x", "y", "error"), (4.0, "theory"))
    assert value.heat is not None
    assert cut.heat is not None
    np.testing.assert_allclose(value.heat.z[2], diagram().z.mean(axis=0)[:, 2])
    assert cut.heat.classes == ("below 0.2", "from 0.2")
    assert [[v >= 0.2 for v in row] for row in value.heat.z] == [
        [v == 1.0 for v in row] for row in cut.heat.z
    ]
    assert [one.label for one in cut.series] == ["crossings of 0.2", "fitted boundary", "theory"]
    np.testing.assert_allclose(cut.series[1].y, cut.series[2].y)
    flat = PhaseMap.of(table().assign(z=1.0), "x", "y", "z", 0.2)
    assert not flat.panels("flat", ("x", "y", "error"), (4.0, "theory"))[0].series
