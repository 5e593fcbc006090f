"""scikit-learn's own checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from statformer import AttentionMixture

pytestmark = [
    # some checks hand in one row, noise, or missing cells
    pytest.mark.filterwarnings("ignore::statformer.estimators.EmptyClusterWarning"),
    pytest.mark.filterwarnings("ignore::statformer.estimators.MissingValuesWarning"),
    pytest.mark.filterwarnings("ignore::statformer.estimators.OutOfDepthWarning"),
    # scikit-learn's own remarks: skipped checks, the array API
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning"),
]


@pytest.fixture(autouse=True)
def numpy_seed_is_restored() -> Iterator[None]:
    """Some of the checks, not the estimator, draw from numpy's global state."""
    state = np.random.get_state()  # noqa: NPY002
    yield
    np.random.set_state(state)  # noqa: NPY002


@parametrize_with_checks(
    [
        AttentionMixture(),
        AttentionMixture(2),
        AttentionMixture(weights="constructed"),
        AttentionMixture(2, weights="constructed"),
    ]
)
def test_scikit_learn_check(estimator: AttentionMixture, check: Callable) -> None:
    check(estimator)
