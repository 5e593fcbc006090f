"""`AttentionPCA`: scikit-learn's PCA where every weight is 1, and more where rows or cells lie."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from statformer.estimators import AttentionPCA
from statformer.estimators.principal_axes import axes_of_moments, axes_of_rows
from statformer.estimators.principal_model import PrincipalModel
from statformer.estimators.principal_reader import draw, rank_of
from statformer.weights import WeightsError

Table = np.ndarray


def low_rank(n: int, d: int, k: int, seed: int = 0) -> tuple[Table, Table]:
    """Rows near a plane of k dimensions, and orthonormal rows that span it."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(d, k)))[0].T
    scores = rng.normal(size=(n, k)) * np.linspace(5, 3, k)
    return scores @ basis + 0.3 * rng.normal(size=(n, d)) + np.arange(d), basis


def with_gaps(X: Table, share: float, seed: int = 1) -> Table:
    return np.where(np.random.default_rng(seed).random(X.shape) < share, np.nan, X)


def largest_angle(A: Table, B: Table) -> float:
    """Degrees between the spans of two sets of orthonormal rows."""
    return float(np.degrees(np.arccos(np.clip(np.linalg.svd(A @ B.T)[1].min(), -1, 1))))


def constructed(k: int | float | None = None, **options: object) -> AttentionPCA:  # noqa: PYI041
    return AttentionPCA(k, weights="constructed", random_state=0, **options)


# -- complete tables, every weight 1 ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "d", "k"),
    [
        (50, 4, None),
        (200, 5, 2),
        (30, 60, 7),
        (40, 40, None),
        (900, 30, 0.9),
        (60, 700, 20),
        (3, 3, 2),
    ],
)
def test_constructed_is_scikit_learns_pca(n: int, d: int, k: int | float | None) -> None:  # noqa: PYI041
    rng = np.random.default_rng(n + d)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 3.0
    theirs = PCA(k, svd_solver="full").fit(X)
    ours = constructed(k).fit(X)
    for name in (
        "components_", "explained_variance_", "explained_variance_ratio_", "singular_values_",
        "mean_", "noise_variance_",
    ):  # fmt: skip
        expected, found = getattr(theirs, name), getattr(ours, name)
        if name == "components_":  # the last of n = d axes has no variance, and no direction
            is_axis = theirs.explained_variance_ > 1e-9
            expected, found = expected[is_axis], found[is_axis]
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8, err_msg=name)
    assert ours.n_components_ == theirs.n_components_
    assert ours.n_samples_ == theirs.n_samples_
    assert ours.row_weights_.tolist() == [1.0] * n
    scores = theirs.transform(X)
    np.testing.assert_allclose(ours.inverse_transform(scores), theirs.inverse_transform(scores))
    np.testing.assert_allclose(ours.get_covariance(), theirs.get_covariance(), atol=1e-8)
    if ours.noise_variance_ > 0 or (k is None and n > d):
        np.testing.assert_allclose(ours.transform(X), scores, atol=1e-8)
        np.testing.assert_allclose(ours.score(X), theirs.score(X), rtol=1e-8)
        np.testing.assert_allclose(ours.get_precision(), theirs.get_precision(), rtol=1e-6)


def test_a_share_is_explained_by_more_than_that_much() -> None:
    X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert constructed(0.5).fit(X).n_components_ == PCA(0.5).fit(X).n_components_ == 2
    assert constructed(0.499).fit(X).n_components_ == 1


def test_few_components_of_a_large_table_are_those_of_all() -> None:
    X, _ = low_rank(700, 600, 4)
    few, every = constructed(4).fit(X), PCA(svd_solver="full").fit(X)
    np.testing.assert_allclose(few.components_, every.components_[:4], atol=1e-6)
    np.testing.assert_allclose(few.explained_variance_, every.explained_variance_[:4])
    np.testing.assert_allclose(few.noise_variance_, every.explained_variance_[4:].mean())


