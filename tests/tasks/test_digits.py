"""Digits with colours and with noise, from small arrays made here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from statformer.tasks.colored_digits import PALETTE, PARTNERS, ColoredDigitsPrior
from statformer.tasks.digits import Digits, load_digits
from statformer.tasks.noisy_digits import NoisyDigitsPrior
from statformer.tasks.stream import TaskStream


def pool(n: int = 6000) -> Digits:
    rng = np.random.default_rng(0)
    images = rng.integers(1, 256, (n, 3, 2)).astype(np.uint8)
    return Digits(torch.from_numpy(images), torch.arange(n) % 10)


def stream(tasks: range = range(2)) -> TaskStream:
    return TaskStream(1, 0, tasks, dtype=torch.float64)


def arrays(**others: np.ndarray) -> dict[str, np.ndarray]:
    made = {
        f"{part}_{kind}": array
        for part, n in (("train", 30), ("test", 20))
        for kind, array in (
            ("images", pool(n).images.numpy()),
            ("labels", pool(n).labels.numpy().astype(np.uint8)),
        )
    }
    return {**made, **others}


def test_digits_are_read_as_they_lie(tmp_path: Path) -> None:
    np.savez(tmp_path / "digits.npz", **arrays())
    splits = load_digits(tmp_path / "digits.npz")
    for part, n in ((splits.train, 30), (splits.test, 20)):
        assert torch.equal(part.images, pool(n).images)
        assert torch.equal(part.labels, pool(n).labels)
    np.savez(tmp_path / "flat.npz", **arrays(test_images=np.zeros((20, 6), np.uint8)))
    with pytest.raises(ValueError, match=r"test_images has shape \(20, 6\)"):
        load_digits(tmp_path / "flat.npz")
    np.savez(tmp_path / "odd.npz", **arrays(train_labels=np.zeros(3, np.uint8)))
    with pytest.raises(ValueError, match="one label per image"):
        load_digits(tmp_path / "odd.npz")
    np.savez(tmp_path / "large.npz", **arrays(train_labels=np.full(30, 17, np.uint8)))
    with pytest.raises(ValueError, match="labels: pass digits from 0 to 9"):
        load_digits(tmp_path / "large.npz")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_digits(tmp_path / "absent.npz")


@pytest.mark.parametrize("swapped", [False, True])
def test_colours_follow_the_label(swapped: bool) -> None:
    prior = ColoredDigitsPrior(pool(), 6000, swapped)
    batch = prior.sample(stream())
    assert abs(float((batch.y != batch.digit).double().mean()) - 0.09) < 0.01  # a tenth stay
    home = torch.tensor(PARTNERS)[batch.y] if swapped else batch.y
    assert abs(float((batch.color == home).double().mean()) - 0.775) < 0.01
    away = (batch.color - home)[batch.color != home] % 10
    shares = torch.bincount(away, minlength=10)[1:] / len(away)
    assert ((shares - 1 / 9).abs() < 0.02).all()
    replaced = batch.y[batch.y != batch.digit]
    assert ((torch.bincount(replaced, minlength=10) / len(replaced) - 0.1).abs() < 0.03).all()
    assert sorted(batch.image[0].tolist()) == list(range(6000))
    assert torch.equal(batch.digit, pool().labels[batch.image])


def test_a_colour_multiplies_the_grey_value_and_language_says_both() -> None:
    digits = pool(40)
    batch = ColoredDigitsPrior(digits, 25).sample(stream())
    words = batch.language()
    for b, i in ((0, 0), (1, 7), (1, 24)):
        grey = digits.images[batch.image[b, i]].double() / 255
        for channel, value in enumerate(PALETTE[int(batch.color[b, i])]):
            torch.testing.assert_close(batch.X[b, i, channel], value * grey)
        said = torch.nonzero(words[b, i]).flatten().tolist()
        assert said == [int(batch.digit[b, i]), 10 + int(batch.color[b, i])]
    assert PALETTE[:2] == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    assert len(set(PALETTE)) == 10
    assert all(PARTNERS[PARTNERS[c]] == c != PARTNERS[c] for c in range(10))


def test_an_image_stands_beside_noise() -> None:
    digits = pool(200)
    prior = NoisyDigitsPrior(digits, 30, sigma=0.5, n_snr2=6.75, classes=(3, 5))
    batch = prior.sample(stream(range(50)))
    assert prior.strength.signal_norm == pytest.approx(0.5 * (6.75 * 6 / 30) ** 0.5)
    signal, noise = batch.X.unbind(2)
    lengths = torch.full((50, 30), prior.strength.signal_norm).double()
    torch.testing.assert_close(signal.norm(dim=-1), lengths)
    some = digits.only((3, 5))
    source = some.images[batch.image].flatten(2).double()
    cosine = torch.cosine_similarity(signal, source, dim=-1)
    torch.testing.assert_close(cosine, torch.ones(50, 30).double())
    torch.testing.assert_close(batch.y, some.labels[batch.image].double() - 4.0)
    assert noise.std() == pytest.approx(0.5, rel=0.03)
    assert noise.mean().abs() < 0.02


@pytest.mark.parametrize("make", ["colored", "noisy"])
def test_a_task_does_not_depend_on_the_batch_around_it(make: str) -> None:
    prior = {
        "colored": ColoredDigitsPrior(pool(50), 9),
        "noisy": NoisyDigitsPrior(pool(50), 9, signal_norm=2.0, sigma=1.0),
    }[make]
    whole, part = prior.sample(stream(range(4))), prior.sample(stream(range(2, 3)))
    for field in ("X", "y", "image"):
        torch.testing.assert_close(getattr(whole, field)[2:3], getattr(part, field))
    assert whole.image[0].tolist() != whole.image[1].tolist()


def test_errors_name_the_remedy() -> None:
    digits = pool(50)
    with pytest.raises(ValueError, match="n_points=51: pass 1 to 50"):
        ColoredDigitsPrior(digits, 51).sample(stream())
    with pytest.raises(ValueError, match=r"bias=1\.5"):
        ColoredDigitsPrior(digits, 5, bias=1.5)
    noisy = NoisyDigitsPrior(digits, 5, signal_norm=1.0, sigma=1.0)
    with pytest.raises(ValueError, match="over-specified"):
        replace(noisy, n_snr2=1.0)
    with pytest.raises(ValueError, match=r"classes=\(4, 4\)"):
        replace(noisy, classes=(4, 4))
    with pytest.raises(ValueError, match=r"digits=\[0, 1\]: the pool has images of \[0\]"):
        replace(noisy, digits=digits.only((0,)))
    black = Digits(torch.zeros_like(digits.images), digits.labels)
    with pytest.raises(ValueError, match=r"10 images of .* are black"):
        replace(noisy, digits=black)
