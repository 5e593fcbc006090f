"""SVG of a chart for pages that are light or dark: real text, no background, one drawing for both.

The drawing has the colours of a light page. Rules of style sheet turn each into its partner where
the reader prefers dark; a program that knows no style sheets shows the light one.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from statformer._extras import require
from statformer.plotting.chart import Chart
from statformer.plotting.chart_drawing import (
    COLOURS,
    COLUMNS,
    FRAME,
    INK,
    MUTED,
    draw_panels,
    plain_text,
)
from statformer.plotting.chart_text import printable

DARK = dict(
    zip(
        (*COLOURS, INK, MUTED, FRAME),
        (
            *("#4AA3E0", "#F0803C", "#2BB98C", "#E09BC4", "#E6B23C", "#9AD3F2", "#B5B5B5"),
            *("#E6E8EB", "#A3ACB6", "#4A525C"),
        ),
        strict=True,
    )
)
_TAG = re.compile(r"<[^>]*>")
_NAMED = re.compile(r"""(\bid="|url\(#|href="#)""")
_OPENING = re.compile(r"<svg [^>]*>")
_VIEW = re.compile(r'viewBox="([^"]*)"')
_UNDATED = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def chart_svg(panels: Sequence[str], words: str) -> str:
    """The panels of `panel_svgs` in one file, which follows the reader's light or dark.

    words  what is seen, as `Chart.in_words` says it
    """
    parts, at = [], [0.0, 0.0]
    width = height = 0.0
    for i, svg in enumerate(panels):
        view = _VIEW.search(svg)
        size = [float(number) for number in view[1].split()[2:]] if view else [0.0, 0.0]
        at = [0.0, height] if i % COLUMNS == 0 else at
        parts.append(svg.replace("<svg ", f'<svg x="{at[0]:g}" y="{at[1]:g}" ', 1))
        at = [at[0] + size[0], at[1]]
        width, height = max(width, at[0]), max(height, at[1] + size[1])
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    style = f"<style>{dark_rules()}</style>"
    return head + _opening(width, height, words) + style + "".join(parts) + "</svg>\n"


def panel_svgs(chart: Chart) -> list[str]:
    """An `<svg>` for each panel, to stand in a page whose style sheet has `dark_rules()`."""
    drawn = zip(draw_panels(chart), chart.panels, strict=True)
    return [
        _svg(figure, Chart([panel]).in_words(), f"p{i}") for i, (figure, panel) in enumerate(drawn)
    ]


def dark_rules() -> str:
    """Style sheet that gives every colour of a chart its partner for dark pages."""
    rules = [
        f'.chart [style*="{what}: {light.lower()}"]{{{what}:{dark}!important}}'
        for light, dark in DARK.items()
        for what in ("fill", "stroke")
    ]
    return f"@media (prefers-color-scheme:dark){{{''.join(rules)}}}"


def _svg(figure: Any, words: str, prefix: str) -> str:
    """The element alone; its names begin with `prefix`, so that several can share a page."""
    matplotlib = require("matplotlib", "plot")
    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "chart"}
    with plain_text(), matplotlib.rc_context(settings):
        figure.savefig(buffer, format="svg", dpi=200, metadata=_UNDATED, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg ") :].strip()
    text = _TAG.sub(lambda tag: _NAMED.sub(rf"\g<1>{prefix}-", tag[0]), text)
    width, height = (72.0 * float(inches) for inches in figure.get_size_inches())
    return _OPENING.sub(lambda _: _opening(width, height, words), text, count=1)


def _opening(width: float, height: float, words: str) -> str:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'class="chart" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'role="img" aria-label="{escape(printable(words))}">'
    )