def test_digits_survive_far_from_zero() -> None:
    X = np.random.default_rng(3).integers(-9, 10, size=(400, 4)).astype(float)
    near, far = constructed().fit(X), constructed().fit(X + 1e9)
    np.testing.assert_allclose(far.explained_variance_, near.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(far.components_, near.components_, atol=1e-7)
    np.testing.assert_allclose(constructed().fit(X * 1e-9).components_, near.components_)


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_whole_weights_are_copies(share: float) -> None:
    X, _ = low_rank(60, 6, 2)
    X = with_gaps(X, share)
    count = np.random.default_rng(2).integers(0, 4, size=60)
    weighted = constructed(2).fit(X, sample_weight=count)
    copied = constructed(2).fit(np.repeat(X, count, axis=0))
    for name in ("components_", "explained_variance_", "mean_", "noise_variance_"):
        np.testing.assert_allclose(
            getattr(weighted, name), getattr(copied, name), atol=1e-6, err_msg=name
        )
    assert weighted.n_samples_ == count.sum()
    assert (weighted.row_weights_ == (count > 0)).all()
    plain = constructed(2).fit(X)
    assert np.abs(weighted.components_ - plain.components_).max() > 1e-3


def test_cell_weights_of_complete_and_absent_rows() -> None:
    X = low_rank(20, 4, 2)[0]
    model = constructed(2, robust="cells").fit(X)
    assert (model.cell_weights_ == 1.0).all()
    assert model.cell_weights_.shape == (20, 4)
    model.fit(X, sample_weight=[0] + [1] * 19)
    assert (model.cell_weights_ == np.r_[0.0, np.ones(19)][:, None]).all()
    assert not hasattr(model.set_params(robust="rows").fit(X), "cell_weights_")


def test_weights_that_sum_to_less_than_two_are_shares() -> None:
    X, _ = low_rank(50, 5, 2)
    whole, shares = constructed().fit(X), constructed().fit(X, sample_weight=np.full(50, 0.02))
    np.testing.assert_allclose(shares.explained_variance_, whole.explained_variance_)
    assert shares.n_samples_ == 50


@pytest.mark.parametrize("rows", [4, 50])
def test_broken_weights_stand_for_a_whole_number_of_rows(rows: int) -> None:
    X = np.random.default_rng(0).normal(size=(rows, 6))
    model = constructed().fit(X, sample_weight=np.full(rows, 0.9))
    assert model.n_samples_ == round(0.9 * rows)
    assert model.n_components_ == len(model.components_) == min(model.n_samples_, 6)


def test_the_ways_to_take_axes_agree() -> None:
    X, _ = low_rank(200, 8, 3)
    weight = np.random.default_rng(0).uniform(0.1, 2.0, 200)
    shift = X.mean(axis=0)
    halves = [(X[rows] - shift, weight[rows]) for rows in (slice(0, 90), slice(90, 200))]
    by_scatter = axes_of_moments(halves, shift, 200.0)
    by_rows = axes_of_rows(X - shift, weight, 200.0, None, 0).shifted(shift)
    expected = np.cov(X.T, aweights=weight, ddof=0) * 200 / 199
    for axes in (by_scatter, by_rows):
        found = (axes.components.T * axes.variances) @ axes.components
        np.testing.assert_allclose(found, expected, atol=1e-10)
        np.testing.assert_allclose(axes.mean, np.average(X, axis=0, weights=weight))
        np.testing.assert_allclose(axes.total, np.trace(expected))
    weight[7] *= 1.001
    disturbed = axes_of_rows(X - shift, weight, 200.0, None, 0)
    assert np.abs(disturbed.components - by_scatter.components).max() > 1e-7


# -- missing cells ---------------------------------------------------------------------------------


def expected_rows(model: AttentionPCA, X: Table) -> tuple[Table, Table]:
    """E[x | observed cells] and the summed cov(x | observed cells), by conditioning a Gaussian."""
    S, found, doubt = model.get_covariance(), X.copy(), np.zeros((X.shape[1],) * 2)
    for row in found:
        m, o = np.isnan(row), ~np.isnan(row)
        gain = S[np.ix_(m, o)] @ np.linalg.inv(S[np.ix_(o, o)])
        doubt[np.ix_(m, m)] += S[np.ix_(m, m)] - gain @ S[np.ix_(o, m)]
        row[m] = model.mean_[m] + gain @ (row[o] - model.mean_[o])
    return found, doubt


def test_a_row_is_projected_by_the_expectation_of_its_missing_cells() -> None:
    X = with_gaps(low_rank(80, 6, 2)[0], 0.3)
    model = constructed(2).fit(X)
    expected, _ = expected_rows(model, X)
    scores = (expected - model.mean_) @ model.components_.T
    np.testing.assert_allclose(model.transform(X), scores, atol=1e-9)
    assert not model.transform(np.full((1, 6), np.nan)).any()


def test_density_of_the_observed_cells() -> None:
    X = with_gaps(low_rank(40, 5, 2)[0], 0.3)
    model = constructed(2).fit(X)
    S = model.get_covariance()
    for row, found in zip(X, model.score_samples(X), strict=True):
        o = ~np.isnan(row)
        if o.any():
            density = multivariate_normal(model.mean_[o], S[np.ix_(o, o)])
            assert found == pytest.approx(density.logpdf(row[o]))
    assert model.score(X) == pytest.approx(model.score_samples(X).mean())


@pytest.mark.parametrize("robust", ["rows", "cells"])
def test_constructed_with_missing_cells_is_where_em_stands_still(robust: str) -> None:
    """The expected moments of the rows under the answer are those of the answer."""
    X = with_gaps(low_rank(150, 7, 2)[0], 0.25)
    model = constructed(2, robust=robust).fit(X)
    completed, doubt = expected_rows(model, X)
    centred = completed - completed.mean(axis=0)
    S = (centred.T @ centred + doubt) / (len(X) - 1)
    values, vectors = np.linalg.eigh(S)
    assert largest_angle(model.components_, vectors[:, :-3:-1].T) < 0.02
    np.testing.assert_allclose(model.explained_variance_, values[:-3:-1], rtol=2e-3)
    np.testing.assert_allclose(completed.mean(axis=0), model.mean_, atol=1e-3)
    filled = PCA(2).fit(np.where(np.isnan(X), np.nanmean(X, axis=0), X))
    assert largest_angle(filled.components_, vectors[:, :-3:-1].T) > 1.0


def test_missing_cells_cost_little_where_the_rest_of_the_row_tells_them() -> None:
    X, basis = low_rank(300, 10, 2)
    assert largest_angle(constructed(2).fit(with_gaps(X, 0.4)).components_, basis) < 3.0


def test_fit_of_more_rows_than_the_layers_read() -> None:
    gappy = with_gaps(low_rank(900, 6, 2)[0], 0.1)
    short, whole = constructed(2, max_context=200).fit(gappy), constructed(2).fit(gappy)
    assert largest_angle(short.components_, whole.components_) < 0.5
    np.testing.assert_allclose(short.explained_variance_, whole.explained_variance_, rtol=0.01)
    assert short.row_weights_.tolist() == [1.0] * 900


def test_the_sample_of_the_layers_sees_every_column() -> None:
    X = low_rank(900, 6, 2)[0]
    X[np.arange(900) != 123, 5] = np.nan
    drawn, times = draw(X, np.ones(900), 50, np.random.default_rng(0))
    assert 123 in drawn
    assert len(drawn) == len(times) == len(set(drawn)) <= 51
    assert np.isfinite(constructed(2, max_context=50).fit(X).components_).all()


@pytest.mark.parametrize("cells", [False, True])
def test_uncertainty_is_that_of_the_conditional_gaussian(cells: bool) -> None:
    X = with_gaps(low_rank(30, 5, 2)[0], 0.3)
    model = constructed(2).fit(X)
    frozen = PrincipalModel(
        model.mean_, model.components_, model.explained_variance_, model.noise_variance_
    )
    seen = np.where(np.isnan(X), 0.0, 1.0)
    _, doubt = expected_rows(model, X)
    np.testing.assert_allclose(frozen.uncertainty(seen, np.ones(30)), doubt, atol=1e-9)
    if cells:  # weights of cells are precisions: 1 and almost 1 are almost alike
        found = frozen.uncertainty(seen * (1 - 1e-9), np.ones(30))
        np.testing.assert_allclose(found, doubt, atol=1e-6)


@pytest.mark.parametrize("form", ["rows", "cells"])
def test_the_rank_of_the_layers(form: str) -> None:
    def rank(X: Table) -> int:
        gaps = np.isnan(X)
        centred = np.where(gaps, 0.0, X - np.nanmedian(X, axis=0))
        return rank_of(centred, np.ones(len(X)), ~gaps, form)

    X, _ = low_rank(200, 12, 3)
    assert rank(X) == 3
    assert rank(with_gaps(X, 0.3)) == 3
    assert rank(X[:2]) == 1
    assert rank(np.zeros((20, 4))) == 1
    assert rank(low_rank(200, 40, 20)[0]) == 8
    rng = np.random.default_rng(0)
    if form == "cells":
        X[rng.random(X.shape) < 0.03] += 50.0
    else:
        X[:3] += 1000.0 * rng.normal(size=(3, 12))
    assert rank(X) == 3


# -- learned weights -------------------------------------------------------------------------------


@pytest.mark.parametrize("robust", ["rows", "cells"])
def test_outlying_rows_move_little(robust: str) -> None:
    X, basis = low_rank(200, 10, 3)
    rng = np.random.default_rng(4)
    X[:20] = 6.0 * rng.normal(size=10) + rng.normal(size=(20, 10)) * 4.0
    model = AttentionPCA(3, robust=robust).fit(X)
    assert largest_angle(PCA(3).fit(X).components_, basis) > 15.0
    assert largest_angle(model.components_, basis) < 5.0
    assert model.row_weights_[:20].mean() < 0.3 < 0.7 < np.median(model.row_weights_[20:])
    assert (model.row_weights_ > 0).all()
    assert (model.row_weights_ <= 1).all()


def test_clean_tables_are_as_good_as_with_pca() -> None:
    X, basis = low_rank(200, 10, 3)
    plain = largest_angle(PCA(3).fit(X).components_, basis)
    for robust in ("rows", "cells"):
        model = AttentionPCA(3, robust=robust).fit(X)
        assert largest_angle(model.components_, basis) < plain + 2.0


def test_outlying_cells_are_moved() -> None:
    X, basis = low_rank(200, 10, 3)
    rng = np.random.default_rng(5)
    wrong = rng.random(X.shape) < 0.05
    bad = np.where(wrong, X + rng.choice([-15.0, 15.0], size=X.shape), X)
    bad[0, 0] = np.nan
    model = AttentionPCA(3, robust="cells").fit(bad)
    assert largest_angle(PCA(3).fit(np.where(np.isnan(bad), 0.0, bad)).components_, basis) > 10.0
    assert largest_angle(model.components_, basis) < 6.0
    assert model.cell_weights_.dtype == np.float32
    assert model.cell_weights_[wrong].mean() < 0.4 < 0.7 < np.median(model.cell_weights_[~wrong])
    assert model.cell_weights_[0, 0] == 0.0
    row = X[5:6].copy()
    row[0, 3] += 20.0
    shift = np.linalg.norm(model.transform(row) - model.transform(X[5:6]))
    assert shift < 0.3 * np.linalg.norm(20.0 * model.components_[:, 3])


def test_a_rotation_of_the_columns_rotates_the_answer() -> None:
    X = low_rank(120, 6, 2)[0]
    X[:10] += 30.0
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    plain, turned = (AttentionPCA(2, robust="rows").fit(table) for table in (X, X @ Q.T))
    np.testing.assert_allclose(turned.row_weights_, plain.row_weights_, atol=1e-9)
    assert largest_angle(turned.components_, plain.components_ @ Q.T) < 1e-5
    np.testing.assert_allclose(turned.explained_variance_, plain.explained_variance_)


@pytest.mark.parametrize("robust", ["rows", "cells"])
def test_a_long_table_is_weighed_by_the_frozen_layers(robust: str) -> None:
    def fit(**options: int) -> AttentionPCA:
        return AttentionPCA(2, robust=robust, **options).fit(X)

    X = low_rank(3000, 8, 2)[0]
    X[::10] += 40.0 * np.random.default_rng(0).normal(size=8)
    short, whole = fit(max_context=400, random_state=0), fit()
    assert largest_angle(short.components_, whole.components_) < 2.0
    assert np.abs(short.row_weights_ - whole.row_weights_).mean() < 0.1
    again = fit(max_context=400, random_state=0)
    np.testing.assert_array_equal(again.components_, short.components_)
    other = fit(max_context=400, random_state=1)
    assert np.abs(other.components_ - short.components_).max() > 0


@pytest.mark.parametrize("weights", ["constructed", "pretrained"])
@pytest.mark.parametrize("robust", ["rows", "cells"])
def test_missing_cells_that_the_layers_did_not_see(weights: str, robust: str) -> None:
    X = low_rank(3000, 5, 2)[0]
    gappy = X.copy()
    gappy[[5, 700, 2000], [1, 2, 3]] = np.nan
    few, none = (
        AttentionPCA(2, weights=weights, robust=robust, max_context=60, random_state=0).fit(table)
        for table in (gappy, X)
    )
    assert largest_angle(few.components_, none.components_) < 0.5
    assert largest_angle(few.components_, none.components_) > 0.0
    if robust == "cells":
        assert few.cell_weights_[[5, 700, 2000], [1, 2, 3]].tolist() == [0.0] * 3


# -- both ------------------------------------------------------------------------------------------


@pytest.fixture(params=["constructed", "pretrained"])
def weights(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("robust", ["rows", "cells"])
def test_rows_are_projected_one_by_one(weights: str, robust: str) -> None:
    X = with_gaps(low_rank(60, 6, 2)[0], 0.2)
    model = AttentionPCA(2, weights=weights, robust=robust).fit(X)
    together = model.transform(X)
    alone = np.concatenate([model.transform(X[i : i + 1]) for i in range(60)])
    np.testing.assert_allclose(alone, together, atol=1e-10)
    np.testing.assert_allclose(model.fit_transform(X), together, atol=1e-10)


UGLY: dict[str, Callable[[np.random.Generator], Table]] = {
    "constant column": lambda rng: np.c_[rng.normal(size=(40, 4)), np.full(40, 7.0)],
    "constant table": lambda _: np.full((10, 3), 2.5),
    "fewer rows than columns": lambda rng: rng.normal(size=(5, 20)),
    "two rows": lambda rng: rng.normal(size=(2, 4)),
    "one column": lambda rng: rng.normal(size=(20, 1)),
    "copies": lambda rng: np.repeat(rng.normal(size=(3, 4)), 10, axis=0),
    "far from zero": lambda rng: rng.normal(size=(40, 4)) + 1e9,
    "tiny": lambda rng: rng.normal(size=(40, 4)) * 1e-9,
    "whole numbers": lambda rng: rng.integers(0, 9, size=(40, 4)),
    "single precision": lambda rng: rng.normal(size=(40, 4)).astype(np.float32),
    "an empty row": lambda rng: np.r_[rng.normal(size=(40, 4)), np.full((1, 4), np.nan)],
    "one cell in a column": lambda rng: np.c_[
        rng.normal(size=(40, 3)), np.r_[3.0, np.full(39, np.nan)]
    ],
    "a cell far away": lambda rng: np.r_[rng.normal(size=(40, 4)), [[1e12, 0, 0, 0]]],
    "units": lambda rng: rng.normal(size=(40, 4)) * [1e-6, 1.0, 1e6, 1e3],
    "units with gaps": lambda rng: with_gaps(
        np.outer(rng.normal(size=40), np.ones(9)) * 10.0 ** np.arange(-8, 10, 2), 0.3
    ),
    "rank 1 with gaps": lambda rng: with_gaps(np.outer(rng.normal(size=30), [1.0, 2, 3]), 0.3),
}


@pytest.mark.parametrize("robust", ["rows", "cells"])
@pytest.mark.parametrize("name", UGLY)
def test_ugly_tables_have_an_answer(weights: str, robust: str, name: str) -> None:
    X = UGLY[name](np.random.default_rng(0))
    for k in (None, 1, 0.8):
        model = AttentionPCA(k, weights=weights, robust=robust).fit(X)
        scores = model.transform(X)
        for found in (scores, model.inverse_transform(scores), model.score_samples(X)):
            assert np.isfinite(found).all()
        gram = model.components_ @ model.components_.T
        np.testing.assert_allclose(gram, np.eye(model.n_components_), atol=1e-5)
        assert scores.dtype == (np.float32 if X.dtype == np.float32 else np.float64)
        assert model.row_weights_[-1] == (0.0 if name == "an empty row" else model.row_weights_[-1])
        if k is None:
            assert model.n_components_ == min(model.n_samples_, X.shape[1])


def test_a_frame_has_names_in_and_out(weights: str) -> None:
    frame = pd.DataFrame(low_rank(30, 4, 2)[0], columns=list("abcd"), index=range(5, 35))
    model = AttentionPCA(2, weights=weights).set_output(transform="pandas")
    scores = model.fit_transform(frame)
    assert list(scores.columns) == ["attentionpca0", "attentionpca1"]
    assert list(scores.index) == list(frame.index)
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.get_feature_names_out().tolist() == ["attentionpca0", "attentionpca1"]
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[["b", "a", "c", "d"]])


def test_it_works_in_a_pipeline_and_through_pickle(weights: str) -> None:
    X = low_rank(50, 4, 2)[0]
    pipe = make_pipeline(StandardScaler(), AttentionPCA(2, weights=weights, robust="cells"))
    scores = pipe.fit_transform(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(pipe)).transform(X), scores)


