"""Discrete Bayesian networks in the interchange format BIF: read strictly, written plainly.

A file is tokens, and nothing in it is executed. Its size, and the size of every table, is checked
before memory is taken. Names are words, or text between double quotes where a file has it.

Axes: the table of a variable has one axis per parent, in the order of the file, and its own last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

MAX_BYTES = 2**25
MAX_STATES = 2**10
MAX_CELLS = 2**22
_TOKEN = re.compile(r'//[^\n]*|/\*|"[^"\n]*"|[{}()\[\],;|]|[^\s"{}()\[\],;|]+|"')
_WORD = re.compile(r'[^\s"{}()\[\],;|/]+')
_PUNCTUATION = set('{}()[],;|"')

Table = Float[np.ndarray, "..."]


class BifError(ValueError):
    """A file that is no discrete BIF, or not a whole one; the message names file and line."""


@dataclass(frozen=True)
class Bif:
    """The variables of a file in its order: their states, their parents and their tables."""

    states: Mapping[str, tuple[str, ...]]
    parents: Mapping[str, tuple[str, ...]]
    tables: Mapping[str, Table]


def read_bif(path: Path) -> Bif:
    """The network in the file `path`.

    Raises FileNotFoundError where there is none; BifError where it is too large, malformed, lacks
    or repeats a variable, a table or a row, or holds a number that is no probability.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise BifError(f"{path}: {size} bytes; at most {MAX_BYTES} are read")
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise BifError(f"{path}: byte {error.start} is not UTF-8; BIF is text") from None
    return _Parser(str(path), text).network()


def bif_text(bif: Bif) -> str:
    """The text of a file that holds the network; other programs read it.

    Raises ValueError for a name that is not one word: the format has no marks to protect it.
    """
    for name, states in bif.states.items():
        for word in (name, *states):
            if not _WORD.fullmatch(word):
                raise ValueError(
                    f"BIF cannot hold the name {word!r} (variable {name!r}); it must be one word "
                    "without brackets, commas, bars or quotes: rename it"
                )
    return "".join(_lines(bif))


def _lines(bif: Bif) -> list[str]:
    lines = ["network unknown {\n}\n"]
    for name, states in bif.states.items():
        listed = ", ".join(states)
        lines.append(f"variable {name} {{\n  type discrete [ {len(states)} ] {{ {listed} }};\n}}\n")
    for name, parents in bif.parents.items():
        given = f" | {', '.join(parents)}" if parents else ""
        lines.append(f"probability ( {name}{given} ) {{\n")
        table = bif.tables[name]
        for configuration in np.ndindex(*table.shape[:-1]):
            values = ", ".join(repr(float(p)) for p in table[configuration])
            words = [bif.states[p][k] for p, k in zip(parents, configuration, strict=True)]
            lines.append(f"  ({', '.join(words)}) {values};\n" if words else f"  table {values};\n")
        lines.append("}\n")
    return lines


