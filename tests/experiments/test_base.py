from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from statformer.experiments.base import Control, Experiment, Verdict, cell_rng, cell_text


def measure(cell: Any, rng: np.random.Generator) -> dict[str, float]:
    return {"x": float(rng.normal())}


def holds(table: Any) -> Verdict:
    return Verdict.below(table["x"].mean(), 1.0, threshold_source="ours")


WHOLE: dict[str, Any] = {
    "claim": "The mean is small.",
    "paper": "2501.02547",
    "source": "abstract",
    "kind": "existence",
    "grid": {"n": (1, 2, 3), "how": ("a", "b")},
    "quick": {"n": (1, 2), "how": ("a", "b")},
    "tiny": {"n": (1,), "how": ("a",)},
    "n_seeds": 5,
    "quick_seeds": 3,
    "measure": measure,
    "holds": holds,
}


def test_cells_are_the_product_and_seeds_are_counted() -> None:
    experiment = Experiment(**WHOLE)
    assert experiment.cells("tiny") == [{"n": 1, "how": "a"}]
    assert experiment.cells("quick")[:2] == [{"n": 1, "how": "a"}, {"n": 1, "how": "b"}]
    assert [len(experiment.cells(size)) for size in ("tiny", "quick", "full")] == [1, 4, 6]
    assert [len(experiment.seeds(size)) for size in ("tiny", "quick", "full")] == [1, 3, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"claim": " "}, "claim is empty"),
        ({"source": ""}, "source is empty"),
        ({"paper": "arXiv:2501.02547"}, "pass an arXiv id such as"),
        ({"kind": "truth"}, "kind is 'truth'"),
        ({"quick": {"n": (1,)}}, r"quick has the axes \['n'\] and grid \['how', 'n'\]"),
        ({"tiny": {"n": (), "how": ("a",)}}, r"tiny\['n'\] is \(\); pass a tuple"),
        ({"tiny": {"n": 1, "how": ("a",)}}, r"tiny\['n'\] is 1; pass a tuple"),
        ({"tiny": {"n": (1,), "how": "a"}}, r"tiny\['how'\] is 'a'; pass a tuple"),
        ({"tiny": {"n": (1, 1), "how": ("a",)}}, "stands there twice"),
        ({"n_seeds": 0}, "n_seeds is 0"),
        ({"quick_seeds": 2.0}, "quick_seeds is 2.0"),
        ({"control_size": "full"}, "control_size is 'full'"),
        ({"timeout_minutes": 0}, "timeout_minutes is 0"),
    ],
)
def test_what_could_not_run_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Experiment(**{**WHOLE, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tiny": {"n": (np.int64(1),), "how": ("a",)}}, r"pass str, int, float or bool"),
        ({"tiny": {"n": (None,), "how": ("a",)}}, r"holds None"),
        ({"measure": 3}, "measure is 3; pass a function"),
        ({"controls": {"fault": measure}}, r"controls\['fault'\].*pass a Control"),
    ],
)
def test_what_is_of_another_type_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Experiment(**{**WHOLE, **change})


def test_seed_is_no_axis() -> None:
    axes = {"seed": (1,)}
    with pytest.raises(ValueError, match="seeds are counted by n_seeds"):
        Experiment(**{**WHOLE, "grid": axes, "quick": axes, "tiny": axes})


def test_a_control_says_what_is_broken() -> None:
    with pytest.raises(ValueError, match="says is empty"):
        Control(measure=measure, says="")
    with pytest.raises(ValueError, match="size is 'full'"):
        Control(measure=measure, says="x", size="full")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="measure is None"):
        Control(measure=None, says="x")  # type: ignore[arg-type]


def test_the_generator_belongs_to_name_cell_and_seed() -> None:
    def draw(name: str, cell: dict[str, Any], seed: int) -> float:
        return float(cell_rng(name, cell, seed).normal())

    first = draw("x", {"a": 1, "b": "c"}, 0)
    assert draw("x", {"b": "c", "a": 1}, 0) == first  # whatever the order of the axes
    others = [
        draw("y", {"a": 1, "b": "c"}, 0),
        draw("x", {"a": 2, "b": "c"}, 0),
        draw("x", {"a": 1, "b": "c"}, 1),
        draw("x", {"a": 1.0, "b": "c"}, 0),
    ]
    assert len({first, *others}) == 5
    assert cell_text({"b": 1, "a": True}) == '{"a":true,"b":1}'
