"""What the claims on robustness share: tests of images, statistics over classes, resumed runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from statformer.experiments import _robust_training
from statformer.experiments._robust_charts import by_seed, differences
from statformer.experiments._robust_recipes import GUIDED, METHODS, RECIPES
from statformer.experiments._robust_training import images_of, survivors, train

TINY = replace(RECIPES["made, small CNN"], epochs=2)


def test_statistics_weigh_images_and_classes_as_they_should() -> None:
    table = pd.DataFrame(
        {
            "recipe": "r",
            "method": ["a", "a", "b", "b"],
            "seed": 0,
            "label": [0, 1, 0, 1],
            "clean": [1.0, 0.5, 0.9, 0.9],
            "robust": [0.6, 0.2, 0.5, 0.5],
            "n": [30, 10, 30, 10],
        }
    )
    a = by_seed(table).set_index("method").loc["a"]
    assert a[["clean", "robust"]].to_list() == pytest.approx([0.875, 0.5])
    assert a[["worst", "std", "range"]].to_list() == pytest.approx([0.2, 0.2, 0.4])
    assert differences(table, "b", "a", "worst").to_list() == pytest.approx([0.3])


def test_an_image_that_survives_was_right_before() -> None:
    split = images_of(TINY)
    model = train(TINY, "FGSM-RS", 0, split).model
    right, held = survivors(TINY, model, split, seed=0)
    assert right.any()
    assert not (held & ~right).any()
    # A budget ten times as large leaves less, a budget of nothing everything.
    assert survivors(replace(TINY, eps_255=120.0), model, split, 0)[1].sum() < held.sum()
    assert torch.equal(survivors(replace(TINY, eps_255=1e-9), model, split, 0)[1], right)
    with torch.no_grad():
        assert torch.equal(right, model.eval()(split.test[0]).argmax(1) == split.test[1])


def test_made_images_have_all_classes_and_parts_do_not_overlap() -> None:
    split = images_of(TINY)
    assert split.train[1].unique().tolist() == list(range(10))
    assert len(split.train[0]) == TINY.n_train - TINY.n_held_out
    assert len(split.held_out[0]) == TINY.n_held_out
    every = torch.cat([split.train[0], split.held_out[0], split.test[0]])
    assert len(every.unique(dim=0)) == len(every)


def test_a_training_that_was_cut_off_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = images_of(TINY)
    alone = train(TINY, GUIDED, 3, split)
    monkeypatch.setenv("STATFORMER_ROBUST_RUNS", str(tmp_path))
    first = train(TINY, GUIDED, 3, split)
    (folder,) = tmp_path.iterdir()
    for path in folder.glob("step-000000002.*"):
        path.unlink()  # as if it had been cut off in its second epoch
    again = train(TINY, GUIDED, 3, split)
    for one in (first, again):
        assert np.array_equal(one.history["robust"], alone.history["robust"])
        for name, tensor in one.model.state_dict().items():
            assert torch.equal(tensor, alone.model.state_dict()[name])
    train(TINY, GUIDED, 4, split)
    assert len(list(tmp_path.iterdir())) == 2  # another seed, another folder


@pytest.mark.slow
def test_the_ensemble_is_recorded_and_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyautoattack")
    monkeypatch.setenv("STATFORMER_ROBUST_RUNS", str(tmp_path))
    recipe = replace(TINY, ensemble=True, n_test=40)
    split = images_of(recipe)
    trained = train(recipe, GUIDED, 5, split)
    rows = _robust_training.test_rows(recipe, trained, split, 5)
    assert all(row["robust"] <= row["pgd"] + 1e-9 for row in rows)
    assert all(row["pgd"] <= row["clean"] for row in rows)
    (record,) = tmp_path.glob("*/robustness.json")
    written = record.stat().st_mtime_ns
    monkeypatch.setattr("statformer.robust.evaluation.run_attack", None)  # would be called
    assert _robust_training.test_rows(recipe, train(recipe, GUIDED, 5, split), split, 5) == rows
    assert record.stat().st_mtime_ns >= written


def test_methods_differ_in_what_they_are_named_for() -> None:
    assert METHODS["baseline"]["regulariser"] == "uniform"
    assert all("strength" not in settings for settings in METHODS.values())