# -- refusals --------------------------------------------------------------------------------------


def test_infinity_is_refused() -> None:
    X = low_rank(20, 3, 1)[0]
    model = constructed().fit(X)
    X[3, 1] = np.inf
    for call in (constructed().fit, model.transform, model.score_samples):
        with pytest.raises(ValueError, match="infinity"):
            call(X)


def test_a_column_without_a_number_is_refused_by_name() -> None:
    frame = pd.DataFrame({"size": [1.0, 2.0, 3.0], "colour": [np.nan, np.nan, 1.0]})
    constructed(1).fit(frame)
    with pytest.raises(ValueError, match="'colour'"):
        constructed(1).fit(frame, sample_weight=[1, 1, 0])
    with pytest.raises(ValueError, match="'x1'"):
        constructed(1).fit(frame.to_numpy()[:2])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n_components": 4}, ValueError, "n_components=4 must be between 1 and .*=3"),
        ({"n_components": 0}, ValueError, "n_components=0"),
        ({"n_components": 1.0}, ValueError, "n_components=1.0"),
        ({"n_components": "mle"}, TypeError, "n_components='mle'"),
        ({"n_components": True}, TypeError, "n_components=True"),
        ({"robust": "columns"}, ValueError, "robust='columns'"),
        ({"weights": 3}, TypeError, "weights=3"),
        ({"weights": "nowhere"}, FileNotFoundError, "nowhere"),
        ({"max_context": 1}, ValueError, "max_context=1"),
        ({"random_state": -1}, ValueError, "random_state=-1"),
    ],
)
def test_arguments_out_of_range(options: dict, error: type[Exception], words: str) -> None:
    X = low_rank(20, 3, 1)[0]
    with pytest.raises(error, match=words):
        AttentionPCA(**{"weights": "constructed", **options}).fit(X)


