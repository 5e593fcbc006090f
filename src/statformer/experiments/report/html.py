"""HTML elements as functions: what is not `Html` already is escaped, so no text becomes markup."""

from __future__ import annotations

import unicodedata
from html import escape

VOID = frozenset({"br", "col", "hr", "input", "link", "meta"})


class Html(str):
    """Text that is markup. Only `element`, `join` and drawings of our own make it."""

    __slots__ = ()


def element(name: str, /, *children: object, **attributes: object) -> Html:
    """`<name attribute="...">children</name>`; children that are not Html are escaped.

    An underscore at the end of an attribute's name is dropped and others become hyphens, so
    `class_` and `aria_label` can be written. None and False leave an attribute out, True leaves it
    without a value.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: object) -> Html:
    """Children one after the other; None is nothing."""
    return Html("".join(_markup(child) for child in children if child is not None))


def _markup(child: object) -> str:
    return child if isinstance(child, Html) else escape(_clean(str(child)))


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(_clean(str(value)))}"'


def _clean(text: str) -> str:
    """Control characters and halves of surrogate pairs have no place in a page."""
    kept = {"\n", "\t"}
    return "".join(c if c in kept or unicodedata.category(c)[0] != "C" else "�" for c in text)
