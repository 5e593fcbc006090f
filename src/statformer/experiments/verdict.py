"""What an experiment concludes: holds, fails or undecided, with the numbers that say so."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

__all__ = ["Status", "ThresholdSource", "Verdict"]

Status = Literal["holds", "fails", "undecided"]
ThresholdSource = Literal["paper", "derived", "ours"]


@dataclass(frozen=True)
class Verdict:
    """A status with the measured number, the threshold, and whose threshold it is.

    measured, threshold   one line each, for people
    threshold_source      "paper" states it, it is "derived" from what the paper proves, or "ours"
    reason                why undecided, or why it fails as far as is known
    """

    status: Status
    measured: str
    threshold: str
    threshold_source: ThresholdSource
    reason: str = ""

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise ValueError(
                f"status is {self.status!r}; pass one of {', '.join(get_args(Status))}"
            )
        if self.threshold_source not in get_args(ThresholdSource):
            known = ", ".join(get_args(ThresholdSource))
            raise ValueError(f"threshold_source is {self.threshold_source!r}; pass one of {known}")

    @staticmethod
    def below(
        measured: float,
        threshold: float,
        *,
        threshold_source: ThresholdSource,
        interval: tuple[float, float] | None = None,
        what: str = "",
    ) -> Verdict:
        """Holds where `measured` <= `threshold`; undecided where the interval straddles it.

        With an interval (low, high) of the measured number it holds for high <= threshold and
        fails for low > threshold. A number, or an end of the interval, that is NaN leaves the
        claim undecided. `what` names the number.
        """
        low, high = (measured, measured) if interval is None else interval
        text = _number_text(what, measured, interval)
        bound = f"at most {threshold:.4g}"
        if any(math.isnan(x) for x in (measured, low, high, threshold)):
            return Verdict("undecided", text, bound, threshold_source, "not a number")
        if high <= threshold:
            return Verdict("holds", text, bound, threshold_source)
        if low > threshold:
            return Verdict("fails", text, bound, threshold_source)
        return Verdict(
            "undecided", text, bound, threshold_source, "the interval straddles the threshold"
        )

    @staticmethod
    def above(
        measured: float,
        threshold: float,
        *,
        threshold_source: ThresholdSource,
        interval: tuple[float, float] | None = None,
        what: str = "",
    ) -> Verdict:
        """Holds where `measured` >= `threshold`; otherwise as `below`."""
        mirrored = Verdict.below(
            -measured,
            -threshold,
            threshold_source=threshold_source,
            interval=None if interval is None else (-interval[1], -interval[0]),
        )
        return Verdict(
            mirrored.status,
            _number_text(what, measured, interval),
            f"at least {threshold:.4g}",
            threshold_source,
            mirrored.reason,
        )

    @staticmethod
    def all_of(*verdicts: Verdict) -> Verdict:
        """Fails if one fails, else undecided if one is, else holds.

        The threshold is "ours" where one of them is, else "derived" where one is. Raises ValueError
        without a verdict.
        """
        if not verdicts:
            raise ValueError("all_of got no verdict; pass at least one")
        statuses = {verdict.status for verdict in verdicts}
        sources = {verdict.threshold_source for verdict in verdicts}
        status: Status = next((s for s in ("fails", "undecided") if s in statuses), "holds")
        source: ThresholdSource = next((s for s in ("ours", "derived") if s in sources), "paper")
        reasons = [
            f"{verdict.measured}: {verdict.reason or verdict.status}"
            for verdict in verdicts
            if verdict.status != "holds"
        ]
        return Verdict(
            status,
            "; ".join(verdict.measured for verdict in verdicts),
            "; ".join(verdict.threshold for verdict in verdicts),
            source,
            "; ".join(reasons),
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def _number_text(what: str, measured: float, interval: tuple[float, float] | None) -> str:
    text = f"{what} {measured:.4g}".strip()
    return text if interval is None else f"{text} [{interval[0]:.4g}, {interval[1]:.4g}]"
