"""How much is tried before an answer: one table that says what each effort buys.

A fit proposes several clusterings of a table and keeps one. Effort decides how many are proposed,
and by whom; it changes no formula. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from statformer.estimators.base import check_count
from statformer.estimators.proposers import GIVEN, SWEEP, Plan
from statformer.proposals.kinds import LEARNED, LLOYD, MIDDLE

if TYPE_CHECKING:
    from statformer.estimators.mixture import AttentionMixture


@dataclass(frozen=True)
class Effort:
    """What one fit tries.

    sweep   who proposes at every K while K is looked for, from how many starts
    given   who proposes at the K that is answered
    n_init  starts of textbook EM with weights="constructed"
    """

    name: str
    sweep: Plan
    given: Plan
    n_init: int = 10


_QUICK = (LEARNED, MIDDLE, LLOYD, "full", "diagonal", "tied", "gap")
EFFORTS = {
    effort.name: effort
    for effort in (
        Effort("fast", Plan(1, (LEARNED, LLOYD)), Plan(4, _QUICK)),
        Effort("balanced", SWEEP, GIVEN),
        Effort("best", replace(SWEEP, n_starts=3), replace(GIVEN, n_starts=24, n_kept=4), 20),
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
    n_init = check_count("n_init", model.n_init)
    return replace(effort, n_init=n_init, given=replace(effort.given, n_starts=n_init))


def known_efforts() -> str:
    """'fast', 'balanced' or 'best', for messages."""
    *first, last = (repr(name) for name in EFFORTS)
    return f"{', '.join(first)} or {last}"
