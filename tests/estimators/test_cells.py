"""Missing and categorical cells, read as they are: exact weights, densities, files, the rule."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file
from scipy import special, stats
from sklearn.metrics import adjusted_rand_score

import statformer
from statformer import AttentionMixture
from statformer.estimators import MissingValuesWarning, cells, fitting
from statformer.estimators.base import resolve_weights
from statformer.estimators.cells import CellLayout, native_rows, run_cells, run_layers
from statformer.estimators.columns import Column
from statformer.estimators.devices import backend
from statformer.nn.em_network import EMNetwork
from statformer.weights import WeightsError


def mixed(seed: int = 0, n: int = 150, rate: float = 0.2) -> tuple[pd.DataFrame, np.ndarray]:
    """Three clusters in three numbers, a word and a flag; cells missing at random."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, size=n, p=[0.5, 0.3, 0.2])
    X = np.array([[0, 0, 0], [6, 0, 6], [0, 6, -6]])[y] + rng.normal(size=(n, 3))
    frame = pd.DataFrame(10.0 * X + 100.0, columns=list("abc"))
    frame["word"] = np.array(["x", "y", "z", "w"])[(y + (rng.random(n) < 0.2)) % 4]
    frame["flag"] = np.array(["no", "yes"])[(y == 1) ^ (rng.random(n) < 0.1).astype(int)]
    gone = rng.random(frame.shape) < rate
    return frame.mask(gone), y


def numbers(seed: int = 0, n: int = 150, rate: float = 0.3) -> np.ndarray:
    X = mixed(seed, n, 0.0)[0][list("abc")].to_numpy(copy=True)
    X[np.random.default_rng(seed + 1).random(X.shape) < rate] = np.nan
    return X


@pytest.mark.parametrize("kind", ["mixed", "numbers", "words"])
def test_clusters_are_found_and_rows_have_no_order(weights: str | Path, kind: str) -> None:
    frame, y = mixed()
    if kind == "numbers":
        frame = frame[list("abc")]
    if kind == "words":
        frame, y = words()
    rng = np.random.default_rng(5)
    order = rng.permutation(len(y))
    one = AttentionMixture(3, weights=weights, random_state=0).fit(frame)
    two = AttentionMixture(3, weights=weights, random_state=0).fit(frame.iloc[order])
    np.testing.assert_array_equal(two.labels_, one.labels_[order])
    np.testing.assert_allclose(two.means_, one.means_, rtol=1e-9)
    if kind != "words":
        assert adjusted_rand_score(y, one.labels_) > 0.8
    np.testing.assert_array_equal(one.predict(frame), one.labels_)
    np.testing.assert_allclose(one.predict_proba(frame.iloc[:7]), one.predict_proba(frame)[:7])
    np.testing.assert_allclose(one.predict_proba(frame).sum(axis=1), 1.0)
    assert np.isfinite(one.score_samples(frame)).all()


def words(n: int = 200) -> tuple[pd.DataFrame, np.ndarray]:
    """Latent classes: five columns of words that hang together within three classes."""
    rng = np.random.default_rng(3)
    y = rng.integers(3, size=n)
    columns = {}
    for j in range(5):
        code = np.where(rng.random(n) < 0.85, (y + j) % 3, rng.integers(3, size=n))
        columns[f"w{j}"] = np.array(["a", "b", "c"])[code]
    frame = pd.DataFrame(columns)
    return frame.mask(rng.random(frame.shape) < 0.1), y


def test_latent_classes_are_found() -> None:
    frame, y = words()
    model = AttentionMixture(3, weights="constructed", random_state=0).fit(frame)
    assert adjusted_rand_score(y, model.labels_) > 0.7
    np.testing.assert_allclose(model.means_.sum(axis=1), 5.0)


def test_association_makes_clusters_and_a_single_word_does_not_hide_it(
    weights: str | Path,
) -> None:
    """Words that hang together, beside a number that is noise."""
    frame, y = words()
    frame["x"] = np.random.default_rng(0).normal(size=len(y))
    model = AttentionMixture(3, weights=weights, random_state=0).fit(frame)
    assert adjusted_rand_score(y, model.labels_) > 0.6


