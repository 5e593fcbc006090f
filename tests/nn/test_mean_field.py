"""The mean-field Transformer is the paper's formula, column by column and head by head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from statformer.nn.mean_field import Cloud, MeanFieldTransformer
from statformer.nn.mean_field_encoders import MeanAttention, MeanFeedForward

B, L, M, N, TOKENS, D, S = 2, 3, 5, 4, 5, 4, 6
READ = 2


def tokens(seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (N, TOKENS, D)))


def cloud(n_hidden: int = S, seed: int = 1, n_layers: int = L, n_particles: int = M) -> Cloud:
    rng = np.random.default_rng(seed)
    return Cloud.uniform_in_ball(B, n_layers, n_particles, D, n_hidden, 5.0, rng)


def by_the_formula(
    net: MeanFieldTransformer, H: np.ndarray, run: int, sigma_a: str, sigma_m: str | None
) -> np.ndarray:
    """T (D, N + 1) with tokens as columns; one sequence, loops over heads."""

    def f(Z: np.ndarray, V: np.ndarray, W: np.ndarray) -> np.ndarray:
        scores = Z.T @ W @ Z
        if sigma_a == "relu":
            return V @ Z @ np.maximum(scores, 0.0)
        e = np.exp(scores)
        return V @ Z @ (e / e.sum(axis=0, keepdims=True))

    def h(Z: np.ndarray, W1: np.ndarray, W2: np.ndarray) -> np.ndarray:
        u = W1 @ Z
        if sigma_m == "relu":
            return W2 @ np.maximum(u, 0.0)
        return W2 @ np.where(u <= 0, 0.0, np.where(u <= 1, u**2 / 2, u - 0.5))

    weights = {key: weight.detach().numpy()[run] for key, weight in net.named_parameters()}
    T, half = H.T.copy(), 1.0 / (2 * net.n_layers)
    for layer in range(net.n_layers):
        heads = [f(T, weights["V"][layer, j], weights["W"][layer, j]) for j in range(M)]
        T = T + half * sum(heads) / M
        if sigma_m is not None:
            heads = [h(T, weights["W1"][layer, j], weights["W2"][layer, j]) for j in range(M)]
            T = T + half * sum(heads) / M
    return T


@pytest.mark.parametrize("sigma_a", ["softmax", "relu"])
@pytest.mark.parametrize("sigma_m", ["huber", "relu", None])
def test_the_forward_pass_is_the_formula(sigma_a: str, sigma_m: str | None) -> None:
    net = MeanFieldTransformer(
        cloud(S if sigma_m else 0),
        READ,
        MeanAttention(sigma_a),
        MeanFeedForward(sigma_m) if sigma_m else None,
    )
    H = tokens()
    last, answers = net.path(H)[-1].detach(), net(H).detach()
    assert last.shape == (B, N, TOKENS, D)
    for run in range(B):
        for i in range(N):
            expected = by_the_formula(net, H[i].numpy(), run, sigma_a, sigma_m)
            np.testing.assert_allclose(last[run, i].numpy().T, expected, rtol=1e-12, atol=1e-14)
            assert float(answers[run, i]) == pytest.approx(expected[READ, -1], rel=1e-12)


def test_the_verified_pair_is_the_default() -> None:
    net = MeanFieldTransformer(cloud(), READ)
    assert net.attention == MeanAttention("softmax")
    assert net.feed_forward == MeanFeedForward("huber")
    assert MeanFieldTransformer(cloud(0), READ).feed_forward is None


@pytest.mark.parametrize("c", [-1.7, 0.3, 4.0])
def test_each_encoder_is_homogeneous_in_its_outer_weight_alone(c: float) -> None:
    T = tokens().expand(B, N, TOKENS, D)
    V, W, W1, W2 = (part[:, 0] for part in cloud())
    f, h = MeanAttention(), MeanFeedForward()
    torch.testing.assert_close(f.mean(T, c * V, W), c * f.mean(T, V, W))
    torch.testing.assert_close(h.mean(T, W1, c * W2), c * h.mean(T, W1, W2))
    assert (f.mean(T, V, c * W) - c * f.mean(T, V, W)).abs().max() > 1e-2
    assert (h.mean(T, c * W1, W2) - c * h.mean(T, W1, W2)).abs().max() > 1e-2


def test_a_layer_is_a_set_of_particles() -> None:
    H, particles = tokens(), cloud()
    answers = MeanFieldTransformer(particles, READ)(H).detach()
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = Cloud(*(part[:, :, order] for part in particles))
    twice = Cloud(*(torch.cat([part, part], 2) for part in particles))
    for same in (shuffled, twice):
        again = MeanFieldTransformer(same, READ)(H).detach()
        torch.testing.assert_close(again, answers, rtol=1e-12, atol=1e-14)
    # theta and w are averaged apart, so they may also be shuffled apart; V from W may not.
    apart = particles._replace(W=particles.W[:, :, order])
    assert (MeanFieldTransformer(apart, READ)(H).detach() - answers).abs().max() > 1e-4


def test_layers_are_not_a_set() -> None:
    H, particles = tokens(), cloud()
    turned = Cloud(*(part.flip(1) for part in particles))
    gap = MeanFieldTransformer(turned, READ)(H) - MeanFieldTransformer(particles, READ)(H)
    assert gap.abs().max() > 1e-5


def test_a_step_is_the_mean_over_single_particles() -> None:
    net, H = MeanFieldTransformer(cloud(), READ), tokens()
    states = net.path(H)
    assert len(states) == 2 * L + 1
    for (layer, encoder), before, after in zip(net.steps(), states[:-1], states[1:], strict=True):
        first, second = net.weights(layer, encoder)
        alone = [encoder.mean(before, first[:, j : j + 1], second[:, j : j + 1]) for j in range(M)]
        step = (after - before) / (0.5 / L)
        torch.testing.assert_close(torch.stack(alone).mean(0), step, rtol=1e-10, atol=1e-12)
        assert (alone[0] - step).abs().max() > 1e-2


def test_the_pattern_of_each_token_sums_to_one_and_is_what_the_mean_uses() -> None:
    T = tokens().expand(B, N, TOKENS, D)
    V, W, *_ = (part[:, 0] for part in cloud())
    A = MeanAttention().pattern(T, W)
    assert A.shape == (B, N, TOKENS, M, TOKENS)
    torch.testing.assert_close(A.sum(-1), torch.ones_like(A[..., 0]), rtol=1e-14, atol=1e-14)
    assert (A.sum(2) - 1).abs().max() > 0.1  # over queries it does not
    heard = torch.einsum("bnqjk,bnkd,bjed->bnqe", A, T, V) / M
    torch.testing.assert_close(heard, MeanAttention().mean(T, V, W))


def test_mirror_images_cancel_and_the_network_starts_as_the_identity() -> None:
    H, particles = tokens(), cloud()
    net = MeanFieldTransformer(particles.with_mirror_images(), READ)
    assert net.n_particles == 2 * M
    assert (net.path(H)[-1] - H).abs().max() < 1e-14
    assert (MeanFieldTransformer(particles, READ).path(H)[-1] - H).abs().max() > 1e-2


def test_independent_particles_approach_the_identity() -> None:
    """Output noise times sqrt(M L) stays in a narrow band; without the mean it would not."""
    H, scaled = tokens(), []
    for n_layers, n_particles in ((2, 8), (2, 128), (16, 8)):
        rng = np.random.default_rng(n_particles)
        draw = Cloud.uniform_in_ball(40, n_layers, n_particles, D, S, 4.0, rng)
        off = (MeanFieldTransformer(draw, READ)(H) - H[:, -1, READ]).detach()
        scaled.append(float(off.square().mean().sqrt()) * (n_layers * n_particles) ** 0.5)
    assert max(scaled) < 1.5 * min(scaled)


def test_a_cloud_is_uniform_in_the_joint_ball() -> None:
    draw = Cloud.uniform_in_ball(1, 2, 4000, 2, 3, 3.0, np.random.default_rng(0))
    p = 2 * 2 * 2 + 2 * 2 * 3
    x = torch.cat([part.flatten(3) for part in draw], -1).reshape(-1, p)
    share = (x.norm(dim=1) / 3.0) ** p  # uniform on [0, 1]
    places = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    assert (torch.quantile(share, places) - places).abs().max() < 0.02
    spread = 3.0 / (p + 2) ** 0.5  # of each coordinate
    assert (x.mean(0).abs() < 5 * spread / len(x) ** 0.5).all()
    assert (x.std(0) / spread - 1).abs().max() < 0.05


@pytest.mark.parametrize("n_hidden", [0, S])
def test_refining_repeats_every_layer(n_hidden: int) -> None:
    particles = cloud(n_hidden)
    for part, first in zip(particles.refined(3), particles, strict=True):
        if first is None:
            assert part is None
        else:
            assert part.shape[1] == 3 * L
            assert all((part[:, i] == first[:, i // 3]).all() for i in range(3 * L))
    assert (particles.with_mirror_images().W1 is None) == (n_hidden == 0)


@pytest.mark.parametrize("n_hidden", [0, S])
def test_runs_do_not_see_each_other(n_hidden: int) -> None:
    particles, H = cloud(n_hidden), tokens()
    alone = MeanFieldTransformer(particles.of_runs(slice(1, 2)), READ)(H)
    together = MeanFieldTransformer(particles, READ)(H)
    torch.testing.assert_close(alone[0], together[1], rtol=1e-13, atol=1e-15)


def test_training_a_network_leaves_its_cloud_as_it_was() -> None:
    particles = cloud()
    before = [part.clone() for part in particles]
    with torch.no_grad():
        for weight in MeanFieldTransformer(particles, READ).parameters():
            weight.add_(1.0)
    assert all((part == old).all() for part, old in zip(particles, before, strict=True))


@pytest.mark.parametrize("read", [-1, D])
def test_a_feature_that_is_none_is_refused(read: int) -> None:
    with pytest.raises(ValueError, match=f"read={read}: pass 0 to {D - 1}"):
        MeanFieldTransformer(cloud(), read)


def test_a_feed_forward_encoder_needs_its_weights() -> None:
    with pytest.raises(ValueError, match="no W1 and W2"):
        MeanFieldTransformer(cloud(0), READ, feed_forward=MeanFeedForward())
