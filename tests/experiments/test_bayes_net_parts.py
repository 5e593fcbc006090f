"""Shared parts of the experiments on Bayesian networks, against slow and plain versions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator

from statformer.benchmarks.bayesnet_truth import structure_of
from statformer.experiments import _bayes_net_sachs as sachs
from statformer.experiments._bayes_net_counts import (
    by_seed,
    compare,
    draw_networks,
    known_count,
    naive_count,
)
from statformer.experiments._bayes_net_patterns import STRUCTURE, Reading
from statformer.experiments._bayes_net_unseen import unseen_networks
from statformer.experiments.bayes_net_sampling import _true_tables
from statformer.nn.bayes_net_transformer import BayesNetTransformer
from statformer.pretraining.recipes.bayes_net import is_held_out
from statformer.reference.bayes_net import Structure, backed_off
from statformer.tasks.bayes_net import SACHS_NAMES, BayesNetPrior


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_counts_are_those_of_the_closest_rows(rng: np.random.Generator) -> None:
    batch = draw_networks(BayesNetPrior("general", 13), 20, rng)
    known, naive = known_count(batch, 12), naive_count(batch, 12)
    everything = Structure(tuple(tuple(range(m)) for m in range(5)))
    for i in range(20):
        X = batch.X[i].numpy()
        for found, structure in ((known, structure_of(batch, i)), (naive, everything)):
            for m, parents in enumerate(structure.parents):
                wanted = backed_off(structure, (2,) * 5, X[:12], m, X[-1, list(parents)].tolist())
                np.testing.assert_allclose(found[i, m], wanted)


def test_the_truth_is_at_no_distance(rng: np.random.Generator) -> None:
    batch = draw_networks(BayesNetPrior("tree5", 31), 50, rng)
    truth = batch.truth()[:, -1].double().numpy()
    rows = pd.DataFrame(compare(batch, lambda *_: truth, (5, 30)))
    assert rows["network"].max() == 0.0
    assert (rows["naive"] >= 0.0).all()
    assert (
        rows["closest"] <= rows["known"] + 1e-6
    ).all()  # 1 is the largest total variation there is
    assert rows["strangers"].tolist() == [0.0, 0.0, 1.0, 2.0, 3.0] * 2
    gap = by_seed(rows.assign(seed=0), "known", "network")
    assert gap.value == pytest.approx(rows["known"].mean())


def test_tables_of_the_reference_give_the_truth(rng: np.random.Generator) -> None:
    batch = draw_networks(BayesNetPrior("general", 8), 4, rng)
    for i in range(4):
        structure = structure_of(batch, i)
        tables = _true_tables(batch, i, structure)
        for n in range(8):
            x = batch.X[i, n].tolist()
            for m, parents in enumerate(structure.parents):
                found = tables[m][tuple(x[u] for u in parents)]
                np.testing.assert_allclose(found, batch.truth()[i, n, m], atol=1e-6)


def reading(rng: np.random.Generator, target: int = 4) -> Reading:
    network = BayesNetTransformer(5, rng=Generator().manual_seed(1), width=16, n_heads=2)
    X = draw_networks(BayesNetPrior("general", 41), 30, rng).X
    return Reading.of(network.eval(), X[:, :-1], X[:, -1], target)


def test_the_networks_own_pattern_changes_nothing_but_the_querys_share(
    rng: np.random.Generator,
) -> None:
    own = reading(rng)
    before = own.network.transformer.blocks[-1].attention
    p = own.answer_with(own.pattern)
    assert own.network.transformer.blocks[-1].attention is before
    assert (p - own.p).abs().max() < 0.1  # the query listens to itself a little
    swapped = own.answer_with(own.pattern.flip(-1))
    assert (swapped - own.p).abs().max() > (p - own.p).abs().max()


def test_steps_weigh_agreeing_rows_by_their_value(rng: np.random.Generator) -> None:
    one = reading(rng)
    tilts = torch.tensor([[1.0, 1.0], [1.0, 4.0]])
    step = one.step(STRUCTURE[4], tilts)
    torch.testing.assert_close(step.sum(-1), torch.ones(30, 2))
    agreeing = one.agreeing(STRUCTURE[4])
    assert (step[agreeing[:, None].expand_as(step) == 0] == 0).all()
    share = torch.einsum("bt,bt->b", step[:, 0], (one.rows[..., 4] == 1).float())
    p = one.frequencies(STRUCTURE[4])[:, 1]
    torch.testing.assert_close(share, p)
    share = torch.einsum("bt,bt->b", step[:, 1], (one.rows[..., 4] == 1).float())
    torch.testing.assert_close(share, 4 * p / (1 + 3 * p))


def test_unseen_structures_are_held_out(rng: np.random.Generator) -> None:
    for structure in ("random", "general"):
        batch = unseen_networks(structure, 5, 3, 40, rng)
        assert batch.X.shape == (40, 4, 5)
        assert is_held_out(batch.adjacency).all()


def test_rows_of_the_fitted_tables_have_their_frequencies(rng: np.random.Generator) -> None:
    pytest.importorskip("pgmpy")
    batch = sachs.draw_sachs("fitted", 1, 20_000, rng)
    X = batch.X[0].numpy()
    names = list(SACHS_NAMES)
    file = sachs._bnlearn()
    at = {name: names.index({"Raf": "RAF"}.get(name, name)) for name in file.states}
    agree = []
    for name, parents in file.parents.items():
        table = np.asarray(file.tables[name])
        for values in np.ndindex(*(3,) * len(parents)):
            rows = (X[:, [at[parent] for parent in parents]] == values).all(axis=1)
            if rows.sum() > 500:
                share = np.bincount(X[rows, at[name]], minlength=3) / rows.sum()
                agree.append(np.abs(share - table[values]).max())
    assert len(agree) > 25
    assert max(agree) < 0.08
    law = batch.truth()[0, :, at["Akt"]].numpy()
    seen = {tuple(x) for x in X[:, [at["Erk"], at["PKA"]]].tolist()}
    assert len(np.unique(law.round(6), axis=0)) == len(seen)
