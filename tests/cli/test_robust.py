"""`statformer robust`: train, stop, go on, evaluate; files and requests that cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from made_images import images as made_images
from statformer.cli import robust_display
from statformer.cli.errors import CommandError
from statformer.cli.robust import robust
from statformer.robust.model_file import ImageModel, load_model, save_model
from statformer.weights.reader import WeightsError

pytest.importorskip("pyautoattack")  # foolbox comes with the same extra

NOTE = "made of noise"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    arrays: dict[str, np.ndarray] = {"note": np.array(NOTE)}
    for part, n, seed in (("train", 160, 0), ("test", 40, 1)):
        x, y = made_images(n, seed)
        arrays[f"{part}_images"] = (255 * x[:, 0]).round().to(torch.uint8).numpy()
        arrays[f"{part}_labels"] = y.to(torch.uint8).numpy()
    np.savez(tmp_path / "data.npz", allow_pickle=False, **arrays)
    return tmp_path / "data.npz"


def call(*arguments: object) -> Result:
    """Run the command; what it refuses is raised."""
    result = CliRunner().invoke(robust, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def train(data: Path, out: Path, *more: object) -> dict[str, Any]:
    asked = ("--data", data, "--out", out, "--eps", 16, "--epochs", 3, "--batch-size", 32)
    result = call("train", *asked, "--learning-rate", 0.05, *more)
    assert result.exit_code == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_colour_images_are_cropped_and_flipped_unless_that_is_refused(
    data: Path, tmp_path: Path
) -> None:
    with np.load(data, allow_pickle=False) as found:
        arrays = dict(found)
    for part in ("train", "test"):
        arrays[f"{part}_images"] = np.repeat(arrays[f"{part}_images"][..., None], 3, axis=3)
    colours = tmp_path / "colours.npz"
    np.savez(colours, allow_pickle=False, **arrays)
    moved = train(colours, tmp_path / "moved")
    as_they_are = train(colours, tmp_path / "still", "--no-augment")
    assert (moved["augment"], as_they_are["augment"]) == ("crop-flip", None)
    assert moved["history"][0]["loss"] != as_they_are["history"][0]["loss"]
    assert train(data, tmp_path / "grey")["augment"] is None


def test_a_network_is_trained_and_evaluated(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    card = train(data, out)
    assert len(card["history"]) == 3
    assert card["note"] == NOTE
    assert card["settings"]["eps_255"] == 16
    assert json.loads((out / "card.json").read_text())["history"] == card["history"]
    asked = ("--data", data, "--weights", out, "--eps", 16, "--attacks", "fgsm,pgd10")
    record = tmp_path / "record.json"
    result = call("evaluate", *asked, "--first", 30, "--record", record)
    found = json.loads(result.stdout)
    assert [line["attack"] for line in found["summary"]] == ["clean", "fgsm", "pgd10", "all"]
    clean, fgsm, pgd10, _ = (line["accuracy"] for line in found["summary"])
    assert clean > 0.7
    assert clean >= fgsm >= pgd10
    assert found["summary"][0]["n_images"] == 30
    assert found["note"] == NOTE
    assert "stages" not in found
    assert len(json.loads(record.read_text())["stages"]["pgd10"]["predicted"]) == 30
    for line in ("fgsm: 0.", "pgd10: 0.", "epoch"):
        assert (line in result.stderr) == (line != "epoch")
    shown = call("evaluate", *asked, "--no-json")
    assert "pgd10" in shown.stdout
    assert f"note: {NOTE}" in shown.stderr


def test_a_run_goes_on_in_the_same_bits(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "whole")
    out = tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patch:

        class Stopped(robust_display.EpochLines):
            def __call__(self, progress: Any) -> None:
                if progress.event == "evaluation" and progress.step == progress.n_steps * 2 // 3:
                    raise KeyboardInterrupt

        patch.setattr("statformer.cli.robust.EpochLines", Stopped)
        asked = ("--data", data, "--out", out, "--eps", 16, "--epochs", 3, "--batch-size", 32)
        result = call("train", *asked, "--learning-rate", 0.05)
    assert result.exit_code == 130
    assert "--resume goes on" in result.stderr
    with pytest.raises(CommandError, match=r"holds a run; --resume goes on"):
        train(data, out)
    train(data, out, "--resume")
    whole = load_file(tmp_path / "whole" / "final.safetensors")
    resumed = load_file(out / "final.safetensors")
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_a_network_at_chance_is_remarked_on(data: Path, tmp_path: Path) -> None:
    asked = ("--data", data, "--out", tmp_path / "run", "--eps", 100, "--epochs", 1)
    card = json.loads(call("train", *asked, "--learning-rate", 1e-9, "--first", 40).stdout)
    assert "hardly better than chance" in card["remarks"][-1]
    assert "hardly" not in " ".join(train(data, tmp_path / "better")["remarks"])


def test_a_doubtful_budget_is_told_before_training(data: Path, tmp_path: Path) -> None:
    asked = ("--data", data, "--out", tmp_path / "run", "--eps", 0.03, "--epochs", 1)
    result = call("train", *asked)
    note, epoch = result.stderr.splitlines()[:2]
    assert "did you mean 7.65?" in note
    assert epoch.startswith("epoch 1 of 1")
    assert "did you mean 7.65?" in json.loads(result.stdout)["remarks"][0]


def test_a_model_file_brings_all_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 9, 8, 3), dtype=np.uint8)
    images[..., 0] //= 2
    monkeypatch.setattr("statformer.robust.model_file._CHUNK", 20)
    for name in ("small-cnn", "resnet18"):
        about = ImageModel.for_images(name, images, 3)
        np.testing.assert_allclose(about.mean, (images / 255).mean((0, 1, 2)), atol=1e-4)
        np.testing.assert_allclose(about.std, (images / 255).std((0, 1, 2)), atol=1e-4)
        network = about.build(torch.Generator().manual_seed(1)).eval()
        save_model(tmp_path / "model.safetensors", about, network.state_dict())
        again, loaded = load_model(tmp_path / "model.safetensors")
        assert again == about
        x = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(2))
        assert torch.equal(loaded(x), network(x))


def test_files_of_another_kind_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    about = ImageModel("small-cnn", 3, (8, 8), (0.5,), (0.2,))
    weights = about.build(torch.Generator().manual_seed(0)).state_dict()
    save_file(weights, path)
    with pytest.raises(WeightsError, match="do not say to which network"):
        load_model(path)
    for wrong in (
        ImageModel("small-cnn", 4, (8, 8), (0.5,), (0.2,)),
        ImageModel("resnet18", 3, (8, 8), (0.5,), (0.2,)),
    ):
        save_model(path, wrong, weights)
        with pytest.raises(WeightsError, match="not the weights of a network of ours"):
            load_model(path)
    for large in (
        ImageModel("small-cnn", 10**9, (8, 8), (0.5,), (0.2,)),
        ImageModel("small-cnn", 3, (10**6, 10**6), (0.5,), (0.2,)),
        ImageModel("small-cnn", 3, (8, 8), (0.5,) * 10**4, (0.2,) * 10**4),
    ):
        save_model(path, large, weights)
        with monkeypatch.context() as patch:
            patch.setattr(ImageModel, "build", None)  # nothing is built before it is compared
            with pytest.raises(WeightsError, match="the weights have"):
                load_model(path)
    for header in ('{"name": "small-cnn", "n_classes": Infinity}', "{}", '{"name": "vgg"}', "[]"):
        save_file(weights, path, {"statformer.robust": header})
        with pytest.raises(WeightsError, match="not the weights of a network of ours"):
            load_model(path)
    with pytest.raises(ValueError, match="model 'vgg': pass one of resnet18, small-cnn"):
        ImageModel("vgg", 3, (8, 8), (0.5,), (0.2,))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("train", "--model", "vgg"), "--model is 'vgg'; pass one of resnet18, small-cnn"),
        (("train", "--data", "absent.npz"), r"--data: absent\.npz: no such file"),
        (("train", "--device", "abacus"), "--device is 'abacus'; pass cpu or cuda"),
        (
            ("train", "--out", "/dev/null/run"),
            "--out /dev/null/run cannot be made .* another folder",
        ),
        (("train", "--device", "meta"), "--device is 'meta'; pass cpu or cuda"),
        (("train", "--device", "cuda:99"), "--device is 'cuda:99' and there are . such devices"),
        (("train", "--batch-size", "0"), "batch_size=0: pass at least 1"),
        (("train", "--strength", "-1"), "strength=-1"),
        (("train", "--first", "161"), "--first is 161; pass 1 to 160"),
        (("train", "--start", "middle"), "start='middle': pass one of"),
        (("train", "--eps", "-1"), "eps_255=-1"),
        (("evaluate", "--weights", "absent"), "absent: no such file"),
        (("evaluate", "--model", "resnet18"), "--model is 'resnet18' and .* holds a small-cnn"),
        (("evaluate", "--attacks", "fgms"), "attacks has 'fgms'"),
    ],
)
def test_impossible_requests_are_refused(
    data: Path, tmp_path: Path, arguments: tuple[str, ...], match: str
) -> None:
    about = ImageModel("small-cnn", 4, (8, 8), (0.5,), (0.2,))
    weights = about.build(torch.Generator().manual_seed(0)).state_dict()
    save_model(tmp_path / "final.safetensors", about, weights)
    usual = {"--data": data, "--eps": 8.0}
    usual |= {"--weights": tmp_path} if arguments[0] == "evaluate" else {"--out": tmp_path / "run"}
    usual |= dict(zip(arguments[1::2], arguments[2::2], strict=True))
    with pytest.raises(CommandError, match=match):
        call(arguments[0], *(word for pair in usual.items() for word in pair))


def test_images_of_another_size_are_refused(data: Path, tmp_path: Path) -> None:
    about = ImageModel("small-cnn", 4, (9, 9), (0.5,), (0.2,))
    weights = about.build(torch.Generator().manual_seed(0)).state_dict()
    save_model(tmp_path / "final.safetensors", about, weights)
    with pytest.raises(CommandError, match=r"trained on \(9, 9\) with 1 colours"):
        call("evaluate", "--data", data, "--weights", tmp_path, "--eps", 8)


def test_the_command_line_knows_it_and_answers_in_one_line(
    refused: Callable[..., str], data: Path
) -> None:
    asked = ("--data", data, "--weights", "absent", "--eps", 8)
    assert "absent: no such file" in refused("robust", "evaluate", *asked)
