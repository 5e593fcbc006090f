"""Clusters that no ellipse describes: rings, moons, spirals, filaments, nests, uneven densities.

Components come in groups of one to three that share a centre and a kind: concentric rings,
interleaved moons, the arms of a spiral, parallel filaments, a blob inside rings, dense blobs beside
a wide one. A group lies in a plane (or in space); groups are pushed apart until they do not overlap
much; a random linear map takes plane or space into the d columns. All of it is ours.

Axes: b tasks, n points, d features, c components; groups are numbered on the axis c too.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statformer.tasks.ingredients import log_uniform
from statformer.tasks.stream import TaskStream

SHAPES = ("rings", "moons", "spirals", "filaments", "nested", "density")
LARGEST_GROUP = 3
_MOON_STEP = 1.2  # from one moon's middle to the next one's, in radii
_PUSHES = 40


def shaped(
    stream: TaskStream,
    y: Int[Tensor, "b n"],
    present: Bool[Tensor, "b c"],
    z: Float[Tensor, "b n d"],
    on: Bool[Tensor, "b s"],
) -> Float[Tensor, "b n d"]:
    """Points of shaped components; `on` tells for each of `SHAPES` whether a table may hold it.

    x_i = Q S (m_g + s_g T_g (curve(t_i) + tau z_i)) + sigma e_i with g the group of i's component,
    T_g a rotation with a mild stretch, Q S a map of p = 2 or 3 latent dimensions into d columns,
    tau in 0.02 to 0.15 of a radius, and z the noise of the frame (its first p columns).
    Raises ValueError for d < 2.
    """
    b, n, d = z.shape
    c = present.shape[1]
    if d < 2:
        raise ValueError(f"z has {d} column; shapes need at least 2")
    size = stream.integers(1, LARGEST_GROUP + 1)[:, None]
    size = torch.where(on[:, SHAPES.index("nested"), None], size.clamp_min(2), size)
    component = torch.arange(c, device=y.device).expand(b, c)
    group, rank = component // size, component % size
    score = torch.where(on[:, None, :], stream.uniform(c, len(SHAPES)), -1.0)
    kind = torch.gather(score.argmax(-1), 1, group)
    in_space = (stream.uniform() < 0.4) & (d > 2)
    tau = log_uniform(stream, 0.02, 0.15)
    curve, extent = _curves(stream, y, kind, group, rank, size, tau, in_space)
    noise = z[..., :3] if d > 2 else torch.nn.functional.pad(z, (0, 1))
    local = curve + tau[:, None, None] * noise
    centres, turn, scale = _placed(stream, extent, group, present, in_space)
    at = torch.gather(group, 1, y)
    local = torch.einsum("bnij,bnj->bni", _taken(turn.flatten(2), at).reshape(b, n, 3, 3), local)
    flat = torch.cat([torch.ones(b, 2, device=y.device), in_space[:, None]], dim=-1)
    latent = (_taken(centres, at) + _taken(scale[..., None], at) * local) * flat[:, None, :]
    return _embedded(stream, latent.to(z.dtype), d, tau)


def _taken(values: Float[Tensor, "b c m"], at: Int[Tensor, "b n"]) -> Float[Tensor, "b n m"]:
    return torch.gather(values, 1, at[..., None].expand(-1, -1, values.shape[-1]))


def _curves(
    stream: TaskStream,
    y: Int[Tensor, "b n"],
    kind: Int[Tensor, "b c"],
    group: Int[Tensor, "b c"],
    rank: Int[Tensor, "b c"],
    size: Int[Tensor, "b 1"],
    tau: Float[Tensor, " b"],
    in_space: Bool[Tensor, " b"],
) -> tuple[Float[Tensor, "b n 3"], Float[Tensor, "b c"]]:
    """Points on the curve of their component around the group's centre, and each one's reach."""
    b, n = y.shape
    c = kind.shape[1]
    t = stream.uniform(n)
    r, s = torch.gather(rank, 1, y).to(t.dtype), size.to(t.dtype)
    k = torch.gather(kind, 1, y)
    rc = rank.to(t.dtype)
    gap = (tau * (5.0 + 7.0 * stream.uniform())).clamp_min(0.25)[:, None]

    def own(values: Float[Tensor, "b c"]) -> Float[Tensor, "b n"]:
        return torch.gather(values, 1, y)

    def groups(values: Float[Tensor, "b c"]) -> Float[Tensor, "b n"]:
        return own(torch.gather(values, 1, group))

    # rings: mostly closed; shells where the table lies in space
    angle = 2.0 * math.pi * t * own(torch.clamp(0.7 + 0.6 * stream.uniform(c), max=1.0))
    direction = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(t)], -1)
    sphere = torch.nn.functional.normalize(stream.normal(n, 3), dim=-1)
    is_shell = (groups(stream.uniform(c)) < 0.5) & in_space[:, None]
    direction = torch.where(is_shell[..., None], sphere, direction)
    rings = (1.0 + r * gap)[..., None] * direction
    # nested: a blob, and rings around it
    blob = stream.normal(n, 3)
    core = own(0.1 + 0.2 * stream.uniform(c))[..., None] * blob
    nested = torch.where((r == 0)[..., None], core, (1.0 + (r - 1.0) * gap)[..., None] * direction)
    # moons: half circles, each turned over and moved on by a step
    side = 1.0 - 2.0 * (r % 2)
    drop = groups(0.2 + 0.4 * stream.uniform(c)) * (r % 2)
    moons_x = (math.pi * t).cos() + _MOON_STEP * (r - (s - 1.0) / 2.0)
    moons = torch.stack([moons_x, side * (math.pi * t).sin() + drop, torch.zeros_like(t)], -1)
    # spirals: arms of one spiral; not more turns than leave five tau between arms
    turns = torch.minimum(0.6 + 1.6 * stream.uniform(), 0.26 / (size[:, 0] * tau)).clamp_min(0.5)
    along = t.sqrt()
    winding = 2.0 * math.pi * (turns[:, None] * along + r / s)
    radius = 0.15 + 1.35 * along
    spirals = torch.stack([radius * winding.cos(), radius * winding.sin(), torch.zeros_like(t)], -1)
    # filaments: wiggly lines, denser at one end; those of a group run in parallel
    u = 2.0 * t ** own(0.6 + 1.2 * stream.uniform(c)) - 1.0
    length = 1.0 + 1.5 * stream.uniform(c)
    sag, wave = 1.6 * stream.uniform(c) - 0.8, 0.5 * stream.uniform(c)
    rise = groups(sag) * u**2 + groups(wave) * torch.sin(
        groups(2.0 + 4.0 * stream.uniform(c)) * u + groups(6.3 * stream.uniform(c))
    )
    lane = 1.6 * gap * (r - (s - 1.0) / 2.0)
    filaments = torch.stack([groups(length) * u, rise + lane, torch.zeros_like(t)], -1)
    # density: blobs of very different width, the others of a group around its first
    width = log_uniform(stream, 0.03, 0.6, c)
    first = torch.gather(width, 1, group * size)
    away = torch.where(rank == 0, torch.zeros_like(width), 2.5 * (first + width))
    bearing = 2.0 * math.pi * (stream.uniform(1) + rc / s)
    centre = torch.stack([away * bearing.cos(), away * bearing.sin(), 0.0 * away], -1)
    density = _taken(centre, y) + own(width)[..., None] * blob

    choices = torch.stack([rings, moons, spirals, filaments, nested, density], dim=2)
    curve = torch.gather(choices, 2, k[..., None, None].expand(b, n, 1, 3))[:, :, 0]
    reach = torch.stack(
        [
            1.0 + rc * gap,
            (1.1 + 0.5 * _MOON_STEP * (s - 1.0)).expand(b, c),
            torch.full_like(rc, 1.5),
            torch.gather(length, 1, group) + 0.4 + 0.8 * gap * (s - 1.0),
            1.0 + (rc - 1.0).clamp_min(0.0) * gap,
            away + 2.5 * width,
        ],
        dim=-1,
    )
    reach = torch.gather(reach, 2, kind[..., None])[..., 0] + 2.0 * tau[:, None]
    return curve, reach


def _placed(
    stream: TaskStream,
    reach: Float[Tensor, "b c"],
    group: Int[Tensor, "b c"],
    present: Bool[Tensor, "b c"],
    in_space: Bool[Tensor, " b"],
) -> tuple[Float[Tensor, "b c 3"], Float[Tensor, "b c 3 3"], Float[Tensor, "b c"]]:
    """Centres, turns and scales of the groups; pairs closer than their reaches are pushed apart."""
    b, c = reach.shape
    extent = torch.zeros_like(reach)
    extent = extent.scatter_reduce(1, group, torch.where(present, reach, 0.0), "amax")
    scale = log_uniform(stream, 0.6, 1.6, c)
    extent = extent * scale
    turn, _ = torch.linalg.qr(stream.normal(c, 3, 3))
    angle = 2.0 * math.pi * stream.uniform(c)
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    flat = [angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero, zero, zero, one]
    planar = torch.stack(flat, -1).reshape(b, c, 3, 3)
    turn = torch.where(in_space[:, None, None, None], turn, planar)
    stretch = torch.where(stream.uniform(c, 3) < 0.5, 1.0, 0.55 + 0.45 * stream.uniform(c, 3))
    turn = turn * stretch[..., None, :]
    room = 0.95 + 0.65 * stream.uniform()
    wanted = (extent[:, :, None] + extent[:, None, :]) * room[:, None, None]
    there = extent > 0
    pairs = there[:, :, None] & there[:, None, :]
    pairs = pairs & ~torch.eye(c, dtype=torch.bool, device=reach.device)
    spread = extent.amax(-1).clamp_min(0.1)[:, None, None] * there.sum(-1)[:, None, None] ** 0.5
    centres = stream.normal(c, 3) * 0.7 * spread
    centres[..., 2] *= in_space[:, None]
    if c > 1:
        for _ in range(_PUSHES):
            apart = centres[:, :, None] - centres[:, None, :]
            distance = apart.square().sum(-1).sqrt().clamp_min(1e-3)
            push = torch.where(pairs, (wanted - distance).clamp_min(0.0) / distance, 0.0)
            centres = centres + 0.45 * (push[..., None] * apart).sum(2)
    return centres, turn, scale


def _embedded(
    stream: TaskStream, latent: Float[Tensor, "b n 3"], d: int, tau: Float[Tensor, " b"]
) -> Float[Tensor, "b n d"]:
    """Q S applied to the latent dimensions, plus noise of sd tau d^(-1/4) times 0.05 to 0.5.

    Q has orthonormal columns (the identity in four of ten tables of at most 3 columns), S is
    diagonal in 0.6 to 1.
    """
    n = latent.shape[1]
    p = min(d, 3)
    Q, _ = torch.linalg.qr(stream.normal(d, p))
    plain = (stream.uniform() < 0.4) & (d <= 3)
    eye = torch.eye(d, p, dtype=Q.dtype, device=Q.device)
    Q = torch.where(plain[:, None, None], eye, Q)
    S = 0.6 + 0.4 * stream.uniform(1, p)
    sd = tau * log_uniform(stream, 0.05, 0.5) / d**0.25
    return latent[..., :p] @ (Q * S).mT + sd[:, None, None] * stream.normal(n, d)
