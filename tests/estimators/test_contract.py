"""scikit-learn's own checks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from statformer import AttentionMixture

pytestmark = [
    # some checks hand in one row, noise, or missing cells
    pytest.mark.filterwarnings("ignore::statformer.estimators.EmptyClusterWarning"),
    pytest.mark.filterwarnings("ignore::statformer.estimators.MissingValuesWarning"),
    # scikit-learn's own remarks: skipped checks, the array API
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning"),
]


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
