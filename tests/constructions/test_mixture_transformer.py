"""The explicit weights equal reference EM and Lloyd, and stop doing so when any class is moved."""

from __future__ import annotations

import dataclasses
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from statformer.batch import Centres, Tables
from statformer.constructions.mixture_transformer import (
    VERSIONS,
    clear_centres,
    e_attention,
    em_transformer,
    lloyd_error,
    lloyd_transformer,
    required_flag_gain,
)
from statformer.nn.attention import Attention
from statformer.nn.layout import TokenLayout
from statformer.nn.mixture import MixtureTransformer, Step
from statformer.nn.read_write import ReadWrite
from statformer.reference import em

TOLERANCE = 1e-10
DISTURBANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Problem:
    """One table and its start, for the reference."""

    X: np.ndarray  # n d
    row_weight: np.ndarray  # n
    weights: np.ndarray  # c
    means: np.ndarray  # c d


def draw(seed: int, d: int, c: int, n: int, sigma: float = 1.0, separation: float = 3.0) -> Problem:
    rng = np.random.default_rng([seed, d, c, n])
    centres = separation * sigma * rng.standard_normal((c, d))
    X = centres[rng.integers(c, size=n)] + sigma * rng.standard_normal((n, d))
    means = centres + 0.5 * sigma * rng.standard_normal((c, d))
    return Problem(X, np.ones(n), rng.dirichlet(np.full(c, 4.0)), means)


def batch(problems: list[Problem], d: int, c: int, n: int) -> tuple[Tables, Centres]:
    """Problems of several sizes, padded to n points, d columns and c components."""
    b = len(problems)
    X, weight = np.zeros((b, n, d)), np.zeros((b, n))
    weights, means = np.zeros((b, c)), np.zeros((b, c, d))
    covariances = np.tile(np.eye(d), (b, c, 1, 1))
    is_component, is_feature = np.zeros((b, c), bool), np.zeros((b, d), bool)
    for t, problem in enumerate(problems):
        rows, columns = problem.X.shape
        k = len(problem.weights)
        X[t, :rows, :columns], weight[t, :rows] = problem.X, problem.row_weight
        weights[t, :k], means[t, :k, :columns] = problem.weights, problem.means
        is_component[t, :k], is_feature[t, :columns] = True, True
    torched = [torch.from_numpy(x) for x in (X, weight, is_feature)]
    started = [torch.from_numpy(x) for x in (weights, means, covariances, is_component)]
    return Tables(*torched), Centres(*started)


def alone(problem: Problem) -> tuple[Tables, Centres]:
    return batch([problem], problem.X.shape[1], len(problem.weights), len(problem.X))


def gap_to_em(
    network: MixtureTransformer, problem: Problem, sigma: float, n_steps: int
) -> list[float]:
    """Largest difference to reference EM in r, pi and mu, step by step."""
    with torch.no_grad():
        trace = network(*alone(problem))
    reference = em.isotropic_em(
        problem.X, problem.weights, problem.means, sigma, n_steps, problem.row_weight
    )
    gaps = []
    for r, centres, step in zip(trace.responsibilities, trace.centres, reference, strict=True):
        pairs = [
            (r[0], step.responsibilities),
            (centres.weights[0], step.mixture.weights),
            (centres.means[0], step.mixture.means),
            (centres.covariances[0], step.mixture.covariances),
        ]
        gaps.append(max(np.abs(found.numpy() - told).max() for found, told in pairs))
    return gaps


# ---------------------------------------------------------------------------------------------
# Versions (a) and (b): EM


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("d", "c", "n", "sigma"), list(product((1, 3, 8), (1, 2, 5), (12, 120), (0.3, 1.0, 2.5)))
)
def test_equals_em_step_by_step(version: str, d: int, c: int, n: int, sigma: float) -> None:
    n_steps = 20
    network = em_transformer(d, c, sigma, n_steps, version)
    for seed, separation in ((0, 0.7), (1, 3.0)):
        problem = draw(seed, d, c, n, sigma, separation)
        assert max(gap_to_em(network, problem, sigma, n_steps)) < TOLERANCE


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("n_steps", [1, 2, 60])
def test_any_number_of_steps(version: str, n_steps: int) -> None:
    problem = draw(2, d=2, c=3, n=60, separation=2.0)
    network = em_transformer(2, 3, 1.0, n_steps, version)
    gaps = gap_to_em(network, problem, 1.0, n_steps)
    assert len(gaps) == n_steps
    assert max(gaps) < TOLERANCE


