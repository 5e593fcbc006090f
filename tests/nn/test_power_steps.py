"""The division by a length and the sign, beside their formulas."""

from __future__ import annotations

import pytest
import torch

from statformer.nn.layout import TokenLayout
from statformer.nn.power_steps import Normalise, Sign

LAYOUT = TokenLayout({"y": 2, "unit": 2, "root": 2, "length": 1})


def divided(y: list[float]) -> dict[str, list[float]]:
    rows = Normalise.rows(2)
    step = Normalise(
        torch.from_numpy(LAYOUT.matrix({("y", "y"): 1.0}, TokenLayout({"y": 2}))),
        torch.from_numpy(rows.matrix({(slot, slot): 1.0 for slot in rows}, LAYOUT)),
        torch.from_numpy(LAYOUT.matrix({("y", "y"): -1.0})),
    )
    H = torch.zeros(1, 1, LAYOUT.width, dtype=torch.float64)
    H[..., LAYOUT["y"]] = torch.tensor(y, dtype=torch.float64)
    after = (H + step(H))[0, 0]
    return {slot: after[LAYOUT[slot]].tolist() for slot in LAYOUT}


def test_a_vector_becomes_its_direction_its_root_and_its_length() -> None:
    found = divided([9.0, 12.0])
    assert found["unit"] == pytest.approx([0.6, 0.8])
    assert found["root"] == pytest.approx([9.0 / 15.0**0.5, 12.0 / 15.0**0.5])
    assert found["length"] == pytest.approx([15.0])
    assert found["y"] == [0.0, 0.0]


def test_nothing_stays_nothing() -> None:
    assert all(value == 0.0 for values in divided([0.0, 0.0]).values() for value in values)


def test_sign_hard_and_soft() -> None:
    layout = TokenLayout({"other": 1, "s": 1})
    H = torch.tensor([[[5.0, -2.0], [5.0, 0.0], [5.0, 0.3]]], dtype=torch.float64)
    hard, soft = Sign(layout, "s", None), Sign(layout, "s", 2.0)
    assert (H + hard(H))[0].tolist() == [[5.0, -1.0], [5.0, 1.0], [5.0, 1.0]]
    torch.testing.assert_close((H + soft(H))[..., 1], torch.tanh(2.0 * H[..., 1]))
    assert (hard.operations, soft.operations) == (("comparison with 0",), ("tanh",))
