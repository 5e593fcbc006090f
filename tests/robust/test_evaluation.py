"""Attacks of the libraries are the textbook's; scores are counted anew, class by class."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from statformer.nn.image_classifiers import SmallCNN
from statformer.robust import attack_library, evaluation
from statformer.robust.attack_library import Attacked, run_attack
from statformer.robust.evaluation import evaluate_robustness
from statformer.robust.suspicions import RobustnessWarning

pyautoattack = pytest.importorskip("pyautoattack")

EPS_255 = 6.0
EPS, STEP = EPS_255 / 255, EPS_255 / 4 / 255
N_CLASSES = 5


def network(seed: int = 0) -> SmallCNN:
    generator = Generator().manual_seed(seed)
    return SmallCNN(N_CLASSES, size=(8, 8), width=4, mean=(0.5,), std=(0.25,), generator=generator)


def images(n: int = 20, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Images with the labels that the network gives them, but for the first two."""
    x = torch.rand(n, 1, 8, 8, generator=Generator().manual_seed(seed))
    with torch.no_grad():
        y = network().eval()(x).argmax(1)
    y[:2] = (y[:2] + 1) % N_CLASSES
    return x, y


def attack(name: str, x: Tensor, y: Tensor, model: nn.Module | None = None) -> Attacked:
    model = (model or network()).eval().requires_grad_(requires_grad=False)
    return run_attack(name, model, x, y, eps=EPS, step=STEP, seed=3, n_classes=N_CLASSES)


def margin(logits: Tensor, y: Tensor) -> Tensor:
    wrong = torch.stack(
        [row[torch.arange(len(row)) != label].max() for row, label in zip(logits, y, strict=True)]
    )
    return (wrong - logits[torch.arange(len(y)), y]).sum()


@pytest.mark.parametrize(
    ("name", "n_steps", "loss"),
    [
        ("fgsm", 1, cross_entropy),
        ("pgd3", 3, cross_entropy),
        ("pgd10", 10, cross_entropy),
        ("cw", 20, margin),
    ],
)
def test_the_library_does_what_a_loop_of_three_lines_does(
    name: str, n_steps: int, loss: object
) -> None:
    x, y = images()
    model = network().eval()
    moved, step = x, STEP
    if name == "fgsm":
        step = EPS
    else:
        draw = torch.rand(x.shape, generator=Generator().manual_seed(3))
        moved = (x + EPS * (2 * draw - 1)).clamp(0, 1)
    for _ in range(n_steps):
        moved = moved.detach().requires_grad_()
        loss(model(moved), y).backward()  # type: ignore[operator]
        assert moved.grad is not None
        moved = (moved + step * moved.grad.sign()).clamp(x - EPS, x + EPS).clamp(0, 1)
    found = attack(name, x, y)
    torch.testing.assert_close(found.x, moved.detach(), rtol=0, atol=1e-6)
    assert torch.equal(found.claimed, model(moved).argmax(1) != y)
    assert 0 < found.claimed.sum() < len(y)


@pytest.mark.parametrize(
    ("name", "n_parts"),
    [("apgd", 2), pytest.param("autoattack", 4, marks=pytest.mark.slow)],  # Square takes seconds
)
def test_the_parts_together_are_the_reference_ensemble(name: str, n_parts: int) -> None:
    x, y = images(8)
    model = network().eval().requires_grad_(requires_grad=False)
    reference = pyautoattack.AutoAttack(model, eps=EPS, seed=0)
    reference.attacks_to_run = reference.attacks_to_run[:n_parts]
    reference.apgd_targeted.n_target_classes = reference.fab.n_target_classes = N_CLASSES - 1
    with torch.random.fork_rng():
        _, expected = reference.run_standard_evaluation(x, y, batch_size=8)
    table = evaluate_robustness(network(), (x, y), eps_255=EPS_255, attacks=[name])
    np.testing.assert_array_equal(table.per_sample[name], expected)
    assert list(table.parts["part"]) == ["apgd-ce", "apgd-t", "fab-t", "square"][:n_parts]
    assert table.parts["accuracy"].is_monotonic_decreasing
    assert 0 < table.parts["accuracy"].iloc[-1] < table.summary["accuracy"][0] < 1
    assert table.parts["seconds"].sum() == pytest.approx(table.summary["seconds"][1])


