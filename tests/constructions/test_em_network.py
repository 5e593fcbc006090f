"""Constructed weights make `EMNetwork` equal to scikit-learn's EM, until any weight class moves.

A class is what one group of weights says: the mix of covariance targets (b_cov), the share of
Student-t in the score and its degrees (b_tail), temperature and strength (b_table), the ridge.
Some are written as saturated logits: +-300 for the mix, -60 for rho. There the weight that acts is
exp(-600) or 1e-26, and adding 1e-4 to the *logit* changes nothing in float64, by design. So these
two classes are disturbed where they act: 1e-4 of the mix goes to another target, rho becomes 1e-4.
The degrees of freedom act only through rho, so they are disturbed beside a rho that is not zero.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from itertools import product

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from gaussian_tables import Problem, alone, draw, padded
from statformer.batch import Centres, Tables, Trace
from statformer.constructions.em_network import (
    COVARIANCE_TYPES,
    em_network,
    em_weights,
    stack_habits,
)
from statformer.nn.em_network import COVARIANCE_TARGETS, EMNetwork, log_density, respond
from statformer.reference import em

TOLERANCE = 1e-8
DISTURBANCE = 1e-4
RED = 1e-6  # a gap that no rounding explains


def start_for(problem: Problem, covariance_type: str) -> Problem:
    """The problem with start covariances that the type can express."""
    covariances = problem.start.covariances
    d = covariances.shape[1]
    if covariance_type == "tied":
        covariances = np.broadcast_to(covariances.mean(0), covariances.shape)
    elif covariance_type == "diag":
        covariances = covariances * np.eye(d)
    elif covariance_type == "spherical":
        covariances = np.trace(covariances, axis1=1, axis2=2)[:, None, None] / d * np.eye(d)
    return dataclasses.replace(problem, start=problem.start._replace(covariances=covariances))


def fit_sklearn(
    problem: Problem, covariance_type: str, reg_covar: float, n_steps: int
) -> GaussianMixture:
    precisions = np.linalg.inv(problem.start.covariances)
    given = {
        "full": precisions,
        "tied": precisions[0],
        "diag": np.diagonal(precisions, axis1=1, axis2=2),
        "spherical": precisions[:, 0, 0],
    }[covariance_type]
    model = GaussianMixture(
        len(problem.start.weights),
        covariance_type=covariance_type,
        reg_covar=reg_covar,
        max_iter=n_steps,
        tol=0.0,
        weights_init=problem.start.weights,
        means_init=problem.start.means,
        precisions_init=given,
        init_params="random",  # not used, and cheaper than k-means
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # tol=0 never converges
        model.fit(problem.X)
    assert model.n_iter_ == n_steps
    return model


def full_covariances(model: GaussianMixture, d: int) -> np.ndarray:
    found, c = model.covariances_, model.n_components
    return {
        "full": lambda: found,
        "tied": lambda: np.broadcast_to(found, (c, d, d)),
        "diag": lambda: found[:, :, None] * np.eye(d),
        "spherical": lambda: found[:, None, None] * np.eye(d),
    }[model.covariance_type]()


def gap_to_sklearn(network: EMNetwork, problem: Problem, model: GaussianMixture) -> float:
    """Largest difference in responsibilities, weights, means, covariances and log density."""
    tables, start = alone(problem)
    trace = network(tables, start)
    centres = trace.centres[-1]
    pairs = [
        (trace.responsibilities[-1][0], model.predict_proba(problem.X)),
        (centres.weights[0], model.weights_),
        (centres.means[0], model.means_),
        (centres.covariances[0], full_covariances(model, problem.X.shape[1])),
        (log_density(tables, centres)[0], model.score_samples(problem.X)),
    ]
    return max(float(np.abs(found - told).max()) for found, told in pairs)


def gap_to_reference(trace: Trace, iterates: list[em.Iterate], table: int = 0) -> float:
    """Largest difference to `reference/em.py` over all steps."""
    gaps = []
    for r, centres, told in zip(trace.responsibilities, trace.centres, iterates, strict=True):
        n, c = told.responsibilities.shape
        d = told.mixture.means.shape[1]
        pairs = [
            (r[table, :n, :c], told.responsibilities),
            (centres.weights[table, :c], told.mixture.weights),
            (centres.means[table, :c, :d], told.mixture.means),
            (centres.covariances[table, :c, :d, :d], told.mixture.covariances),
        ]
        gaps += [float(np.abs(found - expected).max()) for found, expected in pairs]
    return max(gaps)


# ---------------------------------------------------------------------------------------------
# The equality


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize(("d", "c"), list(product((1, 2, 6), (1, 2, 5))))
def test_equals_sklearn(covariance_type: str, d: int, c: int) -> None:
    for n, n_steps, reg_covar in product((60, 200), (1, 12), (1e-6, 1e-2)):
        problem = start_for(draw(0, n, d, c), covariance_type)
        model = fit_sklearn(problem, covariance_type, reg_covar, n_steps)
        network = em_network(covariance_type, reg_covar, n_steps)
        assert gap_to_sklearn(network, problem, model) < TOLERANCE, (n, n_steps, reg_covar)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_reference_at_every_step(covariance_type: str, weighted: bool) -> None:
    for seed, (n, d, c) in enumerate([(50, 1, 3), (80, 3, 2), (120, 5, 4), (40, 2, 1)]):
        problem = draw(seed, n, d, c, separation=1.5)
        if weighted:
            rows = np.random.default_rng(seed).choice([0.0, 0.3, 1.0, 2.5], size=n)
            problem = dataclasses.replace(problem, row_weight=rows)
        trace = em_network(covariance_type, 1e-3, 15)(*alone(problem))
        iterates = em.em(problem.X, problem.start, 15, covariance_type, 1e-3, problem.row_weight)
        assert gap_to_reference(trace, iterates) < TOLERANCE


def test_a_far_origin_costs_no_digits() -> None:
    """Second moments about zero would lose twelve of sixteen digits here."""
    problem = draw(3, 90, 3, 3)
    far = dataclasses.replace(
        problem,
        X=problem.X + 1e6,
        start=problem.start._replace(means=problem.start.means + 1e6),
    )
    trace = em_network("full", 1e-6, 8)(*alone(far))
    near = em_network("full", 1e-6, 8)(*alone(problem))
    gap = np.abs(trace.responsibilities[-1] - near.responsibilities[-1]).max()
    assert gap < 1e-7


# ---------------------------------------------------------------------------------------------
# Disturbed weights


def disturbances(covariance_type: str, reg_covar: float) -> dict[str, dict[str, np.ndarray]]:
    """Every weight class moved by 1e-4 where it acts."""
    weights = em_weights(covariance_type, reg_covar)
    own = int(weights["b_cov"][0].argmax())
    moved = {}
    for target, name in enumerate(COVARIANCE_TARGETS):
        if target == own:
            continue
        b_cov = weights["b_cov"].copy()
        b_cov[0, target] = b_cov[0, own] + math.log(DISTURBANCE / (1.0 - DISTURBANCE))
        moved[f"mix of {name}"] = weights | {"b_cov": b_cov}
    b_tail = weights["b_tail"].copy()
    b_tail[0, 0] = math.log(DISTURBANCE / (1.0 - DISTURBANCE))
    moved["rho"] = weights | {"b_tail": b_tail}
    for entry, name in enumerate(("temperature", "strength")):
        b_table = weights["b_table"].copy()
        b_table[0, entry] += DISTURBANCE
        moved[name] = weights | {"b_table": b_table}
    moved["log_ridge"] = weights | {"log_ridge": weights["log_ridge"] + DISTURBANCE}
    return moved


CASES = [
    (kind, name) for kind in COVARIANCE_TYPES for name in disturbances(kind, 1e-2)
]  # 6 targets, rho, temperature, strength and the ridge, for each type


@pytest.mark.parametrize(("covariance_type", "name"), CASES)
def test_any_weight_class_moved_by_1e_4_turns_the_equality_red(
    covariance_type: str, name: str
) -> None:
    # The ridge is 1e-2 here: 1e-4 more of log_ridge is 1e-6 more of variance. With the usual
    # 1e-6 it would be 1e-10, which no test of 1e-8 can see, nor should.
    problem = start_for(draw(1, 120, 3, 3, separation=1.0), covariance_type)
    model = fit_sklearn(problem, covariance_type, 1e-2, 12)
    weights = disturbances(covariance_type, 1e-2)[name]
    assert gap_to_sklearn(EMNetwork(weights, n_loops=12), problem, model) > RED
    undisturbed = em_network(covariance_type, 1e-2, 12)
    assert gap_to_sklearn(undisturbed, problem, model) < TOLERANCE


def test_saturated_logits_leave_nothing_of_the_other_targets() -> None:
    """What the module's first lines claim: 1e-4 on these logits is exactly nothing."""
    problem = draw(1, 60, 2, 3)
    weights = em_weights("full", 1e-4)
    trace = EMNetwork(weights, n_loops=5)(*alone(problem))
    for name, entry in [("b_cov", (0, j)) for j in range(7)] + [("b_tail", (0, 0))]:
        moved = weights[name].copy()
        moved[entry] += DISTURBANCE
        other = EMNetwork(weights | {name: moved}, n_loops=5)(*alone(problem))
        assert np.array_equal(other.responsibilities[-1], trace.responsibilities[-1]), name
    assert trace.readouts[-1].rho.max() < 1e-25


