"""Agreement with pgmpy and pyAgrum on small networks."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayes_nets import WET_GRASS, wet_grass
from statformer.estimators.bayes_net import AttentionBayesNet


@pytest.fixture(scope="module")
def rivals() -> SimpleNamespace:
    """pgmpy and pyAgrum, which warn (and where warnings are errors, crash) when imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("pgmpy")
        from pgmpy.estimators import MaximumLikelihoodEstimator
        from pgmpy.inference import VariableElimination
        from pgmpy.models import DiscreteBayesianNetwork
        from pgmpy.readwrite import BIFReader

        return SimpleNamespace(
            agrum=pytest.importorskip("pyagrum"),
            MaximumLikelihoodEstimator=MaximumLikelihoodEstimator,
            VariableElimination=VariableElimination,
            DiscreteBayesianNetwork=DiscreteBayesianNetwork,
            BIFReader=BIFReader,
        )


pytestmark = pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")


def table_of(cpd: Any, model: AttentionBayesNet) -> np.ndarray:
    """A pgmpy table in the order of ours."""
    name, *parents = cpd.variables
    ours = model.structure_[name]
    values = cpd.values
    for axis, variable in enumerate(cpd.variables):
        order = [cpd.state_names[variable].index(c) for c in model.categories_[variable]]
        values = np.take(values, order, axis=axis)
    turned = values.transpose([1 + parents.index(p) for p in ours] + [0])
    return turned.reshape(len(model.cpds_[name]), -1)


def test_pgmpy_finds_the_same_tables_and_answers(rivals: SimpleNamespace) -> None:
    frame = wet_grass()
    graph = rivals.DiscreteBayesianNetwork(
        [(p, c) for c, parents in WET_GRASS.items() for p in parents]
    )
    theirs = [
        rivals.MaximumLikelihoodEstimator(graph, frame).estimate_cpd(node) for node in graph.nodes
    ]
    model = AttentionBayesNet(graph).fit(frame)
    for cpd in theirs:
        found = model.cpds_[cpd.variable].to_numpy()
        np.testing.assert_allclose(found, table_of(cpd, model), atol=1e-6)
    graph.add_cpds(*theirs)
    asked = rivals.VariableElimination(graph)
    known = pd.DataFrame({"grass": [7, 0], "sprinkler": ["on", "off"]})
    known["sprinkler"] = known["sprinkler"].astype(frame["sprinkler"].dtype)
    for target in ("rain", "cloudy"):
        p = model.predict_proba(known, target)
        for i, row in known.iterrows():
            factor = asked.query([target], row.to_dict(), show_progress=False)
            expected = [factor.get_value(**{target: c}) for c in p.columns]
            np.testing.assert_allclose(p.loc[i], expected, atol=1e-6)


def test_pgmpy_takes_our_model_and_our_file(rivals: SimpleNamespace, tmp_path: Path) -> None:
    model = AttentionBayesNet(WET_GRASS, smoothing=0.5).fit(wet_grass(30))
    theirs = model.to_pgmpy()
    assert theirs.check_model()
    for name in model.structure_:
        np.testing.assert_array_equal(table_of(theirs.get_cpds(name), model), model.cpds_[name])
    again = AttentionBayesNet(theirs).fit(wet_grass(30))
    for name, categories in model.categories_.items():
        assert list(again.categories_[name]) == list(categories)
    model.to_bif(tmp_path / "ours.bif")
    read = rivals.BIFReader(tmp_path / "ours.bif").get_model()
    assert read.check_model()
    np.testing.assert_allclose(read.get_cpds("cloudy").values, model.cpds_["cloudy"].iloc[0])


def test_pyagrum_answers_the_same_from_our_file(rivals: SimpleNamespace, tmp_path: Path) -> None:
    frame = wet_grass()
    model = AttentionBayesNet(WET_GRASS, smoothing=1.0).fit(frame)
    path = tmp_path / "ours.bif"
    model.to_bif(path)
    net = rivals.agrum.loadBN(str(path))
    inference = rivals.agrum.LazyPropagation(net)
    inference.setEvidence({"grass": "7"})
    inference.makeInference()
    p = model.predict_proba(frame.loc[frame["grass"] == 7, ["grass"]].head(1), "cloudy")
    np.testing.assert_allclose(p.iloc[0], inference.posterior("cloudy").tolist(), atol=1e-6)
    rivals.agrum.saveBN(net, str(tmp_path / "theirs.bif"))
    again = AttentionBayesNet(tmp_path / "theirs.bif", smoothing=1.0).fit(frame)
    np.testing.assert_allclose(
        again.predict_proba(frame, "rain"), model.predict_proba(frame, "rain")
    )
