"""scikit-learn's own checks of the attention regressor."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from statformer.estimators.regression import AttentionRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")


@pytest.fixture(autouse=True)
def numpy_seed_is_restored() -> Iterator[None]:
    """Some of the checks, not the estimator, draw from numpy's global state."""
    state = np.random.get_state()  # noqa: NPY002
    yield
    np.random.set_state(state)  # noqa: NPY002


@parametrize_with_checks(
    [
        AttentionRegressor(),
        AttentionRegressor(lasso_penalties=()),
        AttentionRegressor(ridge_penalties=(), lasso_penalties=(0.1, 0.01)),
    ]
)
def test_scikit_learn_check(estimator: AttentionRegressor, check: Callable) -> None:
    check(estimator)