class _Parser:
    """One pass over the tokens, which are taken one at a time."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self.token, self.start, self.end = "", 0, 0
        self._advance()
        self.states: dict[str, tuple[str, ...]] = {}
        self.parents: dict[str, tuple[str, ...]] = {}
        self.tables: dict[str, Table] = {}

    def network(self) -> Bif:
        blocks: dict[str, Callable[[], None]] = {
            "network": self._header,
            "variable": self._variable,
            "probability": self._probability,
        }
        while self.token:
            kind = self._next()
            if kind not in blocks:
                raise self._error(f"found {kind!r} where network, variable or probability begins")
            blocks[kind]()
        if not self.states:
            raise BifError(f"{self.name}: holds no variable; is it a BIF file?")
        without = [name for name in self.states if name not in self.parents]
        if without:
            raise BifError(f"{self.name}: variable {without[0]!r} has no probability block")
        in_order = {name: self.parents[name] for name in self.states}
        return Bif(self.states, in_order, {name: self.tables[name] for name in self.states})

    # -- blocks --------------------------------------------------------------------------------

    def _header(self) -> None:
        while self._peek() != "{":
            self._next()
        self._expect("{")
        while not self._taken("}"):
            self._property()

    def _variable(self) -> None:
        name = self._word()
        if name in self.states:
            raise self._error(f"variable {name!r} is declared twice")
        self._expect("{")
        states: tuple[str, ...] | None = None
        while not self._taken("}"):
            if self._peek() != "type":
                self._property()
                continue
            self._expect("type", "discrete", "[")
            n = self._count()
            self._expect("]", "{")
            states = tuple(self._words("}"))
            self._expect(";")
            if len(states) != n or len(set(states)) != n:
                raise self._error(
                    f"variable {name!r} lists {len(states)} states, {len(set(states))} of them "
                    f"distinct, and says {n}"
                )
        if states is None:
            raise self._error(f"variable {name!r} has no 'type discrete'")
        self.states[name] = states

    def _probability(self) -> None:
        self._expect("(")
        child = self._known()
        parents: list[str] = []
        if self._taken("|"):
            while not parents or self._taken(","):
                parents.append(self._known())
        self._expect(")")
        if child in self.parents:
            raise self._error(f"variable {child!r} has two probability blocks")
        if child in parents or len(set(parents)) < len(parents):
            raise self._error(f"variable {child!r} lists a parent twice, or itself")
        sizes = [len(self.states[parent]) for parent in parents]
        d = len(self.states[child])
        if math.prod(sizes) * d > MAX_CELLS:
            raise self._error(f"the table of {child!r} has more than {MAX_CELLS} numbers")
        self.parents[child] = tuple(parents)
        self.tables[child] = self._table(child, parents, [*sizes, d])

    def _table(self, child: str, parents: list[str], shape: list[int]) -> Table:
        table = np.full(shape, np.nan)
        default = None
        self._expect("{")
        while not self._taken("}"):
            if self._taken("table"):
                # The child is declared first, and the last name runs fastest.
                values = self._numbers(math.prod(shape)).reshape(shape[-1], *shape[:-1])
                table = np.moveaxis(values, 0, -1).copy()
            elif self._taken("default"):
                default = self._numbers(shape[-1])
            elif self._taken("("):
                row = self._configuration(parents)
                if not np.isnan(table[row]).all():
                    raise self._error(f"the table of {child!r} has a row twice")
                table[row] = self._numbers(shape[-1])
            else:
                self._property()
        if default is not None:
            table[np.isnan(table).all(axis=-1)] = default
        if np.isnan(table).any():
            raise self._error(f"the table of {child!r} lacks a row")
        if np.abs(table.sum(axis=-1) - 1.0).max() > 1e-2:
            raise self._error(f"a row of the table of {child!r} does not sum to 1")
        return table

    def _configuration(self, parents: list[str]) -> tuple[int, ...]:
        words = self._words(")")
        if len(words) != len(parents):
            raise self._error(f"a row names {len(words)} states for {len(parents)} parents")
        for parent, word in zip(parents, words, strict=True):
            if word not in self.states[parent]:
                raise self._error(f"{word!r} is no state of {parent!r}")
        return tuple(self.states[p].index(word) for p, word in zip(parents, words, strict=True))

    # -- tokens --------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Find the next token that is no comment; "" at the end of the file."""
        found = _TOKEN.search(self.text, self.end)
        while found is not None and found[0].startswith(("//", "/*")):
            end = found.end()
            if found[0] == "/*":
                end = self.text.find("*/", end) + 2
                if end == 1:
                    raise BifError(f"{self.name}: a comment is not closed")
            found = _TOKEN.search(self.text, end)
        self.token = "" if found is None else found[0]
        self.start, self.end = (len(self.text),) * 2 if found is None else found.span()

    def _peek(self) -> str:
        if not self.token:
            raise BifError(f"{self.name}: ends in the middle of a block; it is truncated")
        return self.token

    def _next(self) -> str:
        token = self._peek()
        self._advance()
        return token

    def _taken(self, token: str) -> bool:
        found = self._peek() == token
        if found:
            self._advance()
        return found

    def _expect(self, *tokens: str) -> None:
        for token in tokens:
            found = self._next()
            if found != token:
                raise self._error(f"expected {token!r}, found {found!r}")

    def _word(self) -> str:
        word = self._next()
        if word in _PUNCTUATION:
            raise self._error(f"expected a name, found {word!r}")
        return word.strip('"')

    def _words(self, end: str) -> list[str]:
        words = [self._word()]
        while not self._taken(end):
            self._expect(",")
            words.append(self._word())
        return words

    def _known(self) -> str:
        name = self._word()
        if name not in self.states:
            raise self._error(f"variable {name!r} is not declared above")
        return name

    def _count(self) -> int:
        token = self._next()
        if not re.fullmatch(r"[0-9]{1,6}", token) or not 1 <= int(token) <= MAX_STATES:
            raise self._error(f"{token!r} is no number of states from 1 to {MAX_STATES}")
        return int(token)

    def _numbers(self, n: int) -> Float[np.ndarray, " n"]:
        values: list[float] = []
        while not self._taken(";"):
            self._taken(",")
            token = self._next()
            try:
                values.append(float(token))
            except ValueError:
                raise self._error(f"expected a number, found {token!r}") from None
            if not 0.0 <= values[-1] <= 1.0:
                raise self._error(f"{token!r} is no probability")
        if len(values) != n:
            raise self._error(f"{len(values)} numbers where {n} are needed")
        return np.array(values)

    def _property(self) -> None:
        """`property ... ;` says nothing about the network and is skipped."""
        self._expect("property")
        while not self._taken(";"):
            self._next()

    def _error(self, what: str) -> BifError:
        line = self.text.count("\n", 0, self.start) + 1
        return BifError(f"{self.name}, line {line}: {what}")
