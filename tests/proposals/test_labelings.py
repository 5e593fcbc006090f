"""Features of a labeling: equal to those of other people's code, blind to names and units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.spatial.distance import cdist, pdist, squareform
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.metrics import (
    adjusted_rand_score,
    calinski_harabasz_score,
    silhouette_samples,
    silhouette_score,
)
from sklearn.neighbors import NearestNeighbors

from proposals.tables import clusters, labelings, ugly
from statformer.proposals.labelings import (
    LABELING_FEATURES,
    N_LABELING_FEATURES,
    agreement,
    describe,
    side_by_side,
)
from statformer.proposals.view import RIDGE, TableView

NUMBER_OF = {name: i for i, name in enumerate(LABELING_FEATURES)}


def view_of(X: np.ndarray, weight: np.ndarray | None = None) -> TableView:
    return TableView(X, np.ones(len(X)) if weight is None else weight)


def features(X: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    (row,) = describe(view_of(X), labels[None])
    return dict(zip(LABELING_FEATURES, row, strict=True))


@pytest.fixture(params=[1, 2, 5])
def table(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    return clusters(10, d=request.param)


# ---------------------------------------------------------------------------------------------
# Against other code


def test_sizes() -> None:
    X, _ = clusters(0, n=50, d=2)
    labels = np.repeat([3, 0, -1], [30, 15, 5])
    found = features(X, labels)
    shares = np.array([0.6, 0.3, 0.1])
    assert found["log K"] == pytest.approx(np.log(3))
    assert found["balance"] == pytest.approx(-(shares @ np.log(shares)) / np.log(4))
    assert found["smallest share"] == pytest.approx(np.log(0.1 * 3 + 1e-4))
    assert found["largest share"] == pytest.approx(0.6)
    assert found["rows per column of the smallest"] == pytest.approx(np.log(5 / 3 + 1e-3))
    assert found["noise share"] == pytest.approx(0.1)


def test_silhouette_is_that_of_sklearn(table: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = table
    for labels in labelings(0, y):
        found = features(X, labels)
        each = silhouette_samples(X, labels)
        assert found["silhouette"] == pytest.approx(silhouette_score(X, labels), abs=1e-6)
        worst = min(each[labels == k].mean() for k in np.unique(labels))
        assert found["worst silhouette"] == pytest.approx(worst, abs=1e-6)


def test_silhouette_of_single_rows_is_that_of_sklearn() -> None:
    X, _ = clusters(1, n=20)
    labels = np.minimum(np.arange(20), 5)  # five clusters of one row
    assert features(X, labels)["silhouette"] == pytest.approx(silhouette_score(X, labels), abs=1e-7)
    assert features(X, np.zeros(20, dtype=int))["silhouette"] == 0.0


def test_variance_ratio_is_that_of_sklearn(table: tuple[np.ndarray, np.ndarray]) -> None:
    """log(between / within) is Calinski and Harabasz's index but for degrees of freedom."""
    X, y = table
    n, k = len(X), len(np.unique(y))
    expected = np.log(calinski_harabasz_score(X, y) * (k - 1) / (n - k))
    assert features(X, y)["between to within"] == pytest.approx(expected, abs=1e-4)


def test_davies_bouldin_with_root_mean_squares(table: tuple[np.ndarray, np.ndarray]) -> None:
    """Davies and Bouldin (1979) with q = 2; sklearn has q = 1."""
    X, y = table
    means = np.stack([X[y == k].mean(axis=0) for k in range(3)])
    s = [np.sqrt(((X[y == k] - means[k]) ** 2).sum(axis=1).mean()) for k in range(3)]
    far = cdist(means, means)
    worst = [max((s[i] + s[j]) / far[i, j] for j in range(3) if j != i) for i in range(3)]
    assert features(X, y)["Davies-Bouldin"] == pytest.approx(np.log(np.mean(worst) + 1e-2))


