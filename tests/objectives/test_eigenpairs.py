"""Losses of eigenvalues and eigenvectors beside their formulas."""

from __future__ import annotations

import pytest
import torch

from statformer.objectives.eigenpairs import (
    abs_cosine,
    eigenvalue_loss,
    eigenvector_loss,
    relative_squared_error,
)


def test_relative_errors() -> None:
    truth, predicted = torch.tensor([[4.0, 1.0]]), torch.tensor([[3.0, 1.5]])
    torch.testing.assert_close(
        relative_squared_error(predicted, truth), torch.tensor([[0.0625, 0.25]])
    )
    assert eigenvalue_loss(predicted, truth).item() == pytest.approx(0.15625)


def test_cosines_forgive_sign_and_length() -> None:
    truth = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    predicted = torch.tensor([[[-5.0, 0.0], [3.0, 4.0]]])
    torch.testing.assert_close(abs_cosine(predicted, truth), torch.tensor([[1.0, 0.8]]))
    assert eigenvector_loss(predicted, truth).item() == pytest.approx(0.1)
    assert eigenvector_loss(-predicted, truth).item() == pytest.approx(0.1)


def test_a_prediction_of_length_zero_scores_zero() -> None:
    nothing = torch.zeros(1, 1, 2, requires_grad=True)
    found = abs_cosine(nothing, torch.tensor([[[1.0, 0.0]]]))
    assert found.item() == 0.0
    found.sum().backward()
    assert torch.isfinite(nothing.grad).all()