@pytest.mark.parametrize("kind", ["mixed", "numbers"])
def test_a_weight_is_a_number_of_copies(weights: str | Path, kind: str) -> None:
    frame = mixed(1)[0] if kind == "mixed" else pd.DataFrame(numbers(1), columns=list("abc"))
    copies = np.random.default_rng(0).integers(0, 3, size=len(frame))
    again = frame.iloc[np.repeat(np.arange(len(frame)), copies)]
    one = AttentionMixture(3, weights=weights, random_state=0).fit(frame, sample_weight=copies)
    two = AttentionMixture(3, weights=weights, random_state=0).fit(again)
    np.testing.assert_allclose(one.means_, two.means_, rtol=1e-9)
    np.testing.assert_allclose(one.predict_proba(frame), two.predict_proba(frame), atol=1e-9)
    assert one.encoded_feature_names_ == two.encoded_feature_names_


def test_nothing_is_said_and_nothing_is_filled(weights: str | Path) -> None:
    X = numbers()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = AttentionMixture(3, weights=weights, random_state=0).fit(X)
        model.predict(X[:3])
    far = np.where(np.isnan(X), 1e3, X)
    assert np.abs(model.predict_proba(far) - model.predict_proba(X)).max() > 0.1


def test_wide_tables_are_filled_with_a_warning(weights: str | Path) -> None:
    X = numbers()
    model = AttentionMixture(3, weights=weights, random_state=0, max_features=2)
    message = r"\d+ missing cells in 3 columns \(x0, x1, x2\)"
    with pytest.warns(MissingValuesWarning, match=message) as seen:
        model.fit(X)
    assert len(seen) == 1
    with pytest.warns(MissingValuesWarning) as seen:
        labels = model.predict(X)
    assert len(seen) == 1
    np.testing.assert_array_equal(labels, model.labels_)


def test_the_rule_of_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.where(np.random.default_rng(0).random((600, 12)) < 0.5, np.nan, 1.0)
    layout = CellLayout(tuple(range(12)))
    assert native_rows(layout, X, 4096, 128) == 4096
    assert native_rows(layout, X, 4096, 11) is None
    monkeypatch.setattr(cells, "PATTERN_WORK", 520 * 12**3)
    assert native_rows(layout, X, 4096, 128) == 520
    assert native_rows(layout, X, 100, 128) == 100
    monkeypatch.setattr(cells, "PATTERN_WORK", 100 * 12**3)
    assert native_rows(layout, X, 4096, 128) is None
    few = np.where(np.arange(600)[:, None] % 3 == np.arange(12) % 3, np.nan, X[:1] * 0 + 1.0)
    assert native_rows(layout, few, 4096, 128) == 4096
    assert native_rows(layout, np.ones((9, 12)), 4096, 128) == 4096


def test_a_dear_table_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "PATTERN_WORK", 1)
    with pytest.warns(MissingValuesWarning):
        model = AttentionMixture(3, weights="constructed", random_state=0).fit(mixed()[0])
    assert model.means_.shape == (3, 8)
    model.predict(mixed()[0])


# ---------------------------------------------------------------------------------------------
# The fitted mixture


@pytest.fixture(scope="module")
def fitted() -> AttentionMixture:
    return AttentionMixture(3, weights="constructed", random_state=0).fit(mixed()[0])


def test_the_density_is_that_of_the_cells_that_are_there(fitted: AttentionMixture) -> None:
    """log sum_k pi_k N(x_O; mu_O, Sigma_OO) prod theta, in the caller's units."""
    frame = mixed(7, 20, 0.4)[0]
    names = fitted.encoded_feature_names_
    expected = []
    for _, row in frame.iterrows():
        seen = [j for j, name in enumerate("abc") if not pd.isna(row[name])]
        x = np.array([row["abc"[j]] for j in seen], dtype=float)
        parts = []
        for k in range(3):
            value = np.log(fitted.weights_[k])
            if seen:
                own = fitted.covariances_[k][np.ix_(seen, seen)]
                value += stats.multivariate_normal(fitted.means_[k][seen], own).logpdf(x)
            for name in ("word", "flag"):
                if pd.isna(row[name]):
                    continue
                if f"{name}={row[name]}" in names:
                    p = fitted.means_[k][names.index(f"{name}={row[name]}")]
                else:  # of two categories, the one without a column
                    own = [j for j, full in enumerate(names) if full.startswith(f"{name}=")]
                    p = 1.0 - fitted.means_[k][own].sum()
                value += np.log(p)
            parts.append(value)
        expected.append(special.logsumexp(parts))
    np.testing.assert_allclose(fitted.score_samples(frame), expected, rtol=1e-9, atol=1e-12)


def test_probabilities_sum_to_one_over_categories(fitted: AttentionMixture) -> None:
    row = mixed(0, 150, 0.0)[0].iloc[:1]
    every = [fitted.score_samples(row.assign(word=word))[0] for word in "xyzw"]
    without = fitted.score_samples(row.assign(word=None))[0]
    np.testing.assert_allclose(special.logsumexp(every), without, rtol=1e-9)
    unseen = fitted.score_samples(row.assign(word="never"))[0]
    assert unseen == without