def gaussians(
    Z: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray, np.ndarray]:
    """Shares, means, covariances of the clusters, tied one and that of all rows; no ridge yet."""
    K, p = y.max() + 1, Z.shape[1]
    share = np.bincount(y) / len(y)
    means = np.stack([Z[y == k].mean(axis=0) for k in range(K)])
    own = [np.cov(Z[y == k].T, bias=True).reshape(p, p) for k in range(K)]
    tied = np.einsum("k,kij->ij", share, np.stack(own))
    return share, means, own, tied, np.cov(Z.T, bias=True).reshape(p, p)


def test_gains_of_hard_labels(table: tuple[np.ndarray, np.ndarray]) -> None:
    """What four kinds of Gaussians gain over one, per row and root of columns."""
    X, y = table
    Z = view_of(X).Z
    n, p = Z.shape
    share, _, own, tied, whole = gaussians(Z, y)
    ridge = RIDGE * np.trace(whole) / p * np.eye(p)

    def log_det(matrix: np.ndarray) -> float:
        return float(np.linalg.slogdet(matrix)[1])

    lean = p / (share * n + p)
    full = [(1 - b) * S + b * tied + ridge for b, S in zip(lean, own, strict=True)]
    diagonal = [np.diag(np.diag(S)) + ridge for S in own]
    ball = [np.trace(S + ridge) / p * np.eye(p) for S in own]
    sorting = share @ np.log(share)
    expected = {}
    for name, each, alone, own_numbers in (
        ("full", full, whole + ridge, p * (p + 1) / 2),
        ("diagonal", diagonal, np.diag(np.diag(whole + ridge)), p),
        ("spherical", ball, np.trace(whole + ridge) / p * np.eye(p), 1),
        ("tied", [tied + ridge] * 3, whole + ridge, 0),
    ):
        inside = sum(s * log_det(S) for s, S in zip(share, each, strict=True))
        gain = sorting - 0.5 * inside + 0.5 * log_det(alone)
        expected[f"gain {name}"] = gain / np.sqrt(p)
        over = n * gain - 0.5 * 2 * (1 + p + own_numbers) * np.log(n)
        expected[f"criterion {name}"] = np.sign(over) * np.log1p(abs(over))
    found = features(X, y)
    assert {k: found[k] for k in expected} == pytest.approx(expected, abs=1e-8)


def test_the_soft_refit(table: tuple[np.ndarray, np.ndarray]) -> None:
    """One E step of the mixture that the labels fit, by scipy's densities."""
    X, y = table
    Z = view_of(X).Z
    n, p = Z.shape
    share, means, own, tied, whole = gaussians(Z, y)
    ridge = RIDGE * np.trace(whole) / p * np.eye(p)
    lean = p / (share * n + p)
    full = [(1 - b) * S + b * tied + ridge for b, S in zip(lean, own, strict=True)]
    score = np.stack(
        [np.log(share[k]) + multivariate_normal.logpdf(Z, means[k], full[k]) for k in range(3)]
    )
    evidence = logsumexp(score, axis=0)
    r = np.exp(score - evidence)
    alone = multivariate_normal.logpdf(Z, Z.mean(axis=0), whole + ridge)
    found = features(X, y)
    soft = (evidence - alone).mean()
    assert found["gain soft"] == pytest.approx(soft / np.sqrt(p), abs=1e-7)
    assert found["posterior of own"] == pytest.approx(r[y, np.arange(n)].mean(), abs=1e-7)
    entropy = -(r * np.log(r + 1e-300)).sum(axis=0).mean()
    assert found["doubt"] == pytest.approx(entropy / np.log(4), abs=1e-7)
    assert found["kept by a refit"] == pytest.approx((score.argmax(axis=0) == y).mean())
    squared = [
        (multivariate_normal.logpdf(Z[y == k], means[k], full[k])) for k in range(3)
    ]  # -2 log N = m^2 + log det + p log 2 pi
    tail = []
    for k in range(3):
        constant = np.linalg.slogdet(full[k])[1] + p * np.log(2 * np.pi)
        m = -2 * squared[k] - constant
        tail.append(np.log((m**2).mean() / (p * (p + 2)) + 1e-3))
    assert found["kurtosis"] == pytest.approx(share @ tail, abs=1e-7)
    assert found["worst kurtosis"] == pytest.approx(max(tail), abs=1e-7)
    between = cdist(means, means, "mahalanobis", VI=np.linalg.inv(tied + ridge))
    nearest = (between + np.diag([np.inf] * 3)).min(axis=1)
    assert found["nearest centres"] == pytest.approx(np.log(nearest.min() + 1e-2), abs=1e-7)
    assert found["typical centres"] == pytest.approx(np.log(share @ nearest + 1e-2), abs=1e-7)