def test_attacks_stay_in_the_ball_and_grow_stronger() -> None:
    x, y = images(30)
    model = network()
    for name in ("fgsm", "pgd10", "cw", "apgd-ce", "apgd-t"):
        moved = attack(name, x, y, model).x
        assert (moved - x).abs().max() <= EPS + 1e-6
        assert (moved - x).abs().max() > 0.5 * EPS
        assert moved.min() >= 0
        assert moved.max() <= 1
    table = evaluate_robustness(
        model, (x, y), eps_255=EPS_255, attacks=("fgsm", "pgd10", "pgd50", "apgd")
    )
    accuracy = table.summary.set_index("attack")["accuracy"]
    assert list(accuracy.index) == ["clean", "fgsm", "pgd10", "pgd50", "apgd", "all"]
    assert accuracy["clean"] > accuracy["fgsm"] >= accuracy["pgd10"] >= accuracy["pgd50"]
    assert accuracy["pgd50"] >= accuracy["apgd"] >= accuracy["all"] > 0
    assert (table.summary[["n_outside", "n_mismatched"]] == 0).all(axis=None)
    larger = evaluate_robustness(model, (x, y), eps_255=3 * EPS_255, attacks=("pgd10",))
    assert larger.summary["accuracy"][1] < accuracy["pgd10"]


class Shifted(nn.Module):
    """Names each image after its first pixel: 0.0, 0.1, ... is class 0, 1, ..."""

    def forward(self, x: Tensor) -> Tensor:
        centres = torch.arange(4.0) / 10
        return -(x[:, 0, 0, :1] - centres).square()


def pixels(*classes: int) -> tuple[Tensor, Tensor]:
    y = torch.tensor(classes)
    return (y / 10)[:, None, None, None].expand(-1, 1, 2, 2).clone(), y


def answers(monkeypatch: pytest.MonkeyPatch, moved: Tensor, *, claimed: bool = True) -> None:
    """Every attack returns the images of `moved`, in the order of their first pixel."""

    def run(name: str, model: nn.Module, x: Tensor, y: Tensor, **_: object) -> Attacked:
        return Attacked(moved[y], torch.full((len(y),), claimed))

    monkeypatch.setattr(evaluation, "run_attack", run)


def test_accuracies_are_counted_class_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = pixels(0, 0, 0, 1, 1, 2)
    y = torch.tensor([0, 0, 0, 1, 0, 2])  # image 4 looks like class 1 and is not
    answers(monkeypatch, torch.tensor([0.1, 0.1, 0.2])[:, None, None, None].expand(-1, 1, 2, 2))
    table = evaluate_robustness(
        Shifted(), [(x[:4], y[:4]), (x[4:], y[4:])], eps_255=60, attacks=["fgsm"]
    )
    lines = table.per_class.set_index(["attack", "label"])["accuracy"]
    assert lines["clean"].tolist()[:3] == [0.75, 1.0, 1.0]
    assert lines["fgsm"].tolist()[:3] == [0.0, 1.0, 1.0]
    assert np.isnan(lines["clean", 3])
    assert np.isnan(lines["fgsm", 3])
    summary = table.summary.set_index("attack")
    assert summary["accuracy"].tolist() == [5 / 6, 2 / 6]
    assert summary["worst"].tolist() == [0.75, 0.0]
    assert summary.loc["fgsm", "std"] == pytest.approx(np.std([0, 1, 1]))
    assert summary["range"].tolist() == [0.25, 1.0]
    assert table.per_sample["clean"].tolist() == [0, 0, 0, 1, 1, 2]
    assert table.per_sample["fgsm"].tolist() == [1, 1, 1, 1, 1, 2]


def test_an_image_is_robust_only_where_it_is_right_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, _ = pixels(0, 1)
    answers(monkeypatch, torch.full((4, 1, 2, 2), 0.1), claimed=False)
    table = evaluate_robustness(Shifted(), (x, torch.tensor([1, 1])), eps_255=60, attacks=["cw"])
    assert table.per_sample["cw"].tolist() == [1, 1]  # image 0 is right after the attack alone
    assert table.robust("cw").tolist() == [False, True]
    assert table.summary["accuracy"].tolist() == [0.5, 0.5]


def test_images_outside_the_ball_are_put_back_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = pixels(0, 1, 2, 3)
    answers(monkeypatch, x + torch.tensor([0.3, -0.2, torch.nan, 0.0])[:, None, None, None])
    with pytest.warns(RobustnessWarning, match="outside the ball or .* put back: fgsm 3"):
        table = evaluate_robustness(Shifted(), (x, y), eps_255=2.55, attacks=["fgsm"])
    line = table.summary.iloc[1]
    assert line["accuracy"] == 1.0  # 0.01 is not enough to change a class
    assert line["n_outside"] == 3
    assert line["n_mismatched"] == 4  # each was claimed to be fooled


