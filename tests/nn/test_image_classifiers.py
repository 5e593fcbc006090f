"""ResNet-18 has its known size; both networks normalise, pass gradients and repeat themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor, nn

from statformer.nn.image_classifiers import Normalization, ResNet18, SmallCNN

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def images(n: int, k: int, size: int) -> Tensor:
    return torch.rand(n, k, size, size, generator=generator(7))


def test_resnet18_has_the_known_number_of_weights() -> None:
    def n_weights(network: nn.Module) -> int:
        return sum(weight.numel() for weight in network.parameters())

    assert n_weights(ResNet18(10, generator=generator())) == 11_173_962
    # 90 classes more: 90 x 512 weights and 90 biases; one colour: 2 x 64 x 9 weights fewer
    assert n_weights(ResNet18(100, generator=generator())) == 11_173_962 + 90 * 513
    assert (
        n_weights(ResNet18(10, mean=(0.1,), std=(0.3,), generator=generator()))
        == 11_173_962 - 2 * 64 * 9
    )
    small = 16 * 16 + 2 * 16 + 32 * 16 * 16 + 2 * 32 + (32 * 49 + 1) * 100 + 101 * 10
    assert n_weights(SmallCNN(10, generator=generator())) == small


@pytest.mark.parametrize(
    "build",
    [
        lambda: ResNet18(10, mean=MEAN, std=STD, generator=generator()),
        lambda: ResNet18(4, mean=(0.1,), std=(0.3,), generator=generator()),
        lambda: SmallCNN(4, generator=generator()),
        lambda: SmallCNN(3, size=(9, 9), width=4, mean=MEAN, std=STD, generator=generator()),
    ],
)
def test_every_weight_matters_and_so_does_every_image(
    build: Callable[[], ResNet18 | SmallCNN],
) -> None:
    network = build()
    size = 28 if isinstance(network, SmallCNN) and network.hidden.in_features > 1000 else 9
    x = images(3, network.normalization.mean.numel(), size).requires_grad_()
    logits = network(x)
    assert logits.shape == (3, network.n_classes)
    logits.square().sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None
        assert torch.isfinite(weight.grad).all()
        assert weight.grad.abs().max() > 0, name
    assert x.grad is not None
    assert (x.grad.flatten(1).abs().amax(1) > 0).all()
    assert (logits.std(0) > 0).all()


def test_the_normalisation_is_inside_and_travels_with_the_weights() -> None:
    x = images(2, 3, 8)
    network = SmallCNN(3, size=(8, 8), mean=MEAN, std=STD, generator=generator()).eval()
    plain = SmallCNN(3, size=(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3, generator=generator()).eval()
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    torch.testing.assert_close(network(x), plain((x - mean) / std))
    assert not torch.allclose(network(x), plain(x))
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network(x), plain(x))


def test_the_generator_decides_the_weights_and_nothing_else_moves() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (SmallCNN(3, generator=generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    kernels = ResNet18(10, generator=generator()).state_dict()["blocks.7.conv2.weight"]
    assert abs(kernels.std().item() / (2 / (512 * 9)) ** 0.5 - 1) < 0.01


def test_constants_and_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="one number of each per colour"):
        Normalization((0.1,), (0.2, 0.3))
    with pytest.raises(ValueError, match="numbers above 0"):
        Normalization((0.1,), (0.0,))
    with pytest.raises(ValueError, match=r"size=\(3, 28\)"):
        SmallCNN(10, size=(3, 28), generator=generator())