def test_neighbours_and_pieces() -> None:
    X, y = clusters(11, n=70)
    for labels in labelings(1, y):
        near = NearestNeighbors(n_neighbors=10).fit(X).kneighbors(return_distance=False)
        same = labels[near] == labels[:, None]
        shares = np.unique(labels, return_counts=True)[1] / len(labels)
        room = 1.0 - (shares**2).sum()
        found = features(X, labels)
        for k, name in ((5, "same among 5 neighbours"), (10, "same among 10 neighbours")):
            expected = (same[:, :k].mean() - 1.0 + room) / room
            assert found[name] == pytest.approx(expected)
        worst = min(same[labels == k].mean() for k in np.unique(labels))
        assert found["worst same among 10"] == pytest.approx(worst)
        graph = np.zeros((70, 70))
        for i in range(70):
            graph[i, near[i, :5][same[i, :5]]] = 1.0
        n_pieces, piece = connected_components(graph, directed=False)
        assert found["pieces"] == pytest.approx(np.log(n_pieces / len(shares)))
        main = sum(np.bincount(piece[labels == k]).max() for k in np.unique(labels))
        assert found["rows off the main piece"] == pytest.approx(1.0 - main / 70)


def test_edges_of_the_tree() -> None:
    X, y = clusters(12, n=70)
    tree = minimum_spanning_tree(squareform(pdist(X))).tocoo()
    logs = np.log(tree.data)
    logs = (logs - logs.mean()) / (logs.std() + 1e-6)
    for labels in labelings(2, y):
        cut = labels[tree.row] != labels[tree.col]
        found = features(X, labels)
        K = len(np.unique(labels))
        assert found["cut tree edges"] == pytest.approx(np.log((cut.sum() + 1) / K))
        assert found["length of cut edges"] == pytest.approx(logs[cut].mean(), abs=1e-6)
        assert found["longest kept edge"] == pytest.approx(logs[~cut].max(), abs=1e-6)
        assert found["shortest cut edge"] == pytest.approx(logs[cut].min(), abs=1e-6)


def test_agreement_is_sklearns_with_weights_as_copies() -> None:
    X, y = clusters(13)
    labels = np.concatenate([labelings(3, y), np.zeros((1, 90), dtype=int), np.arange(90)[None]])
    times = np.random.default_rng(0).integers(1, 4, 90)
    for weight in (np.ones(90, dtype=int), times):
        view = view_of(X, weight.astype(float))
        found = agreement(view, side_by_side(view, labels))
        copies = np.repeat(labels, weight, axis=1)
        expected = [[adjusted_rand_score(a, b) for b in copies] for a in copies]
        np.testing.assert_allclose(found, expected, atol=1e-12)


# ---------------------------------------------------------------------------------------------
# What plays no part

CHANGES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "order of columns": lambda X, rng: X[:, rng.permutation(X.shape[1])],
    "sign": lambda X, rng: X * rng.choice([-1.0, 1.0], X.shape[1]),
    "scale": lambda X, _: 1e3 * X,
    "shift": lambda X, rng: X + 5.0 * rng.normal(size=X.shape[1]),
}


