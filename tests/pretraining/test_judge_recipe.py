"""The judge's recipe, tiny: it learns, keeps pieces out, and exports what the estimator loads."""

from __future__ import annotations

import copy
import json
import warnings
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from pretraining.judge_shards import write_pool
from statformer import AttentionMixture
from statformer.estimators.base import resolve_weights
from statformer.nn.judge import Evidence, Judge, Judgement, judge_shapes
from statformer.pretraining import Progress, Result, get_recipe, pretrain
from statformer.pretraining.judge_pool import OTHER, STRANGE, SWEPT, TRUE
from statformer.pretraining.recipes.judge import (
    MAX_COMPONENTS,
    Judged,
    JudgeModule,
    JudgeRecipe,
    losses,
    prior_of_k,
)
from statformer.proposals.evidence import N_JUDGE_TABLE, N_TOKEN_FEATURES
from statformer.proposals.kinds import KINDS
from statformer.tasks.stream import TaskStream
from statformer.tasks.wide import GROUPS, WIDE_RATES
from statformer.weights import load_weights

N_STEPS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        return write_pool(tmp_path_factory.mktemp("training"), patch)


def small(folder: Path, **options: Any) -> JudgeRecipe:
    given = {
        "folder": str(folder / "judge"),
        "layers": str(folder / "layers"),
        "n_hidden": 8,
        "n_validation": 24,
        "batch_size": 8,
        "peak_learning_rate": 2e-2,
        "ema_decay": None,
        "eval_every": 1000,
    }
    return JudgeRecipe(**{**given, **options})


@pytest.fixture(scope="module")
def recipe(folder: Path) -> JudgeRecipe:
    return small(folder)


@pytest.fixture(scope="module")
def trained(recipe: JudgeRecipe, folder: Path) -> Result:
    return pretrain(recipe, out_dir=folder / "run", n_steps=N_STEPS, checkpoint_every_s=1e9)


def test_the_loop_lowers_the_loss(recipe: JudgeRecipe, trained: Result) -> None:
    before, after = recipe.evaluate(recipe.build(0)), trained.evaluation
    assert trained.n_skipped == 0
    assert after["eval_loss"] < 0.9 * before["eval_loss"]
    assert after["eval_count"] < 0.9 * before["eval_count"]
    assert after["eval_picked"] <= after["eval_best"] <= 1.0
    assert recipe.evaluate(trained.module) == after


def test_the_estimator_takes_what_is_exported(
    recipe: JudgeRecipe, trained: Result, folder: Path
) -> None:
    tensors = load_file(trained.weights_path)
    shapes = judge_shapes(N_TOKEN_FEATURES, N_JUDGE_TABLE, 8)
    own = {k.removeprefix("judge."): v for k, v in tensors.items() if k.startswith("judge.")}
    assert {k: v.shape for k, v in own.items()} == shapes
    for name, value in load_file(folder / "layers" / "final.safetensors").items():
        if name.startswith("em."):
            np.testing.assert_array_equal(tensors[name], value)
    assert {k.split(".")[0] for k in tensors} == {"em", "judge", "depth"}
    arrays, card = load_weights(trained.weights_path)
    assert arrays.keys() == tensors.keys()
    assert json.loads(trained.card_path.read_text())["recipe"] == "judge"
    checkpoint = resolve_weights(trained.weights_path)
    assert checkpoint.sha256 == card["sha256"]
    # the judge in numpy says what the module said
    batch = recipe.sample(TaskStream(0, 0, range(4))).evidence
    with torch.no_grad():
        expected: Judgement = trained.module(batch)
    numbers = [getattr(batch, f.name).numpy() for f in fields(batch)]
    numbers[:3] = [value.astype(np.float64) for value in numbers[:3]]
    found = Judge(checkpoint.judge)(Evidence(*numbers), MAX_COMPONENTS)
    there = numbers[-1]
    np.testing.assert_allclose(found.logit[there], expected.logit.numpy()[there], atol=1e-3)
    np.testing.assert_allclose(np.exp(found.log_p), expected.log_p.exp().numpy(), atol=1e-3)
    X = np.random.default_rng(0).normal(size=(40, 3)) + 4 * (np.arange(40) % 2)[:, None]
    model = AttentionMixture(weights=trained.weights_path, effort="fast", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X)
    assert 0.0 < model.expected_ari_ < 1.0
    assert 0.0 <= model.out_of_depth_ <= 100.0
    np.testing.assert_array_equal(model.predict(X), model.labels_)


