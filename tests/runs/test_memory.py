"""Peak memory above what was there."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from statformer.runs.memory import peak_above

MiB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_peak_of_what_was_given_back_counts_and_what_was_there_before_does_not() -> None:
    there = np.ones(32 * MiB // 8)
    large = peak_above(lambda: np.ones(64 * MiB // 8).sum())
    small = peak_above(lambda: np.ones(MiB // 8).sum())
    assert large is not None
    assert small is not None
    assert 56 * MiB < large < 96 * MiB
    assert small < 24 * MiB
    assert there[0] == 1.0