def test_means_and_covariances_of_categories_are_those_of_shares(
    fitted: AttentionMixture,
) -> None:
    assert fitted.encoded_feature_names_[:3] == list("abc")
    theta = fitted.means_[:, 3:7]
    np.testing.assert_allclose(theta.sum(axis=1), 1.0)
    covariances = fitted.covariances_
    for k in range(3):
        block = np.diag(theta[k]) - np.outer(theta[k], theta[k])
        np.testing.assert_allclose(covariances[k][3:7, 3:7], block, atol=1e-12)
        flag = fitted.means_[k, 7]
        np.testing.assert_allclose(covariances[k][7, 7], flag * (1.0 - flag))
    assert not covariances[:, :3, 3:].any()
    assert not covariances[:, 3:7, 7].any()


def test_bic_counts_shares(fitted: AttentionMixture) -> None:
    kind = fitted._mixture.covariance_type
    of_kind = {"full": 3 * 6, "tied": 6, "diag": 3 * 3, "spherical": 3}[kind]
    assert fitted._mixture.n_parameters == 2 + 3 * 3 + of_kind + 3 * (3 + 1)


def test_samples_look_like_the_table(fitted: AttentionMixture) -> None:
    X, y = fitted.sample(4000)
    assert X.shape == (4000, 8)
    assert set(np.unique(X[:, 3:])) == {0.0, 1.0}
    np.testing.assert_array_equal(X[:, 3:7].sum(axis=1), 1.0)
    for k in range(3):
        np.testing.assert_allclose(X[y == k].mean(axis=0), fitted.means_[k], atol=2.0)
        np.testing.assert_allclose(X[y == k][:, 3:].mean(axis=0), fitted.means_[k][3:], atol=0.08)


def test_to_sklearn_refuses_categories_and_takes_numbers(fitted: AttentionMixture) -> None:
    with pytest.raises(ValueError, match="2 categorical columns"):
        fitted.to_sklearn()
    X = numbers()
    model = AttentionMixture(3, weights="constructed", random_state=0).fit(X)
    whole = X[~np.isnan(X).any(axis=1)]
    np.testing.assert_allclose(
        model.to_sklearn().score_samples(whole), model.score_samples(whole), rtol=1e-8
    )


def test_a_complete_fit_reads_rows_with_gaps() -> None:
    X = mixed(0, 150, 0.0)[0][list("abc")].to_numpy(copy=True)
    model = AttentionMixture(3, weights="constructed", random_state=0).fit(X)
    X[:, 1], ac = np.nan, [0, 2]
    parts = []
    for weight, mean, own in zip(model.weights_, model.means_, model.covariances_, strict=True):
        marginal = stats.multivariate_normal(mean[ac], own[np.ix_(ac, ac)])
        parts.append(np.log(weight) + marginal.logpdf(X[:, ac]))
    np.testing.assert_allclose(model.score_samples(X), special.logsumexp(parts, axis=0), rtol=1e-9)
    expected = special.softmax(np.stack(parts, axis=1), axis=1)
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-8)


def test_files_keep_everything(weights: str | Path, tmp_path: Path) -> None:
    frame = mixed()[0]
    model = AttentionMixture(3, weights=weights, random_state=0).fit(frame)
    model.save(tmp_path / "m")
    again = statformer.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))
    np.testing.assert_array_equal(again.score_samples(frame), model.score_samples(frame))
    np.testing.assert_array_equal(again.covariances_, model.covariances_)
    assert again.bic(frame) == model.bic(frame)


