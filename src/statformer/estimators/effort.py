"""How much is tried before an answer: one table that says what each effort buys.

A fit proposes several clusterings of a table and keeps one. Effort decides how many are proposed,
and by whom; it changes no formula. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from statformer.constructions.em_network import COVARIANCE_TYPES
from statformer.estimators.base import check_count

if TYPE_CHECKING:
    from statformer.estimators.mixture import AttentionMixture


@dataclass(frozen=True)
class Effort:
    """What one fit tries.

    n_init            starts of the learned layers at the K that is answered
    n_sweep_starts    starts of every K while K is looked for
    use_merges        whether clusters of any shape are proposed, joined from many small components
    ridges            ridges of the textbook EM that proposes beside the learned layers; () is none
    covariance_types  its covariance types
    """

    name: str
    n_init: int
    n_sweep_starts: int
    use_merges: bool
    ridges: tuple[float, ...]
    covariance_types: tuple[str, ...]


# The counting network learned on sweeps of two starts, so no effort sweeps with fewer.
EFFORTS = {
    effort.name: effort
    for effort in (
        Effort("fast", 10, 2, False, (), ()),
        Effort("balanced", 10, 2, True, (1e-2,), COVARIANCE_TYPES),
        Effort("best", 20, 4, True, (1e-4, 1e-2, 5e-2), COVARIANCE_TYPES),
    )
}


def effort_of(model: AttentionMixture) -> Effort:
    """The effort that `model.effort` names; a number in `model.n_init` takes the place of its own.

    Raises ValueError where the name is unknown or n_init is below 1, TypeError where n_init is no
    whole number.
    """
    effort = EFFORTS.get(model.effort) if isinstance(model.effort, str) else None
    if effort is None:
        raise ValueError(f"effort={model.effort!r} is unknown; give {known_efforts()}")
    if model.n_init is None:
        return effort
    return replace(effort, n_init=check_count("n_init", model.n_init))


def known_efforts() -> str:
    """'fast', 'balanced' or 'best', for messages."""
    *first, last = (repr(name) for name in EFFORTS)
    return f"{', '.join(first)} or {last}"