@pytest.mark.parametrize("d", [1, 4, 25])
@pytest.mark.parametrize("change", CHANGES)
def test_columns_have_no_order_sign_or_units(change: str, d: int) -> None:
    X, y = clusters(14, d=d)
    labels = labelings(4, y)
    changed = CHANGES[change](X, np.random.default_rng(1))
    expected = describe(view_of(X), labels)
    np.testing.assert_allclose(describe(view_of(changed), labels), expected, atol=1e-6)
    other = X * np.linspace(1.0, 3.0, d) if d > 1 else X**3
    assert np.abs(describe(view_of(other), labels) - expected).max() > 1e-2


@pytest.mark.parametrize("d", [1, 4, 25])
def test_rows_have_no_order(d: int) -> None:
    X, y = clusters(15, d=d)
    labels = labelings(5, y)
    rng = np.random.default_rng(2)
    weight, order = rng.uniform(0.5, 2.0, 90), rng.permutation(90)
    expected = describe(view_of(X, weight), labels)
    found = describe(view_of(X[order], weight[order]), labels[:, order])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(describe(view_of(X, weight), labels[:, order]) - expected).max() > 0.1
    assert np.abs(describe(view_of(X), labels) - expected).max() > 1e-3


def test_clusters_have_no_numbers() -> None:
    X, y = clusters(16)
    labels = labelings(6, y)
    names = np.array([7, 2, 11, 0, 5])
    expected = describe(view_of(X), labels)
    renamed = np.where(labels < 0, -1, names[labels])
    np.testing.assert_allclose(describe(view_of(X), renamed), expected, atol=1e-9)
    # noise is one more cluster, and told apart from the others only as noise
    as_cluster = describe(view_of(X), np.where(labels < 0, 9, labels))
    noise = NUMBER_OF["noise share"]
    assert (expected[1:, noise] > 0).all()
    assert (as_cluster[:, noise] == 0).all()
    rest = np.arange(N_LABELING_FEATURES) != noise
    np.testing.assert_allclose(as_cluster[:, rest], expected[:, rest], atol=1e-9)


@pytest.mark.parametrize("d", [1, 4, 25])
def test_a_labeling_is_described_without_its_company(d: int) -> None:
    X, y = clusters(17, d=d)
    labels = labelings(7, y, m=6)
    together = describe(view_of(X), labels)
    for row, one in zip(labels, together, strict=True):
        np.testing.assert_allclose(describe(view_of(X), row[None])[0], one, atol=1e-9)


# ---------------------------------------------------------------------------------------------
# Whatever the table


@pytest.mark.parametrize("name", ugly())
def test_ugly_tables_have_features(name: str) -> None:
    X = ugly()[name]
    n = len(X)
    rng = np.random.default_rng(3)
    labels = np.stack(
        [
            np.zeros(n, dtype=int),
            np.full(n, -1),
            np.arange(n),
            np.arange(n) % 2,
            rng.integers(-1, 3, n),
            np.where(np.arange(n) == 0, 0, 4),
        ]
    )
    for weight in (np.ones(n), np.full(n, 0.3), 10.0 ** rng.uniform(-3, 3, n)):
        view = view_of(X, weight)
        found = describe(view, labels)
        assert found.shape == (6, N_LABELING_FEATURES)
        assert np.isfinite(found).all()
        assert np.abs(found).max() <= 20.0
        alike = agreement(view, side_by_side(view, labels))
        assert np.isfinite(alike).all()
        np.testing.assert_allclose(np.diagonal(alike), 1.0)
        np.testing.assert_allclose(alike, alike.T, atol=1e-12)


def test_the_true_labels_look_better_than_chance() -> None:
    X, y = clusters(18, n=150, apart=6.0)
    good, bad = (features(X, labels) for labels in (y, np.random.default_rng(0).permutation(y)))
    for name in ("gain full", "gain soft", "posterior of own", "silhouette", "between to within"):
        assert good[name] > bad[name] + 0.2
    for name in ("Davies-Bouldin", "pieces", "cut tree edges"):
        assert good[name] < bad[name] - 0.5
