"""What a user did that cannot work, said in one line; the command line exits with code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class CommandError(Exception):
    """A request that cannot be met; the message names the argument, the value and the remedy."""

    exit_code = 2


def one_line(error: BaseException) -> str:
    """The message of `error` on one line; the type of the error where it has no message."""
    return " ".join(str(error).split()) or type(error).__name__


def nearest_name(name: str, names: Iterable[str]) -> str | None:
    """The name most like `name`, ignoring case, or None where none is near."""
    by_lower = {known.lower(): known for known in names}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def unknown_column(name: str, option: str, names: Sequence[str]) -> CommandError:
    """The error for a column that `option` names and the table lacks, with the likely spelling."""
    guess = nearest_name(name, names)
    remedy = f"did you mean {guess!r}?" if guess else f"it has {listing(names)}"
    return CommandError(f"{option} names {name!r}, which is not a column of the table; {remedy}")


def listing(names: Sequence[str], at_most: int = 8) -> str:
    """'a, b, c and 4 more'."""
    shown = ", ".join(str(name) for name in names[:at_most])
    hidden = len(names) - at_most
    return f"{shown} and {hidden} more" if hidden > 0 else shown
