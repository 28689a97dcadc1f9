"""How an answer is to be shown."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """How an answer is to be shown.

    Parameters
    ----------
    form
        ``table`` or one of the formats for machines.
    explain
        Whether to say how each weight comes about.
    defuse
        Whether CSV and TSV cells must not be taken for formulas.
    color
        When a table has colour.
    terminal
        Whether a person sees it at once.
    """

    form: str
    explain: bool = False
    defuse: bool = False
    color: str = "auto"
    terminal: bool = False
