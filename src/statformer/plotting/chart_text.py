"""Texts of a chart: lines that fit, characters that any file may hold, numbers that read easily."""

from __future__ import annotations

import math
import textwrap
import unicodedata

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def printable(text: str) -> str:
    """The text without control characters, which no SVG may hold."""
    return "".join(c if unicodedata.category(c)[0] != "C" else " " for c in text)


def wrapped(text: str, width: int) -> str:
    """Printable lines of at most `width` characters."""
    return "\n".join(textwrap.wrap(printable(text), width))


def number_text(value: float) -> str:
    """0.01, 250 and 20k as they are; 2·10⁻⁵ and 10⁶ in powers of ten."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    value = float(f"{value:.4g}")
    if 1e-3 <= abs(value) < 1e5:
        text = f"{value:.4g}" if abs(value) < 1e4 else f"{value / 1000:.4g}k"
        return text.replace("-", "−")
    digits, _, power = f"{value:.2e}".partition("e")
    factor = f"{float(digits):g}".replace("-", "−")
    ten = "10" + str(int(power)).translate(_SUPERSCRIPTS)
    return ten if factor == "1" else f"−{ten}" if factor == "−1" else f"{factor}·{ten}"
