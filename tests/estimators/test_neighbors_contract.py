"""scikit-learn's own checks of the attention neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

from statformer.estimators.neighbors import (
    AttentionNeighborsClassifier,
    AttentionNeighborsRegressor,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")


@pytest.fixture(autouse=True)
def numpy_seed_is_restored() -> Iterator[None]:
    """Some of the checks, not the estimators, draw from numpy's global state."""
    state = np.random.get_state()  # noqa: NPY002
    yield
    np.random.set_state(state)  # noqa: NPY002


@parametrize_with_checks(
    [
        kind(temperature, standardize=standardize)
        for kind in (AttentionNeighborsClassifier, AttentionNeighborsRegressor)
        for temperature, standardize in ((None, False), (0, False), (1.0, True))
    ]
)
def test_scikit_learn_check(estimator: BaseEstimator, check: Callable) -> None:
    check(estimator)
