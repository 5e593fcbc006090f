"""Names for the slots of a token, so that a weight matrix can be written and read by name.

Axes: m token width, d features, c components.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float


class TokenLayout:
    """Consecutive named slots of a token, for example payload | bias | one.

    `layout["payload"]` is the slice of a slot; `matrix` builds a matrix from entries named by
    slots; `blocks` names the nonzero entries of a matrix again.
    """

    def __init__(self, widths: Mapping[str, int]) -> None:
        """Lay slots of the given widths side by side, in the order of the mapping.

        Raises ValueError for a negative width.
        """
        self.widths = dict(widths)
        self._slices: dict[str, slice] = {}
        end = 0
        for name, width in self.widths.items():
            if width < 0:
                raise ValueError(f"slot {name!r} has width {width}; a width is 0 or more")
            self._slices[name] = slice(end, end + width)
            end += width
        self.width = end

    @classmethod
    def mixture(cls, n_features: int, n_components: int) -> TokenLayout:
        """Slots of the data and centre tokens of a mixture; m = 2 d + 2 c + 5.

        | slot           | width | data token i        | centre token j                           |
        |----------------|-------|---------------------|------------------------------------------|
        | payload        | d     | x_i                 | mu_j                                     |
        | bias           | 1     | 0                   | -|mu_j|^2 / (2 sigma^2) + log N_j        |
        | one            | 1     | 1                   | 1                                        |
        | identity       | c     | 0                   | e_j                                      |
        | responsibility | c     | r_i (scratch)       | 0                                        |
        | is_data        | 1     | 1                   | 0                                        |
        | is_centre      | 1     | 0                   | 1                                        |
        | sum            | d     | 0                   | what the M layer brings (scratch)        |
        | count          | 1     | 0                   | N_j = sum_i r_ij (scratch)               |
        """
        return cls(
            {
                "payload": n_features,
                "bias": 1,
                "one": 1,
                "identity": n_components,
                "responsibility": n_components,
                "is_data": 1,
                "is_centre": 1,
                "sum": n_features,
                "count": 1,
            }
        )

    def __getitem__(self, slot: str) -> slice:
        """The columns of a slot.

        Raises KeyError for a name that is no slot.
        """
        if slot not in self._slices:
            raise KeyError(f"no slot {slot!r}; the slots are {', '.join(self._slices)}")
        return self._slices[slot]

    def __iter__(self) -> Iterator[str]:
        return iter(self._slices)

    def matrix(
        self, entries: Mapping[tuple[str, str], float], columns: TokenLayout | None = None
    ) -> Float[np.ndarray, "m w"]:
        """A matrix that is 0 but for named blocks: rows are our slots, columns those of `columns`.

        The block (row slot, column slot) -> value is value times the identity where the two slots
        are equally wide, and value everywhere where one of them has width 1 (a sum or a copy).
        `columns` is this layout when left out.

        Raises ValueError for a block of two other widths.
        """
        columns = columns or self
        matrix = np.zeros((self.width, columns.width))
        for (row, column), value in entries.items():
            shape = self.widths[row], columns.widths[column]
            if shape[0] == shape[1]:
                matrix[self[row], columns[column]] = value * np.eye(shape[0])
            elif 1 in shape:
                matrix[self[row], columns[column]] = value
            else:
                raise ValueError(
                    f"block ({row!r}, {column!r}) has shape {shape}; "
                    "give slots of equal width, or one of width 1"
                )
        return matrix

    def blocks(
        self, matrix: Float[np.ndarray, "m w"], columns: TokenLayout | None = None
    ) -> dict[tuple[str, str], Float[np.ndarray, "_ _"]]:
        """The blocks of a matrix that are not all zero, by the names of their slots."""
        columns = columns or self
        named = {(r, c): matrix[self[r], columns[c]] for r in self for c in columns}
        return {name: block for name, block in named.items() if np.any(block)}