def test_too_few_rows() -> None:
    X = low_rank(5, 3, 1)[0]
    for call in (
        lambda: constructed().fit(X[:1]),
        lambda: constructed().fit(X, sample_weight=[0.5, 0, 0, 0, 0]),
    ):
        with pytest.raises(ValueError, match=r"minimum of 2|n_samples = 1"):
            call()


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(WeightsError):
        AttentionPCA(weights="mixture").fit(low_rank(20, 3, 1)[0])


def test_scores_of_the_wrong_width_are_refused() -> None:
    model = constructed(2).fit(low_rank(20, 3, 1)[0])
    with pytest.raises(ValueError, match="2 components"):
        model.inverse_transform(np.zeros((4, 3)))


# -- scikit-learn's own checks ---------------------------------------------------------------------


@pytest.fixture
def numpy_seed_is_restored() -> Iterator[None]:
    """Some of the checks, not the estimator, draw from numpy's global state."""
    state = np.random.get_state()  # noqa: NPY002
    yield
    np.random.set_state(state)  # noqa: NPY002


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.usefixtures("numpy_seed_is_restored")
@parametrize_with_checks(
    [
        AttentionPCA(),
        AttentionPCA(2),
        AttentionPCA(2, robust="rows"),
        AttentionPCA(weights="constructed"),
        AttentionPCA(weights="constructed", robust="rows"),
    ]
)
def test_scikit_learn_check(estimator: AttentionPCA, check: Callable) -> None:
    check(estimator)
