"""What is read off runs of the patch transformer: ends of phases, and where transitions lie."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from statformer.experiments.vit_attention import places, quotients
from statformer.experiments.vit_heatmap import fits, holds
from statformer.experiments.vit_phases import phases


def records(**columns: list[float]) -> pd.DataFrame:
    steps = [4 * i for i in range(5)]
    return pd.DataFrame({"step": steps, "start_value": 0.01, **columns})


def test_phases_of_a_run_made_by_hand() -> None:
    run = records(
        attention=[0.2, 0.2, 0.5, 0.95, 1.0],
        **{"signal value": [0.0, 0.1, 0.4, 2.0, 4.0], "loss": [0.7, 0.6, 0.4, 0.3, 0.1]},
    )
    found = phases(run.sample(frac=1.0, random_state=0))
    assert found == pytest.approx(
        {"rise": 0.8, "fall": 0.0, "growth": 40.0, "left": 3.0, "end 1": 8.0, "end 2": 12.0}
    )
    run["attention"] = [0.3, 0.2, 0.6, 0.45, 1.0]
    assert phases(run)["fall"] == pytest.approx(0.15), "what is lost before phase 2 does not count"


def grid(power: float, steepness: float, shift: float = 0.0) -> pd.DataFrame:
    """Test losses that fall with N SNR^power, of two seeds."""
    lines = []
    for seed in range(2):
        for n in (16.0, 32.0, 64.0):
            for snr in np.geomspace(0.05, 1.5, 30):
                place = np.log(n * snr**power / 4.0) - shift - 0.05 * seed
                test = 0.7 / (1.0 + np.exp(steepness * place))
                lines.append({"seed": seed, "n": n, "snr": snr, "test": test, "train": 0.0095})
    return pd.DataFrame(lines)


def test_only_n_snr_squared_makes_a_boundary_of_slope_one_half() -> None:
    boundary, constant = fits(grid(2.0, 3.0))
    assert boundary.slope == pytest.approx(-0.5, abs=0.01)
    expected = 4.0 * np.exp(0.025 + np.log(0.7 / 0.2 - 1.0) / 3.0)
    assert constant.value == pytest.approx(expected, rel=0.02)
    assert holds(grid(2.0, 3.0)).status == "holds"
    assert holds(grid(4.0, 3.0)).status == "fails", "N SNR^4 constant is a slope of -1/4"
    assert holds(grid(2.0, 3.0).assign(train=0.02)).status == "fails", "not fitted"


def test_where_a_transition_lies_and_how_wide_it_is() -> None:
    sharp = grid(2.0, 4.0).assign(attention_is="trained")
    flat = grid(2.0, 2.0, shift=0.3).assign(attention_is="uniform")
    table = pd.concat([sharp, flat])
    odds = np.log(0.7 / 0.2 - 1.0)
    expected = [4.0 * np.exp(odds / 4.0 + 0.05 * seed) for seed in range(2)]
    assert places(table, "trained", 0.2) == pytest.approx(expected, rel=0.02)
    width = odds - np.log(0.7 / 0.5 - 1.0)
    narrower, later = quotients(table)
    assert narrower.value == pytest.approx(width / 4.0 - width / 2.0, abs=0.02)
    assert later.value == pytest.approx(odds / 4.0 - odds / 2.0 - 0.3, abs=0.02)


def test_a_seed_without_all_its_crossings_has_no_place() -> None:
    table = grid(2.0, 4.0).assign(attention_is="trained")
    table.loc[(table["seed"] == 1) & (table["n"] == 16.0), "test"] = 0.7
    found = places(table, "trained", 0.2)
    assert np.isfinite(found[0])
    assert np.isnan(found[1])
