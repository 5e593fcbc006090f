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
from safetensors.numpy import save_file

from statformer.benchmarks import bayesnet_cost as cost
from statformer.benchmarks import bayesnet_equality as equality
from statformer.benchmarks import bayesnet_learners as learners
from statformer.benchmarks import bayesnet_structures as structures
from statformer.benchmarks import bayesnet_truth as truth
from statformer.benchmarks import bayesnet_unknown as unknown
from statformer.benchmarks.bayesnet import bench_bayesnet
from statformer.benchmarks.bayesnet_rivals import (
    Agrum,
    Pgmpy,
    Pomegranate,
    global_seeds_kept,
    libraries,
)
from statformer.benchmarks.bayesnet_settings import Sizes
from statformer.benchmarks.bayesnet_summary import sheets
from statformer.benchmarks.bayesnet_targets import targets
from statformer.benchmarks.parts import cells_of
from statformer.benchmarks.verdicts import INVALID, MISSING, REACHED, SHORT
from statformer.constructions.parent_sets import parent_set_weights
from statformer.estimators import bayes_net_weights
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
    read_networks=4,
    read_large_networks=2,
    searched_networks=2,
    searched_rows=(60,),
)
pytestmark = pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Those of the theorem as "pretrained" ones, so that no number here follows a training."""
    path = tmp_path_factory.mktemp("weights") / "sets.safetensors"
    save_file(parent_set_weights(), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bayes_net_weights, "SHIPPED", path)
        yield


@pytest.fixture(scope="module")
def few() -> Iterator[None]:
    """Four structures, one cell beside pgmpy."""
    every = truth.priors(51)
    some = {name: every[name] for name in ("wet grass", "sachs", "general", "random DAGs of 5")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(truth, "priors", lambda _: some)
        patch.setattr(equality, "SHAPES", ((4, 50),))
        patch.setattr(structures, "VARIABLES", (4,))
        patch.setattr(structures, "LAWS", {"three categories": {"n_categories": 3}})
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
        *(f"a: {name}" for name in ("wet grass", "sachs", "general", "random DAGs of 5")),
        "b: 4 variables, 50 rows",
        "c: 5 variables, 60 rows, numbers",
        "c: 5 variables, 60 rows, categories",
        "c: 5 variables, 60 rows, text",
        "d: 4 variables, sparse, three categories, 60 rows",
        "d: 4 variables, dense, three categories, 60 rows",
    }
    cell = measured["cells"]["a: wet grass"]
    for of_contexts in cell["tv"].values():
        assert list(of_contexts) == ["2", "50"]
        assert len(of_contexts["2"]) == 4
    for method in truth.METHODS:
        assert np.mean(cell["tv"][method]["50"]) < np.mean(cell["tv"][method]["2"])
    assert cell["attention apart from collapse=True"] < 1e-8
    # no node of it has two predecessors that are no parents
    sachs = measured["cells"]["a: sachs"]
    for method in truth.JUDGED:
        assert [gap is None for gap in cell["minus naive"][method]["50"]] == [True] * 4
        assert sachs["minus naive"][method]["50"][10] is not None
    assert cell["minus known"][unknown.START]["50"]["n"] == cell["read networks"] == 4
    assert sachs["read networks"] == 2
    assert truth.TRANSFORMER in measured["cells"]["a: random DAGs of 5"]["tv"]
    general = measured["cells"]["a: general"]
    assert np.mean(general["tv"][truth.TRANSFORMER]["50"]) < 0.2
    assert general["minus known"][truth.TRANSFORMER]["50"]["n"] == 12
    timing = measured["cells"]["c: 5 variables, 60 rows, numbers"]["timings"]["1"]
    assert set(timing["fit"]["rows per second"]) == set(cost.FITTED)
    assert set(timing["sample"]["rows per second"]) == set(cost.DRAWN)
    assert min(timing["sample"]["rows per second"].values()) > 0.0
    found = sheets(measured)
    assert found[-1].title == "To reach"
    assert all(len(row) == len(sheet.header) for sheet in found for row in sheet.rows)
    methods = {row[1] for row in found[0].rows}
    assert methods == {
        *truth.METHODS,
        f"{truth.ATTENTION}, first 2 networks",
        *(f"{method}, first {n} networks" for method in unknown.METHODS for n in (2, 4)),
        truth.TRANSFORMER,
    }

    before = copy.deepcopy(measured["cells"])
    again = bench_bayesnet(TINY, "c", json_path=path)
    assert again["cells"] == json.loads(json.dumps(before))  # read, not timed again
    with pytest.raises(FileExistsError, match="another measurement"):
        bench_bayesnet(replace(TINY, networks=13), json_path=path)
    with pytest.raises(ValueError, match="part=z is unknown; choose from a,b,c,d"):
        bench_bayesnet(TINY, ["z"])


def test_verdicts_follow_the_numbers(measured: dict[str, Any]) -> None:
    cells = copy.deepcopy(measured["cells"])

    def verdicts(part: str) -> list[str]:
        return [target.status for target in targets(cells, [part])]

    some = cells_of(cells, "a").values()
    for cell in some:
        for of_contexts in cell["minus known"].values():
            of_contexts["100"] = {"value": 0.0, "low": -0.1, "high": 0.02, "n": 4}
        for of_contexts in cell["minus naive"].values():
            for gap in (g for of_nodes in of_contexts.values() for g in of_nodes if g):
                gap.update(value=-0.1, low=-0.2, high=0.1, n=20)
    assert verdicts("a") == [REACHED] * 5
    random = cells["a: random DAGs of 5"]
    random["minus known"][unknown.PRETRAINED]["100"]["high"] = 0.021
    sachs = cells["a: sachs"]
    sachs["minus naive"][unknown.START]["50"][10]["value"] = 0.0
    assert verdicts("a") == [SHORT, REACHED, REACHED, SHORT, REACHED]
    sachs["minus naive"][unknown.START]["50"][10]["n"] = 19
    assert verdicts("a")[3] == REACHED
    for cell in some:
        for of_contexts in cell["minus known"].values():
            del of_contexts["100"]
    assert verdicts("a")[0] == MISSING

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


def test_verdicts_on_structures_follow_the_numbers(measured: dict[str, Any]) -> None:
    cells = copy.deepcopy(measured["cells"])

    def verdicts() -> list[str]:
        return [target.status for target in targets(cells, ["d"])]

    for cell in cells_of(cells, "d").values():
        for knowledge in structures.KNOWLEDGE:
            for i, lists in enumerate(cell[knowledge].values()):
                lists["distance"] = [float(i), i + 1.0]  # in the order of the learners
    assert verdicts() == [REACHED] * 8
    cell["order known"][learners.PGMPY]["distance"] = [-9.0, -9.0]
    assert verdicts() == [REACHED, REACHED, SHORT, REACHED] * 2


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
    libraries().agrum.initRandom(0)
    frame = Agrum().fit(df, parents).sample_frame(4000).astype(int)
    assert frame[["x0", "x1"]].groupby("x0")["x1"].mean().to_numpy() == pytest.approx(
        expected.to_numpy(), abs=0.15
    )
    with global_seeds_kept():
        torch.manual_seed(0)  # pomegranate draws from the global generator
        frame = Pgmpy().fit(df, parents).sample(4000).astype(int)
        fitted = Pomegranate().fit(torch.tensor(df.to_numpy()), parents)
        drawn = fitted.sample(300).numpy()
    assert frame.groupby("x0")["x1"].mean().to_numpy() == pytest.approx(
        expected.to_numpy(), abs=0.15
    )
    found = [drawn[drawn[:, 0] == x, 1].mean() for x in range(3)]
    assert found == pytest.approx(expected.to_numpy(), abs=0.45)


def test_learners_find_a_strong_structure_and_obey_the_order() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(2, size=(2, 3000))
    c = (rng.random(3000) < 0.1 + 0.3 * a + 0.5 * b).astype(int)
    df = learners.table_of(np.stack([c, a, b], axis=1), 2)
    for name, learn in learners.learners().items():
        found = {child: set(parents) for child, parents in learn(df, None).structure_.items()}
        assert found == {"x0": {"x1", "x2"}, "x1": set(), "x2": set()}, name
        turned = learn(df, ["x0", "x1", "x2"]).structure_
        assert turned["x0"] == [], name
        assert set(turned["x2"]) == {"x0", "x1"}, name


def test_our_bic_is_that_of_pgmpy() -> None:
    from pgmpy.structure_score import BIC

    parents = cost.random_network(4, 3)
    X = cost.rows_of(parents, 300, 3).to_numpy()
    df = learners.table_of(X, 3)
    sets = learners.CandidateSets(learners.all_subsets((0, 1, 2), 3), (3,) * 4, 3)
    score = BIC(df)
    expected = [score.local_score("x3", tuple(f"x{u}" for u in one)) for one in sets.candidates]
    np.testing.assert_allclose(learners._bic(X, sets), expected)


def test_a_task_of_part_d_is_the_network_it_was_drawn_from() -> None:
    prior = BayesNetPrior("random", 3000 + structures.HELD_OUT, n_variables=5)
    batch = prior.sample(truth.TaskStream(3, 0, range(2)))
    task = structures.Task(batch, 1, 3000, 0.0)
    assert len(task.df) == 3000
    assert sum(map(len, task.named.values())) == int(batch.adjacency[1].sum())
    place = {name: i for i, name in enumerate(task.order)}
    assert all(place[p] < place[c] for c, of in task.named.items() for p in of)
    fitted = AttentionBayesNet(task.named, smoothing=1.0).fit(task.df)
    names = dict(zip(task.names, task.names[::-1], strict=True))
    wrong = AttentionBayesNet(task.named, smoothing=1.0).fit(task.df.rename(columns=names))
    assert task.lost(fitted) < task.lost(wrong) - 0.02
