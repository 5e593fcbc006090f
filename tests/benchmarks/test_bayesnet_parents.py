"""The bench of read parents, tiny: its answers are the network's, and a stopped run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from statformer.benchmarks import bayesnet_parents
from statformer.benchmarks.bayesnet_parents import FLAT, KNOWN, NAIVE, PRETRAINED, read_structure
from statformer.constructions.parent_sets import parent_set_weights
from statformer.nn.parent_sets import ParentSetNetwork
from statformer.reference.parent_sets import averaged
from statformer.tasks.bayes_net import BayesNetPrior
from statformer.tasks.stream import TaskStream

NETWORK = ParentSetNetwork(parent_set_weights())


def test_answers_are_those_of_the_reference() -> None:
    batch = BayesNetPrior(n_variables=4, n_rows=30).sample(TaskStream(0, 0, range(3)))
    found, _ = read_structure(batch, 20, NETWORK, few=2)
    assert found.shape == (2, 4, 2)
    X = batch.X[1].numpy()
    sets = [(), (0,), (1,), (0, 1)]
    expected = averaged(X[:20], (2,) * 4, 2, sets, 2, {1.0: 1.0}, X[-1].tolist())
    np.testing.assert_allclose(found[1, 2], expected, atol=1e-10)


def test_the_distance_falls_to_nothing_with_many_rows() -> None:
    prior = BayesNetPrior(n_variables=4, n_rows=4001, edges=(0.5, 0.5))
    batch = prior.sample(TaskStream(0, 0, range(10)))
    few, many = (read_structure(batch, n, NETWORK)[1].mean() for n in (10, 4000))
    assert many < 1.0 < few


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bayesnet_parents, "CONTEXTS", (10, 40))
    monkeypatch.setattr(bayesnet_parents, "N_NETWORKS", {4: 12})
    prior = BayesNetPrior(n_variables=4, edges=(0.1, 0.4))
    monkeypatch.setattr(bayesnet_parents, "PRIORS", {"small": prior})


def test_a_run_is_recorded_and_goes_on(tiny: None, tmp_path: Path) -> None:
    weights = {name: value.astype(np.float32) for name, value in parent_set_weights().items()}
    save_file(weights, tmp_path / "w.safetensors")
    out = tmp_path / "found.json"
    arguments = ["--out", str(out), "--weights", str(tmp_path / "w.safetensors")]
    assert bayesnet_parents.main(arguments) == 0
    cells = json.loads(out.read_text())["cells"]
    assert set(cells) == {"small: 10 rows", "small: 40 rows"}
    cell = cells["small: 10 rows"]
    assert cell["pretrained minus"][FLAT]["value"] == pytest.approx(0.0, abs=1e-6)
    tv = {name: found["value"] for name, found in cell["tv"].items()}
    assert tv[PRETRAINED] - tv[NAIVE] == pytest.approx(cell["pretrained minus"][NAIVE]["value"])
    assert tv[PRETRAINED] < tv[NAIVE]
    assert tv[KNOWN] < tv[NAIVE]
    assert cell["pretrained minus naive, two strangers or more"]["value"] < 0
    kept = out.read_text()
    assert bayesnet_parents.main(arguments) == 0
    assert json.loads(out.read_text())["cells"] == json.loads(kept)["cells"]
