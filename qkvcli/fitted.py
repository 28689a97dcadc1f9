"""A fit as it is drawn: rows of a table as points, and what the database answers along a line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Curve:
    """The fit of one value column along one key column.

    Parameters
    ----------
    key, value
        What the columns are called.
    x, y
        Some of the rows, (N,); ``y`` is None where the values are classes.
    grid
        Where the fit was asked, (G,).
    lines
        What is drawn along it, each with its name: the fit, or the share of each class, (G,); NaN
        where there is no answer.
    band
        Between what the fit lies, low and high, (G,) each; or None.
    kernel, width
        The score, and the width of the kernel, None where it has none.
    rows
        How many rows there are.
    dates
        Whether the key is in days since 1970-01-01.
    """

    key: str
    value: str
    x: NDArray[np.float64]
    y: NDArray[np.float64] | None
    grid: NDArray[np.float64]
    lines: tuple[tuple[str, NDArray[np.float64]], ...]
    band: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    kernel: str
    width: float | None
    rows: int
    dates: bool = False

    @property
    def title(self) -> str:
        """What the fit is of, and how it was made."""
        days = " days" if self.dates else ""
        width = "" if self.width is None else f" of width {self.width:.4g}{days}"
        return f"{self.value} by {self.key}, {self.kernel}{width}"