def test_the_network_is_left_as_it_was() -> None:
    model = network()
    model.norm1.eval()
    model.conv2.requires_grad_(requires_grad=False)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    x, y = images(4)
    first = evaluate_robustness(model, (x, y), eps_255=EPS_255, attacks=("fgsm", "cw", "apgd"))
    assert [module.training for module in (model, model.norm1, model.norm2)] == [True, False, True]
    assert [w.requires_grad for w in (model.conv1.weight, model.conv2.weight)] == [True, False]
    assert all(weight.grad is None for weight in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    again = evaluate_robustness(model, (x, y), eps_255=EPS_255, attacks=("fgsm", "cw", "apgd"))
    assert first.per_sample.equals(again.per_sample)


def test_a_record_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = images(8)
    path, ran = tmp_path / "new" / "record.json", []

    def counted(name: str, *args: object, **options: object) -> Attacked:
        ran.append(name)
        return run_attack(name, *args, **options)  # type: ignore[arg-type]

    def stop(name: str, _: float) -> None:
        if name == "apgd-ce":
            raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "run_attack", counted)
    asked: dict[str, Any] = {"eps_255": EPS_255, "attacks": ("fgsm", "apgd"), "record": path}
    with pytest.raises(KeyboardInterrupt):
        evaluate_robustness(network(), (x, y), callback=stop, **asked)
    table = evaluate_robustness(network(), (x, y), **asked)
    assert ran == ["fgsm", "apgd-ce", "apgd-t"]
    fresh = evaluate_robustness(network(), (x, y), eps_255=EPS_255, attacks=("fgsm", "apgd"))
    assert table.per_sample.equals(fresh.per_sample)
    kept = json.loads(path.read_text())
    assert kept["summary"][1]["accuracy"] == table.summary["accuracy"][1]
    assert kept["stages"]["apgd-t"]["predicted"] == table.per_sample["apgd"].tolist()
    for other, differs in ((network(1), "model_sha256"), (network(), "eps_255")):
        changed = {**asked, "eps_255": EPS_255 + (differs == "eps_255")}
        with pytest.raises(ValueError, match=f"another evaluation .*{differs}"):
            evaluate_robustness(other, (x, y), **changed)
    for text in (
        '{"settings": {}, "stages": {"fgsm": {"predicted": [1], "seconds": 0}}}',
        10_000 * "[",
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match="not a record of an evaluation"):
            evaluate_robustness(network(), (x, y), **asked)


def test_a_record_that_cannot_be_written_is_met_before_the_attacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    x, y = images(4)
    monkeypatch.setattr(evaluation, "run_attack", None)  # a call would be a TypeError
    with pytest.raises(OSError, match="file"):
        evaluate_robustness(
            network(), (x, y), eps_255=8, attacks=["fgsm"], record=tmp_path / "file" / "record"
        )


def test_a_budget_in_other_units_is_pointed_out() -> None:
    with pytest.warns(RobustnessWarning, match=r"did you mean 7\.65"):
        table = evaluate_robustness(network(), images(4), eps_255=0.03, attacks=["fgsm"])
    assert len(table.warnings) == 1


class Wrapped(nn.Module):
    """A network behind something that makes it look robust."""

    def __init__(self, trick: str) -> None:
        super().__init__()
        self.inner, self.trick = network(), trick
        self.noise = Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        if self.trick == "rounded":
            return self.inner((4 * x).round() / 4)
        if self.trick == "random":
            return self.inner(x + 0.1 * torch.randn(x.shape, generator=self.noise))
        if self.trick == "cut":
            return self.inner(x).detach()
        return self.inner(x).softmax(1)


@pytest.mark.parametrize(
    ("trick", "match"),
    [
        ("softmax", "look like probabilities"),
        ("random", "two passes over the same images differ"),
        ("rounded", r"of (18|19|20) correct images have a gradient of exactly 0"),
        ("cut", "18 of 18 correct images have a gradient of exactly 0"),
    ],
)
def test_what_is_suspicious_is_said(trick: str, match: str) -> None:
    x, y = images()
    if trick == "rounded":
        y[2:] = Wrapped(trick).eval()(x).argmax(1)[2:]
    with pytest.warns(RobustnessWarning, match=match):
        table = evaluate_robustness(Wrapped(trick), (x, y), eps_255=EPS_255, attacks=())
    assert len(table.warnings) == 1