@pytest.mark.parametrize("change", ["sums", "negative", "none", "narrow"])
def test_hostile_shares_are_refused(fitted: AttentionMixture, tmp_path: Path, change: str) -> None:
    from safetensors import safe_open

    path = tmp_path / "m"
    fitted.save(path)
    arrays = load_file(path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    theta = arrays["categories"]
    if change == "sums":
        arrays["categories"] = theta * 1.1
    elif change == "negative":
        theta[0, :2] += [-1.0, 1.0]
    elif change == "none":
        del arrays["categories"]
    else:
        arrays["categories"] = theta[:, :-1].copy()
    save_file(arrays, path, metadata=metadata)
    with pytest.raises(WeightsError):
        statformer.load(path)


def test_the_trace_ends_at_the_answer(weights: str | Path) -> None:
    frame = mixed()[0]
    model = AttentionMixture(3, weights=weights, random_state=0).fit(frame)
    last, answered = model.trace_[-1], model.predict_proba(frame)[model.context_]
    # the judge spreads a share of every row evenly
    kept, spread = np.polyfit(last.ravel(), answered.ravel(), 1)
    np.testing.assert_allclose(answered, kept * last + spread, atol=1e-7)
    np.testing.assert_allclose(spread, (1.0 - kept) / 3.0, atol=1e-7)
    assert kept > 0.01


def test_many_tables_are_the_same_tables_alone(weights: str | Path) -> None:
    tables = [
        numbers(1),
        mixed(2)[0],
        mixed(3, rate=0.0)[0][list("abc")].to_numpy(copy=True),
        numbers(4),
    ]
    together = statformer.cluster_tables(tables, 3, weights=weights, random_state=0)
    for table, model in zip(tables, together, strict=True):
        alone = AttentionMixture(3, weights=weights, random_state=0).fit(table)
        np.testing.assert_allclose(
            model.predict_proba(table), alone.predict_proba(table), atol=1e-8
        )


@pytest.mark.filterwarnings("ignore::statformer.estimators.EmptyClusterWarning")
def test_k_is_found_with_cells() -> None:
    model = AttentionMixture(weights="constructed", random_state=0, max_components=6).fit(
        mixed()[0]
    )
    assert 1 <= model.n_components_ <= 6
    np.testing.assert_allclose(model.n_components_proba_.sum(), 1.0)


@pytest.mark.parametrize("rate", [0.6, 0.85])
def test_many_gaps_make_no_nan(weights: str | Path, rate: float) -> None:
    frame = mixed(4, 80, rate)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", statformer.estimators.EmptyClusterWarning)
        model = AttentionMixture(3, weights=weights, random_state=0).fit(frame)
    assert np.isfinite(model.predict_proba(frame)).all()
    assert np.isfinite(model.covariances_).all()
    assert np.isfinite(model.score_samples(frame)).all()


# ---------------------------------------------------------------------------------------------
# Parts


def test_layouts() -> None:
    layout = CellLayout.of(
        [
            Column("a", 0.0),
            Column("k", 0.0, ("x", "y", "z")),
            Column("b", 0.0),
            Column("f", 0.0, ("n", "y")),
        ]
    )
    assert layout == CellLayout((0, 4), ((1, 2, 3), (5,)), (3, 2))
    assert (layout.n_columns, layout.n_categories) == (6, 5)
    X = np.array([[1.0, 0, 1, 0, 2, 1], [1, np.nan, np.nan, np.nan, 2, 0], [1, 1, 0, 0, 2, np.nan]])
    np.testing.assert_array_equal(
        layout.onehot(X), [[0, 1, 0, 0, 1], [0, 0, 0, 1, 0], [1, 0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(layout.places, [[1, 2, 3, 5], [0, 1, 2, 4]])
    theta = np.tile([0.0, 1.0, 0.0, 0.5, 0.5], (2000, 1))
    drawn = layout.draw(theta, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn[:, :3], np.tile([0.0, 1.0, 0.0], (2000, 1)))
    assert 0.45 < drawn[:, 3].mean() < 0.55


def test_runs_in_pieces_and_layers(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = AttentionMixture(3, weights=checkpoint, random_state=0)
    problem = fitting.prepare(model, mixed()[0], None).problem
    assert problem.cells is not None
    assert np.isfinite(problem.X).all()
    labels = np.random.default_rng(0).integers(3, size=(4, len(problem.X)))
    network = EMNetwork(resolve_weights(checkpoint).em)
    whole = run_cells(network, problem, labels, 3, backend(None))
    layers = run_layers(network, problem, labels, 3, [1, network.n_layers], backend(None))
    monkeypatch.setattr(cells, "RUN_ELEMENTS", 1)
    pieces = run_cells(lambda *_: network, problem, labels, 3, backend(None))
    for other, density in ((layers[1][0], layers[1][2]), (pieces.centres, None)):
        np.testing.assert_allclose(other.means, whole.centres.means, atol=1e-10)
        np.testing.assert_allclose(other.categories, whole.centres.categories, atol=1e-10)
        if density is not None:
            total = density * problem.weight.sum()
            np.testing.assert_allclose(total, whole.log_likelihood)
    np.testing.assert_allclose(pieces.log_likelihood, whole.log_likelihood)
    assert np.abs(layers[0][0].means - whole.centres.means).max() > 1e-6
    with pytest.raises(ValueError, match="is complete"):
        run_cells(network, replace(problem, cells=None), labels, 3, backend(None))
