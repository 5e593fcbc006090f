"""Images become instances by the paper's steps; files of another form are refused unread."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from statformer.images import npz
from statformer.tasks import image_instances
from statformer.tasks.image_instances import ImageInstances, ImagePool, load_images
from statformer.tasks.stream import TaskStream

D = 3


def images(seed: int, n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n, 4)) * np.array([40.0, 25.0, 15.0, 8.0])
    mixed = 120.0 + factors @ np.random.default_rng(9).standard_normal((4, 20)) * 0.7
    pixels = np.clip(mixed + rng.standard_normal((n, 20)), 0, 255).astype(np.uint8)
    return {"images": pixels.reshape(n, 5, 4), "labels": rng.integers(0, 4, n).astype(np.uint8)}


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    parts = {"train": images(0, 90), "test": images(1, 50)}
    return {f"{part}_{kind}": array for part, both in parts.items() for kind, array in both.items()}


@pytest.fixture
def path(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez_compressed(tmp_path / "images.npz", **arrays)
    return tmp_path / "images.npz"


def test_the_preprocessing_is_the_svd_of_each_split(
    path: Path, arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_instances, "_CHUNK", 16)
    splits = load_images(path, D)
    scores = {}
    for part in ("train", "test"):
        pixels = arrays[f"{part}_images"].reshape(-1, 20).astype(np.float64)
        U, s, _ = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)
        scores[part] = U[:, :D] * s[:D]
        np.testing.assert_array_equal(getattr(splits, part).labels, arrays[f"{part}_labels"])
    spread = scores["train"].std(axis=0)
    for part, pool in (("train", splits.train), ("test", splits.test)):
        expected = scores[part] / spread  # the training mean is 0 already
        np.testing.assert_allclose(pool.points.abs().numpy(), np.abs(expected), atol=1e-5)
        off = pool.points.T @ pool.points - torch.diag(pool.points.square().sum(0))
        assert off.abs().max() < 1e-3  # principal coordinates do not correlate
    np.testing.assert_allclose(splits.train.points.std(0, correction=0).numpy(), 1.0, rtol=1e-5)
    assert not np.allclose(splits.test.points.std(0, correction=0).numpy(), 1.0, rtol=1e-3)


def test_instances_hold_different_images_of_the_pool(path: Path) -> None:
    pool = load_images(path, D).test
    batch = ImageInstances(pool, 12).sample(TaskStream(0, 0, range(300)))
    at = batch.latent["image"]
    assert all(len(set(row)) == 12 for row in at.tolist())
    torch.testing.assert_close(batch.X, pool.points[at])
    torch.testing.assert_close(batch.X[0].T.cov().trace(), batch.eigenvalues[0].sum())
    # every image comes as often as any other, in every place
    for place in range(12):
        counts = torch.bincount(at[:, place], minlength=50)
        assert ((counts.float() - 6.0).square() / 6.0).sum() < 95.0  # chi square, 49 degrees
    whole = ImageInstances(pool, 50).sample(TaskStream(0, 0, range(2))).latent["image"]
    torch.testing.assert_close(whole.sort(-1).values, torch.arange(50).expand(2, 50))


def test_only_some_digits(path: Path) -> None:
    pool = load_images(path, D).train
    some = pool.only({1, 3})
    assert set(some.labels.tolist()) == {1, 3}
    torch.testing.assert_close(some.points, pool.points[(pool.labels == 1) | (pool.labels == 3)])
    with pytest.raises(ValueError, match=r"digits=\[7\]"):
        pool.only([7])


def test_sizes_are_checked_before_anything_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the array was read")

    monkeypatch.setattr(np, "load", refuse)
    monkeypatch.setattr(npz, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"train_images cannot be read.* at most 1000"):
        load_images(path, D)


@pytest.mark.parametrize(
    ("name", "array", "match"),
    [
        ("train_images", np.zeros((90, 5, 4)), "its type is float64, expected uint8"),
        ("test_images", np.array([{"a": 1}], dtype=object), "its type is object"),
        ("test_labels", np.zeros(3, np.uint8), "one label per image"),
        ("test_images", np.zeros((50, 2, 1), np.uint8), "pass 1 to 2"),
        ("train_images", np.zeros((90, 5, 4), np.uint8), "do not vary"),
    ],
)
def test_arrays_of_another_form_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], name: str, array: np.ndarray, match: str
) -> None:
    np.savez(tmp_path / "other.npz", **{**arrays, name: array})
    with pytest.raises(ValueError, match=match):
        load_images(tmp_path / "other.npz", D)


def test_damaged_or_foreign_files_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_images(tmp_path / "absent.npz", D)
    (tmp_path / "text.npz").write_text("not a zip")
    with pytest.raises(ValueError, match="train_images cannot be read"):
        load_images(tmp_path / "text.npz", D)
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "cut.npz", "w") as cut:
        content = whole.read("train_images.npy")
        cut.writestr("train_images.npy", content[:-7])
    with pytest.raises(ValueError, match="header promises 1800 bytes where there are 1793"):
        load_images(tmp_path / "cut.npz", D)


def test_an_instance_needs_as_many_images_as_points() -> None:
    pool = ImagePool(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))
    for n_points in (1, 5):
        with pytest.raises(ValueError, match=f"n_points={n_points}: pass 2 to 4"):
            ImageInstances(pool, n_points)