class Bent(torch.nn.Module):
    """The module with logits 2 x + 1 in the place of x."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, evidence: Evidence) -> Judgement:
        said = self.module(evidence)
        return Judgement(2.0 * said.logit + 1.0, said.log_p, said.doubt)


def test_the_picks_are_calibrated(recipe: JudgeRecipe, trained: Result) -> None:
    """However the logits are stretched, the expected ARI of the pick is the same."""
    a, b = recipe.calibrated(trained.module).tolist()
    exported = resolve_weights(trained.weights_path).judge["pick"]
    np.testing.assert_allclose(exported, [a, b], rtol=1e-6)
    found = recipe.calibrated(Bent(trained.module))
    np.testing.assert_allclose(found, [a / 2, b - a / 2], atol=1e-3)
    assert (a, b) != (1.0, 0.0)


def test_tables_are_drawn_by_the_prior_of_k(recipe: JudgeRecipe) -> None:
    p = prior_of_k(30).numpy()
    np.testing.assert_allclose([p.sum(), p[0]], [1.0, 0.2])
    np.testing.assert_allclose(p[1:] * np.arange(2, 31), 2 * p[1])
    assert prior_of_k(1).tolist() == [1.0]
    K = recipe.pool["n_components"][recipe.training]
    share = np.diff(recipe._shares, prepend=0.0)
    found = np.bincount(K, share / share.sum(), minlength=31)[1:]
    there = np.unique(K) - 1
    np.testing.assert_allclose(found[there], p[there] / p[there].sum())


def test_other_modules_are_not_exported(recipe: JudgeRecipe) -> None:
    with pytest.raises(TypeError, match="exports JudgeModule"):
        recipe.export(torch.nn.Identity())


def test_no_pool(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no pool; run python -m"):
        _ = JudgeRecipe(folder=str(tmp_path)).pool


class Stop(Exception):
    """Ends a run in the middle."""


def test_a_resumed_run_ends_in_the_same_bits(
    recipe: JudgeRecipe, folder: Path, tmp_path: Path
) -> None:
    def stop(progress: Progress) -> None:
        if progress.event == "step" and progress.step == 4:
            raise Stop

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    pretrain(recipe, out_dir=whole, n_steps=6, checkpoint_every_s=1e9)
    with pytest.raises(Stop):
        pretrain(recipe, out_dir=parts, n_steps=6, checkpoint_every_s=0.0, callback=stop)
    pretrain(small(folder), out_dir=parts, resume=True, checkpoint_every_s=1e9)
    names = [path / "final.safetensors" for path in (whole, parts)]
    assert names[0].read_bytes() == names[1].read_bytes()


# ---------------------------------------------------------------------------------------------
# Which tables, which company


def key(token: np.ndarray) -> bytes:
    """A token by its bytes; -0 is 0."""
    return (token.astype(np.float32) + np.float32(0.0)).tobytes()


def test_validation_tables_are_never_trained_on(recipe: JudgeRecipe, folder: Path) -> None:
    n = recipe.n_tables
    assert not set(recipe.training) & set(recipe.validation)
    assert len(recipe.validation) == 24
    assert sorted([*recipe.training, *recipe.validation]) == list(range(n))
    few = small(folder, n_validation=10 * n)  # a pool that is too small is halved
    assert len(few.training) == n // 2


@pytest.mark.parametrize("without", ["skew", ["skew", "missing"], ("shapes",)])
def test_a_piece_is_left_out_of_training(folder: Path, without: Any) -> None:
    every, less = small(folder), small(folder, without=without)
    names = [without] if isinstance(without, str) else list(without)
    columns = [list(WIDE_RATES).index(k) for name in names for k in GROUPS.get(name, (name,))]
    has = every.pool["pieces"][:, columns].any(axis=1)
    assert has[every.training].any()
    assert not has[less.training].any()
    assert set(less.training) == set(every.training[~has[every.training]])
    np.testing.assert_array_equal(less.validation, every.validation)
    tokens = {key(row) for t in less.training for row in less._tokens(int(t))}
    batch = small(folder, without=without, token_noise=0.0).sample(TaskStream(0, 1, range(8)))
    rows = batch.evidence.tokens[batch.evidence.is_there].numpy()
    assert all(key(row) in tokens for row in rows)


def test_unknown_pieces_are_named(folder: Path) -> None:
    with pytest.raises(ValueError, match="unknown pieces"):
        _ = small(folder, without="spice").training


@pytest.mark.parametrize("mode", [0.1, 0.5, 0.7, 0.9])
def test_company(recipe: JudgeRecipe, mode: float) -> None:
    """Right K alone; a sweep; a sweep and more; a sweep and strangers."""
    sources: set[int] = set()
    for t in range(recipe.n_tables // 2):
        first, m = recipe.pool["first"][t], recipe.pool["n_labelings"][t]
        source = recipe.pool["source"][first : first + m]
        keep = np.ones(len(KINDS))
        picked, is_given = recipe._company(t, mode, np.array([0.5, 0.9]), keep)
        assert is_given == (mode == 0.1)
        expected = {0.1: {TRUE}, 0.5: {SWEPT}, 0.7: {SWEPT, TRUE}, 0.9: {SWEPT, STRANGE}}[mode]
        assert set(source[picked]) == expected
        np.testing.assert_array_equal(picked, np.flatnonzero(np.isin(source, list(expected))))
        other, _ = recipe._company(t, mode, np.array([0.5, 0.1]), keep)
        sources |= set(source[other])
        drop = np.where(np.arange(len(KINDS)) == 0, 0.0, 1.0)  # no learned layers
        fewer, _ = recipe._company(t, mode, np.array([0.5, 0.9]), drop)
        tokens = recipe._tokens(t)[fewer]
        if source[fewer][0] != STRANGE:
            assert not tokens[:, -len(KINDS) - 1].any()
        assert 0 < len(fewer) < len(picked)
    assert (OTHER in sources) == (mode == 0.7)


def test_long_sweeps_give_up_kinds(recipe: JudgeRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("statformer.pretraining.recipes.judge._MAX_LABELINGS", 12)
    drop = np.linspace(1.0, 0.5, len(KINDS))
    for t in range(4):
        picked, _ = recipe._company(t, 0.5, np.array([0.0, 0.9]), drop)
        assert 0 < len(picked) <= 12


def test_a_batch_is_what_the_pool_holds(recipe: JudgeRecipe) -> None:
    batch = replace(recipe, token_noise=0.0).sample(TaskStream(0, 0, range(8)))
    e = batch.evidence
    b, m = e.is_there.shape
    assert b == 8
    assert e.tokens.shape == (b, m, N_TOKEN_FEATURES)
    assert e.table.shape == (b, N_JUDGE_TABLE)
    assert len(set(batch.is_given.tolist())) == 1  # one kind of company a step
    torch.testing.assert_close(e.table[:, -1], batch.is_given.float())
    assert bool((batch.ari[~e.is_there] == 0).all())
    pool = recipe.pool
    tokens = {key(row): i for i, row in enumerate(pool["tokens"])}
    for i in range(b):
        for j in np.flatnonzero(e.is_there[i].numpy()):
            at = tokens[key(e.tokens[i, j].numpy())]
            assert e.n_clusters[i, j] == pool["K"][at]
            assert batch.ari[i, j] == pool["ari"][at]
    noisy = recipe.sample(TaskStream(0, 0, range(8)))
    moved = noisy.evidence.tokens - e.tokens
    first = N_TOKEN_FEATURES - len(KINDS) - 1
    assert not bool(moved[..., first:].any())
    assert 0.02 < float(moved[..., 0].std() / recipe._fixed["token_scale"][0]) < 0.3
    again = recipe.sample(TaskStream(0, 0, range(8)))
    assert torch.equal(again.evidence.tokens, noisy.evidence.tokens)


# ---------------------------------------------------------------------------------------------
# The loss


def judged(said: dict[str, list[float]], **truth: Any) -> tuple[Judgement, Judged]:
    """Two labelings of one table, the first made by a run, and padding."""
    log_p = torch.full((1, MAX_COMPONENTS + 1), -5.0)
    log_p[0, 1], log_p[0, -1] = -0.5, -1.5
    judgement = Judgement(torch.tensor([said["logit"]]), log_p, torch.tensor([said["doubt"]]))
    there = torch.tensor([[True, True, False]])
    shape = (1, 3, N_TOKEN_FEATURES)
    e = Evidence(
        torch.zeros(shape),
        torch.zeros(1, 2),
        torch.zeros(1, 3, 3),
        torch.tensor([[2, 2, 1]]),
        there,
    )
    given: dict[str, Any] = {
        "ari": torch.tensor([[0.9, 0.2, 0.0]]),
        "top": torch.full((1, 3, 4), 0.9),
        "hit": torch.ones(1, 3, 4),
        "has_run": torch.tensor([[True, False, False]]),
        "n_components": torch.tensor([2]),
        "is_given": torch.tensor([False]),
        "largest": torch.tensor([5]),
    }
    return judgement, Judged(e, **{**given, **truth})


def test_losses_by_hand() -> None:
    logit = [1.0, -0.5, 70.0]  # the third is padding
    score, given_away, count, trust = losses(*judged({"logit": logit, "doubt": [0.2, 0.9, 0.9]}))
    p = 1.0 / (1.0 + np.exp(-np.array(logit[:2])))
    truth = np.array([0.9, 0.2])
    entropy = -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()
    assert float(score) == pytest.approx(entropy, rel=1e-5)
    soft = np.exp(4 * np.array(logit[:2]))
    expected = 0.9 - (soft / soft.sum()) @ truth
    assert float(given_away) == pytest.approx(expected, rel=1e-4)
    assert float(count) == pytest.approx(0.5)
    assert float(trust) == pytest.approx(-np.log(0.8 * 0.9 + 0.2 / 2), rel=1e-5)


def test_a_truth_beyond_the_sweep_is_beyond() -> None:
    said = {"logit": [0.0, 0.0, 0.0], "doubt": [0.1, 0.1, 0.1]}
    for K, expected in ((2, 0.5), (4, 5.0), (6, 1.5)):
        _, _, count, _ = losses(*judged(said, n_components=torch.tensor([K])))
        assert float(count) == pytest.approx(expected)
    _, _, count, _ = losses(*judged(said, is_given=torch.tensor([True])))
    assert float(count) == 0.0  # K was told: nothing to say of it


def test_a_score_is_proper_and_doubt_pays_where_rows_are_wrong() -> None:
    def score(logit: float) -> float:
        return float(losses(*judged({"logit": [logit, -1.3863, 0.0], "doubt": [0.1] * 3}))[0])

    best = np.log(0.9 / 0.1)
    assert score(best) < min(score(best - 0.3), score(best + 0.3))

    def trust(doubt: float, hit: float) -> float:
        said = {"logit": [0.0] * 3, "doubt": [doubt] * 3}
        return float(losses(*judged(said, hit=torch.full((1, 3, 4), hit)))[3])

    assert trust(0.1, 1.0) < trust(0.5, 1.0)
    assert trust(0.1, 0.0) > trust(0.5, 0.0)


def test_every_weight_learns(recipe: JudgeRecipe, trained: Result) -> None:
    module = copy.deepcopy(trained.module)
    assert isinstance(module, JudgeModule)
    module.zero_grad()
    for step in range(6):  # K is given in some of them
        loss, parts = recipe.loss(module, recipe.sample(TaskStream(0, step, range(8))), 0.5)
        loss.backward()
        assert parts.keys() == {"score", "given_away", "count", "trust"}
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool(parameter.grad.abs().sum() > 0), name


def test_it_is_found_by_its_name(folder: Path) -> None:
    found = get_recipe("judge", without="skew", folder=str(folder / "judge"))
    assert isinstance(found, JudgeRecipe)
    assert found.without == "skew"
