"""Descent of runs side by side: the same as each alone; ends and divergence are told."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from statformer.optim.descent import descend


class Bowl(nn.Module):
    """L = sum_k w_k^2 / 2 + sum w_k^4 / 4 per run, and an offset beside it."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w, self.offset = nn.Parameter(w), nn.Parameter(torch.ones(len(w)).double())

    def gradient(self) -> dict[str, Tensor]:
        return {"w": self.w.detach() + self.w.detach() ** 3, "offset": self.offset.detach()}


def start() -> Tensor:
    return torch.tensor([[0.3, -0.2], [1.0, 0.5], [9.0, 9.0]], dtype=torch.float64)


SIZES = torch.tensor([0.1, 0.3, 0.3], dtype=torch.float64)


def test_steps_are_those_of_the_rule_and_others_stay() -> None:
    bowl = Bowl(start()[:2])
    result = descend(bowl, bowl.gradient, {"w": SIZES[:2]}, 7)
    w = start()[:2]
    for _ in range(7):
        last = w + w**3
        w = w - SIZES[:2, None] * last
    torch.testing.assert_close(bowl.w.detach(), w)
    assert (bowl.offset == 1.0).all()  # not named, not trained
    assert result.n_steps.tolist() == [7, 7]
    torch.testing.assert_close(result.gradient_norm, last.norm(dim=1))
    torch.testing.assert_close(result.largest_gradient, (start() + start() ** 3)[:2].norm(dim=1))


def test_a_run_that_diverges_is_told_and_leaves_the_others_alone() -> None:
    bowl, alone = Bowl(start()), Bowl(start()[:2])
    result = descend(bowl, bowl.gradient, {"w": SIZES}, 40)
    descend(alone, alone.gradient, {"w": SIZES[:2]}, 40)
    assert result.diverged.tolist() == [False, False, True]
    assert result.n_steps[2] < 20
    assert not torch.isfinite(result.gradient_norm[2])
    assert torch.isfinite(result.largest_gradient[2])
    assert torch.equal(bowl.w[:2], alone.w)
    assert torch.isfinite(bowl.w[:2]).all()


def test_a_run_ends_at_its_tolerance_or_where_the_watch_says() -> None:
    bowl = Bowl(start()[:2])
    result = descend(bowl, bowl.gradient, {"w": SIZES[:2]}, 500, tolerance=1e-3)
    assert (result.gradient_norm <= 1e-3 * result.largest_gradient).all()
    assert (result.n_steps < 200).all()
    assert not result.diverged.any()
    assert result.n_steps[0] > result.n_steps[1]
    seen: list[int] = []

    def watch(step: int) -> Tensor:
        seen.append(step)
        return torch.tensor([step == 3, False])

    bowl = Bowl(start()[:2])
    result = descend(bowl, bowl.gradient, {"w": SIZES[:2], "offset": SIZES[:2]}, 6, watch=watch)
    assert seen == [0, 1, 2, 3, 4, 5, 6]
    assert result.n_steps.tolist() == [3, 6]
    torch.testing.assert_close(bowl.offset.detach(), (1 - SIZES[:2]) ** torch.tensor([3, 6]))


def test_errors_name_the_remedy() -> None:
    bowl = Bowl(start())
    with pytest.raises(ValueError, match="no weight 'W'"):
        descend(bowl, bowl.gradient, {"W": SIZES}, 1)
    with pytest.raises(ValueError, match="pass 3 numbers, one per run"):
        descend(bowl, bowl.gradient, {"w": SIZES[:2]}, 1)
