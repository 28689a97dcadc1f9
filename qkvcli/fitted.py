"""What is known of a fit: the width of its kernel, how well it predicts, and how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Bandwidth:
    """A kernel's width and how it was come by.

    Parameters
    ----------
    widths
        One for each key column, or one for all.
    rule
        ``scott``, ``silverman``, ``cv``, or nothing where it was given.
    error
        The leave-one-out error that ``cv`` reached: the mean squared error, or for text values the
        mean log-loss.
    at_edge
        Whether ``cv`` stopped at the narrowest or the widest that it tries.
    chosen
        Whether the rule itself was chosen, as none was asked for.
    with_degree
        Whether the degree of the fit was chosen with it.
    is_common
        Whether the widths of several columns are Scott's times one factor.
    """

    widths: tuple[float, ...]
    rule: str = ""
    error: float | None = None
    at_edge: bool = False
    chosen: bool = False
    with_degree: bool = False
    is_common: bool = False


@dataclass(frozen=True)
class Measures:
    """How well one value column is predicted, each row from all others.

    Parameters
    ----------
    mean_squared_error, r2
        Of numbers; R² is 1 − the mean squared error / the variance, None of a constant column.
    accuracy, log_loss
        Of text: the part of rows whose own value has the largest share, and −log of its share.
    """

    mean_squared_error: float | None = None
    r2: float | None = None
    accuracy: float | None = None
    log_loss: float | None = None

    @property
    def known(self) -> dict[str, float]:
        """The measures there are, by their names."""
        every = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in every if value is not None}


@dataclass(frozen=True, eq=False)
class Curve:
    """The fit of one value column along one key column, with rows of the table as points.

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