def test_degrees_of_freedom_act_once_rho_does() -> None:
    problem = draw(1, 120, 3, 3, separation=1.0)
    weights = em_weights("full", 1e-4)

    def answer(rho: float, nu: float) -> np.ndarray:
        b_tail = weights["b_tail"] + np.array([[rho, nu]])
        trace = EMNetwork(weights | {"b_tail": b_tail}, n_loops=8)(*alone(problem))
        return trace.responsibilities[-1]

    assert np.abs(answer(60.0, DISTURBANCE) - answer(60.0, 0.0)).max() > RED  # rho = 1/2
    assert np.array_equal(answer(0.0, DISTURBANCE), answer(0.0, 0.0))


# ---------------------------------------------------------------------------------------------
# Batches, starts and symmetries

SIZES = [(40, 2, 3), (70, 4, 2), (55, 1, 4), (30, 3, 1)]


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_padded_batch_equals_each_table_alone(covariance_type: str) -> None:
    problems = [draw(seed, *sizes) for seed, sizes in enumerate(SIZES)]
    network = em_network(covariance_type, 1e-4, 10)
    tables, start = padded(problems, 75, 5, 6)
    together = network(tables, start)
    density = log_density(tables, together.centres[-1])
    for t, problem in enumerate(problems):
        iterates = em.em(problem.X, problem.start, 10, covariance_type, 1e-4)
        assert gap_to_reference(together, iterates, table=t) < TOLERANCE
        n, d, c = problem.sizes
        own_tables, own_start = alone(problem)
        own = network(own_tables, own_start)
        own_density = log_density(own_tables, own.centres[-1])[0]
        np.testing.assert_allclose(density[t, :n], own_density, atol=TOLERANCE)
        last = together.centres[-1]
        assert not together.responsibilities[-1][t, :, c:].any()
        assert not last.weights[t, c:].any()
        assert not last.means[t, c:].any()
        assert not last.means[t, :, d:].any()
        assert np.array_equal(last.covariances[t, c:], np.tile(np.eye(5), (6 - c, 1, 1)))
        assert np.array_equal(last.is_component[t], np.arange(6) < c)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_starts_side_by_side_equal_starts_alone(covariance_type: str) -> None:
    """Two tables with three starts each, without a copy of the tables."""
    problems = [draw(seed, 50, 3, 2) for seed in (0, 1)]
    tables, _ = padded(problems, 50, 3, 2)
    r = np.random.default_rng(0).dirichlet(np.ones(2), size=(6, 50))
    network = em_network(covariance_type, 1e-4, 8)
    together = network(tables, r)
    for run in range(6):
        own = network(alone(problems[run // 3])[0], r[run : run + 1])
        gap = np.abs(together.responsibilities[-1][run] - own.responsibilities[-1][0])
        assert gap.max() < TOLERANCE
        assert (
            np.abs(
                log_density(tables, together.centres[-1])[run]
                - log_density(alone(problems[run // 3])[0], own.centres[-1])[0]
            ).max()
            < 1e-7
        )


def test_a_start_of_centres_is_a_start_of_their_responsibilities() -> None:
    problem = draw(5, 60, 3, 3)
    tables, start = alone(problem)
    network = em_network("full", 1e-6, 6)
    by_centres = network(tables, start)
    by_responsibilities = network(tables, em.e_step(problem.X, problem.start)[None])
    for left, right in zip(
        by_centres.responsibilities, by_responsibilities.responsibilities, strict=True
    ):
        np.testing.assert_allclose(left, right, atol=TOLERANCE)


def test_components_that_own_nothing_at_the_start_are_absent() -> None:
    problem = draw(6, 60, 2, 2)
    r = np.zeros((1, 60, 4))
    r[0, :, [0, 2]] = em.e_step(problem.X, problem.start).T
    trace = em_network("full", 1e-6, 5)(alone(problem)[0], r)
    assert trace.centres[-1].is_component[0].tolist() == [True, False, True, False]
    iterates = em.em(problem.X, problem.start, 5)
    found = trace.responsibilities[-1][0]
    np.testing.assert_allclose(found[:, [0, 2]], iterates[-1].responsibilities, atol=TOLERANCE)
    assert not found[:, [1, 3]].any()


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_rows_columns_signs_and_components_may_trade_places(covariance_type: str) -> None:
    problem = draw(7, 60, 4, 3)
    rng = np.random.default_rng(0)
    rows, columns, order = rng.permutation(60), rng.permutation(4), rng.permutation(3)
    sign = np.array([1.0, -1.0, -1.0, 1.0])
    tables, start = alone(problem)
    network = em_network(covariance_type, 1e-4, 8)
    plain = network(tables, start)
    turned_tables = Tables((tables.X * sign)[:, rows][..., columns], tables.weight[:, rows])
    covariances = start.covariances * sign[:, None] * sign
    turned_start = Centres(
        start.weights[:, order],
        (start.means * sign)[:, order][..., columns],
        covariances[:, order][:, :, columns][..., columns],
        start.is_component,
    )
    turned = network(turned_tables, turned_start)
    expected = plain.responsibilities[-1][:, rows][..., order]
    np.testing.assert_allclose(turned.responsibilities[-1], expected, atol=TOLERANCE)
    means = (plain.centres[-1].means * sign)[:, order][..., columns]
    np.testing.assert_allclose(turned.centres[-1].means, means, atol=TOLERANCE)


def test_a_common_unit_rescales_means_and_ridge() -> None:
    problem = draw(8, 60, 3, 3)
    tables, start = alone(problem)
    bigger = Tables(tables.X * 50.0, tables.weight)
    bigger_start = Centres(
        start.weights, start.means * 50.0, start.covariances * 2500.0, start.is_component
    )
    plain = em_network("diag", 1e-3, 8)(tables, start)
    scaled = em_network("diag", 2.5, 8)(bigger, bigger_start)
    np.testing.assert_allclose(
        scaled.responsibilities[-1], plain.responsibilities[-1], atol=TOLERANCE
    )
    np.testing.assert_allclose(scaled.centres[-1].means, plain.centres[-1].means * 50.0, atol=1e-7)


# ---------------------------------------------------------------------------------------------
# Habits, errors


def test_stacked_habits_equal_each_habit_alone() -> None:
    habits = [("full", 1e-4), ("diag", 1e-2), ("tied", 1e-3), ("spherical", 5e-2)]
    n_starts, problems = 2, [draw(seed, 50, 3, 2) for seed in (0, 1, 2)]
    tables, _ = padded(problems, 50, 3, 2)
    runs = len(problems) * len(habits) * n_starts
    r = np.random.default_rng(1).dirichlet(np.ones(2), size=(runs, 50))
    network = stack_habits(habits, n_starts, len(problems), n_loops=7)
    stacked = network(tables, r).responsibilities[-1]
    distinct = set()
    for t, problem in enumerate(problems):
        for h, (kind, ridge) in enumerate(habits):
            for s in range(n_starts):
                run = (t * len(habits) + h) * n_starts + s
                own = em_network(kind, ridge, 7)(alone(problem)[0], r[run : run + 1])
                np.testing.assert_allclose(
                    stacked[run], own.responsibilities[-1][0], atol=TOLERANCE
                )
                distinct.add(round(float(stacked[run, 0, 0]), 9))
    assert len(distinct) > runs // 2  # a network that ignored the habits would be told apart


def test_respond_repeats_the_last_layer() -> None:
    tables, start = alone(draw(9, 60, 3, 3))
    trace = em_network("tied", 1e-4, 9)(tables, start)
    again = respond(tables, trace.centres[-1], trace.readouts[-1])
    np.testing.assert_allclose(again, trace.responsibilities[-1], atol=1e-9)


def test_errors_name_value_and_remedy() -> None:
    with pytest.raises(ValueError, match=r"covariance_type='round' is unknown; choose from"):
        em_weights("round")
    for ridge in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=r"reg_covar=.* must be positive"):
            em_weights("full", ridge)