@pytest.mark.parametrize("version", VERSIONS)
def test_a_lost_component_keeps_its_mean(version: str) -> None:
    problem = draw(3, d=2, c=3, n=40)
    far = np.array([[0.0, 0.0], [0.0, 0.0], [1e4, 0.0]])
    lost = dataclasses.replace(problem, means=problem.means + far)
    network = em_transformer(2, 3, 1.0, 4, version)
    assert max(gap_to_em(network, lost, 1.0, 4)) < TOLERANCE
    last = network(*alone(lost)).centres[-1]
    assert last.weights[0, 2] == 0
    assert last.means[0, 2].tolist() == lost.means[2].tolist()


@pytest.mark.parametrize("version", VERSIONS)
def test_starts_from_responsibilities_too(version: str) -> None:
    problem = draw(4, d=3, c=3, n=50, separation=1.0)
    tables, start = alone(problem)
    r = em.isotropic_e_step(problem.X, problem.weights, problem.means, 1.0)
    network = em_transformer(3, 3, 1.0, 6, version)
    by_centres = network(tables, start)
    by_responsibilities = network(tables, torch.from_numpy(r)[None])
    for left, right in zip(by_centres.centres, by_responsibilities.centres, strict=True):
        torch.testing.assert_close(left.means, right.means, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("version", VERSIONS)
def test_row_weights_count_copies(version: str) -> None:
    problem = draw(5, d=2, c=3, n=40, separation=1.0)
    copies = np.random.default_rng(0).integers(0, 4, size=40)
    weighted = dataclasses.replace(problem, row_weight=copies.astype(float))
    network = em_transformer(2, 3, 1.0, 8, version)
    assert max(gap_to_em(network, weighted, 1.0, 8)) < TOLERANCE
    repeated = dataclasses.replace(
        problem, X=np.repeat(problem.X, copies, axis=0), row_weight=np.ones(copies.sum())
    )
    left, right = network(*alone(weighted)), network(*alone(repeated))
    means = left.centres[-1].means, right.centres[-1].means
    torch.testing.assert_close(*means, rtol=0, atol=TOLERANCE)


def nonzero_classes(network: MixtureTransformer) -> list[tuple[str, str, str, str]]:
    """(step, matrix, row slot, column slot) of every block that is not zero."""
    found = []
    for step in network.layers[0]:
        module = step.module
        if isinstance(module, ReadWrite):
            blocks = module.rows.blocks(module.W_write.detach().numpy(), module.layout)
            found += [(step.name, "W_write", *block) for block in blocks]
        else:
            layout = network.embedding.layout
            for matrix in ("W_QK", "W_OV"):
                blocks = layout.blocks(getattr(module, matrix)[0].detach().numpy())
                found += [(step.name, matrix, *block) for block in blocks]
    return found


def disturb(network: MixtureTransformer, step: str, matrix: str, row: str, column: str) -> None:
    """Add the disturbance to every nonzero entry of one class."""
    (module,) = [s.module for s in network.layers[0] if s.name == step]
    weight = getattr(module, matrix)
    layout = network.embedding.layout
    rows = module.rows if isinstance(module, ReadWrite) else layout
    with torch.no_grad():
        block = weight[..., rows[row], layout[column]]
        block += DISTURBANCE * (block != 0)


EM_CLASSES = [
    (version, *block)
    for version in VERSIONS
    for block in nonzero_classes(em_transformer(3, 3, 0.8, 3, version))
]


def test_the_classes_are_the_ones_of_the_page() -> None:
    """docs/theorems/em.md names these entries; the parametrised test below visits each."""
    by_version = {v: {block[1:] for block in EM_CLASSES if block[0] == v} for v in VERSIONS}
    shared = {
        ("E", "W_QK", "payload", "payload"),
        ("E", "W_QK", "one", "bias"),
        ("E", "W_OV", "identity", "responsibility"),
        ("clear", "W_write", "copy(responsibility)", "responsibility"),
        ("forget", "W_write", "copy(count)", "count"),
        ("refresh", "W_write", "square(payload)", "bias"),
        ("refresh", "W_write", "log(count)", "bias"),
        ("refresh", "W_write", "copy(bias)", "bias"),
        ("M", "W_QK", "identity", "responsibility"),
        ("M", "W_OV", "payload", "sum"),
    }
    assert by_version["division"] - shared == {
        ("M", "W_OV", "one", "count"),
        ("divide", "W_write", "ratio(sum, count, payload)", "payload"),
        ("divide", "W_write", "copy(payload)", "payload"),
        ("divide", "W_write", "copy(sum)", "sum"),
    }
    assert by_version["log"] - shared == {
        ("count", "W_QK", "identity", "responsibility"),
        ("count", "W_OV", "one", "count"),
        ("log", "W_write", "log(responsibility)", "responsibility"),
        ("log", "W_write", "copy(responsibility)", "responsibility"),
        ("move", "W_write", "if_owned(sum, count, payload)", "payload"),
        ("move", "W_write", "copy(payload)", "payload"),
        ("move", "W_write", "copy(sum)", "sum"),
    }
    assert all(shared <= classes for classes in by_version.values())


@pytest.mark.parametrize("block", EM_CLASSES, ids=" ".join)
def test_disturbing_any_class_breaks_the_equality(
    block: tuple[str, str, str, str, str],
) -> None:
    version, *where = block
    problem = draw(6, d=3, c=3, n=40, sigma=0.8, separation=1.5)
    network = em_transformer(3, 3, 0.8, 3, version)
    assert max(gap_to_em(network, problem, 0.8, 3)) < TOLERANCE
    disturb(network, *where)
    assert max(gap_to_em(network, problem, 0.8, 3)) > 1e4 * TOLERANCE


# ---------------------------------------------------------------------------------------------
# Version (c): Lloyd


def gap_to_lloyd(network: MixtureTransformer, problem: Problem) -> float:
    """Largest difference to Lloyd, relative to the size of the table, over all steps."""
    n_steps, c = network.n_layers, len(problem.means)
    with torch.no_grad():
        trace = network(*alone(problem))
    reference = em.lloyd(problem.X, problem.means, n_steps, problem.row_weight)
    gaps = []
    for r, centres, (means, labels) in zip(
        trace.responsibilities, trace.centres, reference, strict=True
    ):
        gaps.append(np.abs(r[0].numpy() - np.eye(c)[labels]).max())
        gaps.append(np.abs(centres.means[0].numpy() - means).max() / np.abs(problem.X).max())
    return float(max(gaps))


def every_margin(problem: Problem, n_steps: int) -> float:
    """The smallest margin on Lloyd's way; 0 where a cluster lost all its points."""
    means = [problem.means, *(m for m, _ in em.lloyd(problem.X, problem.means, n_steps))]
    sizes = [np.bincount(em.assign(problem.X, m), minlength=len(m)).min() for m in means]
    margin = min(em.assignment_margin(problem.X, m).min() for m in means)
    return 0.0 if min(sizes) == 0 else float(margin)


@pytest.mark.parametrize(("d", "c", "n"), list(product((1, 3, 8), (1, 2, 5), (30, 120))))
def test_equals_lloyd_where_the_margin_exceeds_a_tenth(d: int, c: int, n: int) -> None:
    n_steps, visited = 6, 0
    network = lloyd_transformer(d, c, n_steps)
    for seed in range(60):
        problem = draw(seed, d, c, n, separation=12.0)
        if every_margin(problem, n_steps) > 0.1:
            visited += 1
            assert gap_to_lloyd(network, problem) < TOLERANCE
        if visited == 5:
            break
    assert visited == 5


def test_points_with_a_margin_are_assigned_as_by_lloyd_whatever_the_others_do() -> None:
    problem = draw(1, d=2, c=4, n=300, separation=1.0)
    sure = em.assignment_margin(problem.X, problem.means) > 0.1
    assert 0.5 < sure.mean() < 1.0
    found = lloyd_transformer(2, 4, 1).record(*alone(problem))["entry.E.pattern"][0, 0]
    labels = em.assign(problem.X, problem.means)
    np.testing.assert_allclose(found.detach()[sure], np.eye(4)[labels][sure], atol=TOLERANCE)


def test_lloyd_error_bounds_what_is_seen() -> None:
    problem = draw(0, d=3, c=3, n=60, separation=8.0)
    diameter = np.abs(problem.X[:, None] - problem.X).max()
    margin = every_margin(problem, 1)
    labels = em.assign(problem.X, problem.means)
    means = em.move(problem.X, labels, problem.means)
    seen = []
    for beta, B_M in ((0.5, 8.0), (1.0, 12.0), (3.0, 20.0)):
        found = lloyd_transformer(3, 3, 1, beta, B_M).record(*alone(problem))
        leak, spread = lloyd_error(margin, 60, 3, beta, B_M)
        r = found["entry.E.pattern"][0, 0].detach().numpy()
        moved = found["layer 1.move.centres"][0, :, :3].detach().numpy()
        seen.append((np.abs(r - np.eye(3)[labels]).max(), np.abs(moved - means).max()))
        assert seen[-1][0] <= leak + 1e-12
        assert seen[-1][1] <= spread * diameter + 1e-12
    assert seen[0][0] > 1e-6 > seen[2][0]
    assert seen[0][1] > 1e-3 > seen[2][1]


def far_from_the_origin() -> Problem:
    """Two clusters 6 apart around 1e6, and on both sides of the border a point of margin 0.12.

    Far from the origin a small relative error in one part of a score moves the border.
    """
    X = 1e6 + np.array([-1.0, 0.0, 1.0, 2.98, 3.02, 5.0, 6.0, 7.0])[:, None]
    return Problem(X, np.ones(8), np.full(2, 0.5), 1e6 + np.array([[0.0], [6.0]]))


# How hard the softmax of the M layer is has no right value, only values that are large enough.
SHARPNESS = ("M", "W_QK", "identity", "responsibility")
LLOYD_CLASSES = [
    block for block in nonzero_classes(lloyd_transformer(1, 2, 2)) if block != SHARPNESS
]


@pytest.mark.parametrize("block", LLOYD_CLASSES, ids=" ".join)
def test_disturbing_a_class_breaks_lloyd(block: tuple[str, str, str, str]) -> None:
    problem, network = far_from_the_origin(), lloyd_transformer(1, 2, 2)
    margin = em.assignment_margin(problem.X, problem.means).min()
    assert 0.1 < margin < 0.13
    assert gap_to_lloyd(lloyd_transformer(1, 2, 1), problem) < TOLERANCE
    network.n_loops = network.n_layers = 2
    disturb(network, *block)
    assert gap_to_lloyd(network, problem) > 100 * TOLERANCE


@pytest.mark.parametrize(("beta", "B_M"), [(5.0, 50.0), (500.0, 5.0)])
def test_too_little_sharpness_breaks_lloyd(beta: float, B_M: float) -> None:
    problem = draw(0, d=2, c=3, n=120, separation=1.5)
    assert every_margin(problem, 1) > 0.0
    assert gap_to_lloyd(lloyd_transformer(2, 3, 1, beta, B_M), problem) > 1e-4


# ---------------------------------------------------------------------------------------------
# Padding, records, operations, errors


@pytest.mark.parametrize("version", VERSIONS)
def test_a_padded_batch_equals_each_table_alone(version: str) -> None:
    sizes = [(2, 3, 30), (4, 5, 50), (1, 1, 12), (3, 2, 45)]
    problems = [draw(7, *size, separation=1.0) for size in sizes]
    trace = em_transformer(4, 5, 1.0, 6, version)(*batch(problems, d=4, c=5, n=50))
    for t, (problem, (d, c, n)) in enumerate(zip(problems, sizes, strict=True)):
        reference = em.isotropic_em(problem.X, problem.weights, problem.means, 1.0, 6)[-1]
        last, r = trace.centres[-1][t], trace.responsibilities[-1][t]
        pairs = [
            (r[:n, :c], reference.responsibilities),
            (last.weights[:c], reference.mixture.weights),
            (last.means[:c, :d], reference.mixture.means),
            (last.covariances[:c, :d, :d], reference.mixture.covariances),
        ]
        for found, told in pairs:
            np.testing.assert_allclose(found.detach().numpy(), told, atol=TOLERANCE)
        for padding in (r[:, c:], last.weights[c:], last.means[c:], last.means[:, d:]):
            assert not padding.any()
        assert torch.equal(last.covariances[c:], torch.eye(4).double().expand(5 - c, 4, 4))


def test_lloyd_in_a_padded_batch() -> None:
    problems = [draw(8, *size, separation=6.0) for size in ((2, 3, 30), (3, 2, 45))]
    trace = lloyd_transformer(3, 3, 4)(*batch(problems, d=3, c=3, n=45))
    for t, problem in enumerate(problems):
        c, d = problem.means.shape
        assert every_margin(problem, 4) > 0.1
        means, _ = em.lloyd(problem.X, problem.means, 4)[-1]
        found = trace.centres[-1].means[t].detach().numpy()
        np.testing.assert_allclose(found[:c, :d], means, atol=TOLERANCE)
        weights = trace.centres[-1].weights[t].tolist()
        assert weights == pytest.approx([1 / c] * c + [0.0] * (3 - c))


def test_what_lies_in_padded_rows_is_never_seen() -> None:
    network = em_transformer(2, 3, 1.0, 5)
    tables, start = batch([draw(9, d=2, c=3, n=30)], d=2, c=3, n=40)
    loud = tables.X.clone()
    loud[:, 30:] = 1e3
    quiet, other = network(tables, start), network(Tables(loud, tables.weight), start)
    assert torch.equal(quiet.centres[-1].means, other.centres[-1].means)
    seen = [trace.responsibilities[-1][:, :30] for trace in (quiet, other)]
    assert torch.equal(*seen)


def test_record_names_every_pattern_and_residual() -> None:
    problem = draw(10, d=2, c=3, n=20)
    found = em_transformer(2, 3, 1.0, 2).record(*alone(problem))
    layer = ["forget.centres", "M.pattern", "M.centres", "divide.centres", "refresh.centres"]
    respond = ["clear.data", "E.pattern", "E.data"]
    expected = ["embedding.data", "embedding.centres", "entry.refresh.centres"]
    expected += [f"entry.{name}" for name in respond]
    for number in (1, 2):
        expected += [f"layer {number}.{n}" for n in (*layer, *respond, "responsibilities")]
    assert list(found) == expected
    m = TokenLayout.mixture(2, 3).width
    assert found["layer 1.E.pattern"].shape == (1, 1, 20, 3)
    assert found["layer 1.M.pattern"].shape == (1, 1, 3, 20)
    assert found["layer 2.E.data"].shape == (1, 20, m)
    assert found["layer 2.M.centres"].shape == (1, 3, m)
    r = em.isotropic_e_step(problem.X, problem.weights, problem.means, 1.0)
    np.testing.assert_allclose(found["entry.E.pattern"][0, 0].detach(), r, atol=TOLERANCE)
    # Un-normalised: the pattern of the M layer is the transposed responsibilities.
    np.testing.assert_allclose(found["layer 1.M.pattern"][0, 0].detach(), r.T, atol=TOLERANCE)


def test_the_log_version_normalises_over_the_data() -> None:
    problem = draw(10, d=2, c=3, n=20)
    found = em_transformer(2, 3, 1.0, 1, "log").record(*alone(problem))
    r = em.isotropic_e_step(problem.X, problem.weights, problem.means, 1.0)
    pattern = found["layer 1.M.pattern"][0, 0].detach()
    np.testing.assert_allclose(pattern, (r / r.sum(axis=0)).T, atol=TOLERANCE)


def test_non_attention_operations_are_listed() -> None:
    assert em_transformer(2, 3, 1.0, 4).non_attention_operations == {
        "refresh": ("square", "log"),
        "divide": ("division", "comparison with 0"),
    }
    assert em_transformer(2, 3, 1.0, 4, "log").non_attention_operations == {
        "refresh": ("square", "log"),
        "log": ("log",),
        "move": ("comparison with 0",),
    }
    assert lloyd_transformer(2, 3, 4).non_attention_operations == {"refresh": ("square",)}


def whole_matrix_e_step(problem: Problem, flag_gain: float) -> tuple[Tensor, Tensor]:
    """E over all n + c tokens as queries and keys: r of the data, and of the centres."""
    network = em_transformer(problem.X.shape[1], len(problem.means), 1.0, 1)
    found = network.record(*alone(problem))
    H = torch.cat([found["embedding.data"], found["entry.refresh.centres"]], dim=1)
    layout, n = network.embedding.layout, len(problem.X)
    layer = e_attention(layout, 1.0, flag_gain=flag_gain)
    H = H + layer(H, H, torch.ones(1, 1, H.shape[1], dtype=torch.bool))
    H = H + clear_centres(layout)(H)
    r = H[0, :, layout["responsibility"]].detach()
    return r[:n], r[n:]


def test_over_the_whole_matrix_the_flag_gain_has_to_be_large_enough() -> None:
    """d = 5, k = 4, n = 200, centre scale 4: B = 50 fails and B = 200 does not."""
    problem = draw(3, d=5, c=4, n=200, separation=4.0)
    r = em.isotropic_e_step(problem.X, problem.weights, problem.means, 1.0)
    assert np.abs(whole_matrix_e_step(problem, 50.0)[0].numpy() - r).max() > 0.1
    of_data, of_centres = whole_matrix_e_step(problem, 200.0)
    np.testing.assert_allclose(of_data, r, atol=1e-13)
    assert not of_centres.any()

    tables, start = alone(problem)
    bias = -0.5 * start.means.square().sum(-1) + torch.log(200.0 * start.weights)
    for leak in (1e-2, 1e-6):
        enough = required_flag_gain(tables.X, start.means, bias, 1.0, leak).item()
        assert 50.0 < enough < 200.0
        lost = 1.0 - whole_matrix_e_step(problem, enough)[0].sum(-1).min().item()
        assert lost <= leak
        too_small = 1.0 - whole_matrix_e_step(problem, enough - 20.0)[0].sum(-1).min().item()
        assert too_small > leak


def test_errors_name_the_remedy() -> None:
    with pytest.raises(ValueError, match="sigma=0 must be positive"):
        em_transformer(2, 3, 0, 1)
    with pytest.raises(ValueError, match="version='lloyd' is unknown; choose from"):
        em_transformer(2, 3, 1.0, 1, "lloyd")
    with pytest.raises(ValueError, match="sharpness_m=-1 must be positive"):
        lloyd_transformer(2, 3, 1, sharpness_m=-1)
    problem = draw(0, d=2, c=3, n=20)
    with pytest.raises(ValueError, match="weights written for 5 and 3; pad the tables"):
        em_transformer(5, 3, 1.0, 1)(*alone(problem))
    step = Step("E", Attention(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)), queries="data")
    network = em_transformer(2, 3, 1.0, 1)
    with pytest.raises(ValueError, match="n_loops=3 needs one layer, there are 2"):
        MixtureTransformer(
            network.embedding, [[step], [step]], network.readout, entry=[], n_loops=3
        )