def test_square_sees_through_a_network_without_gradients() -> None:
    x, _ = images(6)
    x = (4 * x).round() / 4
    y = Wrapped("rounded").eval()(x).argmax(1)
    # the ball reaches just past the next step of the rounding, where chance alone seldom goes
    with pytest.warns(RobustnessWarning) as said:
        table = evaluate_robustness(
            Wrapped("rounded"),
            (x, y),
            eps_255=32.5,
            attacks=("pgd10", "autoattack"),
            n_queries=200,
        )
    assert any("Square lowers the accuracy from 1.0000" in str(one.message) for one in said)
    accuracy = table.summary.set_index("attack")["accuracy"]
    assert accuracy["pgd10"] == 1.0
    assert accuracy["autoattack"] < 0.9


def test_loaders_of_many_kinds_are_read_once_and_in_order() -> None:
    x, y = images(9)
    pixels = (255 * x[:, 0]).round().to(torch.uint8)
    expected = evaluate_robustness(network(), (pixels, y), eps_255=EPS_255, attacks=["fgsm"])
    n_passes = 0

    class Loader:
        def __iter__(self) -> Iterator[tuple[object, ...]]:
            nonlocal n_passes
            n_passes += 1
            for part in (slice(0, 4), slice(4, 4), slice(4, 9)):
                yield (pixels[part] / 255)[:, None], y[part].numpy(), np.arange(9)[part]

    table = evaluate_robustness(network(), Loader(), eps_255=EPS_255, attacks=["fgsm"])
    assert n_passes == 1
    assert table.per_sample.equals(expected.per_sample)
    one = evaluate_robustness(network(), (x[:1], y[:1]), eps_255=EPS_255, attacks=("cw", "apgd"))
    assert len(one.per_sample) == 1


def test_three_classes_are_too_few_for_one_part() -> None:
    assert attack_library.ensemble_parts(3) == ("apgd-ce", "fab-t", "square")
    assert attack_library.ensemble_parts(4) == attack_library.ENSEMBLE
    generator = Generator().manual_seed(0)
    model = SmallCNN(3, size=(8, 8), width=4, generator=generator).eval()
    x, _ = images(8)
    table = evaluate_robustness(
        model, (x, model(x).argmax(1)), eps_255=60, attacks=("autoattack", "apgd"), n_queries=9
    )
    assert set(table.parts["part"]) <= {"apgd-ce", "fab-t", "square"}
    assert table.summary["accuracy"][1] <= table.summary["accuracy"][2] < 1


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"attacks": ["fgms"]}, "attacks has 'fgms': pass any of"),
        ({"attacks": ["pgd0"]}, "attacks has 'pgd0'"),
        ({"attacks": ["square"]}, "attacks has 'square'"),
        ({"eps_255": 0.0}, "eps_255=0.0: pass a positive number"),
        ({"n_queries": 0}, "n_queries=0: pass a positive number"),
        ({"step_255": -1.0}, "step_255=-1.0: pass a positive number"),
        ({"loader": []}, "yields no image"),
        ({"loader": (torch.full((1, 1, 8, 8), 1.001), [0])}, r"images run from 1\.001 to 1\.001"),
        ({"loader": (torch.full((1, 1, 8, 8), torch.nan), [0])}, "images run from nan"),
        ({"loader": [(torch.zeros(2, 1, 8, 8), [0])]}, "2 images and 1 labels"),
        ({"loader": (torch.zeros(500, 1, 8, 8), [0] * 250)}, "500 images and y 250 labels"),
        ({"loader": (torch.zeros(1, 1, 8, 8), [0.5])}, "y is torch.float32 .* whole numbers"),
        ({"loader": (torch.zeros(1, 1, 8, 8), [5])}, "labels run from 5 to 5 and the model has 5"),
        ({"model": nn.Flatten(0)}, r"the model gives \(64,\) for 1 images"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Threshold(1.0, torch.inf))}, "no finite numbers"),
    ],
)
def test_impossible_requests_are_refused(change: dict[str, object], match: str) -> None:
    asked: dict[str, Any] = {
        "model": network(),
        "loader": (torch.full((1, 1, 8, 8), 1 + 1e-7), [0]),
        "eps_255": 8.0,
        "attacks": [],
        **change,
    }
    with pytest.raises(ValueError, match=match):
        evaluate_robustness(**asked)
