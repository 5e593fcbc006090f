"""The Bayesian network bench at sizes of seconds: what the file holds, and that verdicts follow."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from statformer.benchmarks import bayesnet_cost as cost
from statformer.benchmarks import bayesnet_equality as equality
from statformer.benchmarks import bayesnet_truth as truth
from statformer.benchmarks.bayesnet import bench_bayesnet
from statformer.benchmarks.bayesnet_rivals import Agrum, Pgmpy, Pomegranate, global_seeds_kept
from statformer.benchmarks.bayesnet_settings import Sizes
from statformer.benchmarks.bayesnet_summary import sheets
from statformer.benchmarks.bayesnet_targets import targets
from statformer.benchmarks.parts import cells_of
from statformer.benchmarks.verdicts import INVALID, MISSING, REACHED, SHORT
from statformer.estimators.bayes_net import AttentionBayesNet
from statformer.tasks.bayes_net import BayesNetPrior

TINY = Sizes(
    "tiny",
    contexts=(2, 50),
    networks=12,
    attention_networks=2,
    compared_networks=1,
    variables=(5,),
    rows=(60,),
    rounds=1,
)
pytestmark = pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")


@pytest.fixture(scope="module")
def few() -> Iterator[None]:
    """Three structures, one cell beside pgmpy."""
    every = truth.priors(51)
    some = {name: every[name] for name in ("wet grass", "sachs", "random DAGs of 5")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(truth, "priors", lambda _: some)
        patch.setattr(equality, "SHAPES", ((4, 50),))
        patch.setattr(cost, "MOST_DRAWN", {cost.ATTENTION: 50, cost.POMEGRANATE: 50})
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("json") / "x.json"


@pytest.fixture(scope="module")
def measured(few: None, path: Path) -> dict[str, Any]:
    """A run of all parts into `path`."""
    return bench_bayesnet(TINY, json_path=path)


def test_the_file_and_its_sheets(measured: dict[str, Any], path: Path) -> None:
    assert json.loads(path.read_text()) == json.loads(json.dumps(measured))
    assert set(measured["cells"]) == {
        *(f"a: {name}" for name in ("wet grass", "sachs", "random DAGs of 5")),
        "b: 4 variables, 50 rows",
        "c: 5 variables, 60 rows, numbers",
        "c: 5 variables, 60 rows, categories",
    }
    cell = measured["cells"]["a: wet grass"]
    for of_contexts in cell["tv"].values():
        assert list(of_contexts) == ["2", "50"]
        assert len(of_contexts["2"]) == 4
    for method in truth.METHODS:
        assert np.mean(cell["tv"][method]["50"]) < np.mean(cell["tv"][method]["2"])
    assert cell["attention apart from collapse=True"] < 1e-8
    # no node of it has two predecessors that are no parents
    assert [gap is None for gap in cell["minus naive"]["50"]] == [True] * 4
    assert measured["cells"]["a: sachs"]["minus naive"]["50"][10] is not None
    timing = measured["cells"]["c: 5 variables, 60 rows, numbers"]["timings"]["1"]
    assert set(timing["fit"]["rows per second"]) == set(cost.FITTED)
    assert set(timing["sample"]["rows per second"]) == set(cost.DRAWN)
    assert min(timing["sample"]["rows per second"].values()) > 0.0
    missing = [t for t in measured["targets"] if t["status"] == MISSING]
    assert [t["found"] for t in missing] == ["no network ships"] * 2
    found = sheets(measured)
    assert found[-1].title == "To reach"
    assert all(len(row) == len(sheet.header) for sheet in found for row in sheet.rows)
    methods = {row[1] for row in found[0].rows}
    assert methods == {
        *truth.METHODS,
        f"{truth.ATTENTION}, first 2 networks",
        "pretrained",
    }

    before = copy.deepcopy(measured["cells"])
    again = bench_bayesnet(TINY, "c", json_path=path)
    assert again["cells"] == json.loads(json.dumps(before))  # read, not timed again
    with pytest.raises(FileExistsError, match="another measurement"):
        bench_bayesnet(replace(TINY, networks=13), json_path=path)
    with pytest.raises(ValueError, match="part=z is unknown; choose from a,b,c"):
        bench_bayesnet(TINY, ["z"])


def test_verdicts_follow_the_numbers(measured: dict[str, Any]) -> None:
    cells = copy.deepcopy(measured["cells"])

    def verdicts(part: str) -> list[str]:
        return [target.status for target in targets(cells, [part])]

    gaps = [
        gap
        for cell in cells_of(cells, "a").values()
        for of_nodes in cell["minus naive"].values()
        for gap in of_nodes
        if gap is not None
    ]
    for gap in gaps:
        gap.update(value=-0.1, low=-0.2, high=0.1)
    assert verdicts("a") == [REACHED, MISSING, MISSING]
    gaps[-1]["value"] = 0.0
    assert verdicts("a") == [SHORT, MISSING, MISSING]

    assert verdicts("b") == [REACHED, REACHED]
    cells["b: 4 variables, 50 rows"]["largest gap"]["the attention itself"] = 1.1e-6
    assert verdicts("b") == [REACHED, SHORT]

    ones = [
        one
        for cell in cells_of(cells, "c").values()
        for timing in cell["timings"].values()
        for one in timing.values()
    ]
    for one in ones:
        one["is_valid"] = True
        one["rows per second"] |= {cost.OURS: 5.0, cost.PGMPY: 1.0, cost.AGRUM: 5.0}
        one["rows per second"][cost.DATABASE] = 5.0
    assert verdicts("c") == [REACHED] * 5
    ones[0]["rows per second"][cost.PGMPY] = 1.01  # a fit
    ones[-1]["rows per second"][cost.DATABASE] = 5.01  # a drawing
    assert verdicts("c") == [SHORT, REACHED, REACHED, REACHED, SHORT]
    for one in ones:
        one["is_valid"] = False
    assert verdicts("c") == [INVALID] * 5


def test_counts_that_nothing_matches_are_scored_one() -> None:
    batch = BayesNetPrior("chain5", n_rows=3).sample(truth.TaskStream(1, 0, range(200)))
    naive = truth.counted(batch, 2, truth.all_earlier(5))
    _, matching = batch.frequencies(2, truth.all_earlier(5))
    is_unseen = matching.numpy() == 0
    assert is_unseen[:, 4].mean() > 0.5
    assert (naive[is_unseen] == 1.0).all()
    assert naive.max() <= 1.0


def test_the_constructed_answer_is_the_count_of_the_true_dag_where_rows_match() -> None:
    batch = BayesNetPrior("random", n_rows=41, n_variables=5).sample(
        truth.TaskStream(2, 0, range(8))
    )
    frequencies, matching = batch.frequencies(40, batch.adjacency)
    seen = matching.numpy() > 0
    expected = frequencies.numpy()[seen]
    np.testing.assert_allclose(truth._collapsed(batch, 40)[seen], expected, atol=1e-6)
    np.testing.assert_allclose(truth._attended(batch, 40, 8)[seen], expected, atol=1e-6)


def test_a_disturbed_table_is_seen() -> None:
    parents = cost.random_network(4, 3)
    df = cost.rows_of(parents, 200, 3)
    network = Pgmpy().fit(df, parents).network
    model = AttentionBayesNet(parents).fit(df)
    child = max(parents, key=lambda name: len(parents[name]))
    cpd = network.get_cpds(child)
    assert parents[child]
    assert equality.largest_gap(model, df, cpd) < 1e-9
    cpd.values[:] += 0.01
    assert equality.largest_gap(model, df, cpd) == pytest.approx(0.01, abs=1e-6)


def test_rivals_fit_the_same_network_and_draw_from_it() -> None:
    import torch

    parents = {"x0": [], "x1": ["x0"]}
    df = cost.rows_of(parents, 400, 0)
    expected = df.groupby("x0")["x1"].mean()
    frame = Agrum().fit(df, parents).sample_frame(4000).astype(int)
    assert frame[["x0", "x1"]].groupby("x0")["x1"].mean().to_numpy() == pytest.approx(
        expected.to_numpy(), abs=0.15
    )
    with global_seeds_kept():
        frame = Pgmpy().fit(df, parents).sample(4000).astype(int)
        fitted = Pomegranate().fit(torch.tensor(df.to_numpy()), parents)
        drawn = fitted.sample(300).numpy()
    assert frame.groupby("x0")["x1"].mean().to_numpy() == pytest.approx(
        expected.to_numpy(), abs=0.15
    )
    found = [drawn[drawn[:, 0] == x, 1].mean() for x in range(3)]
    assert found == pytest.approx(expected.to_numpy(), abs=0.45)
