"""One base for everything that ends a command, each with its exit status."""


class QkvError(ValueError):
    """A failure that reaches the user as one line: an exception in Python, a line on stderr.

    A message names a parameter in Python's words, between backquotes: `temperature`,
    `mode='exact'`. The command line shows the option of that name.

    Parameters
    ----------
    message
        What is wrong and what to do about it, without the program's name.
    where
        The file and, as ``file:line`` or ``file:line:column``, the place in it.
    """

    exit_status = 2

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class UsageError(QkvError):
    """An option or an argument that cannot be used."""


class InputError(QkvError):
    """A file, a pipe or an array that does not hold what it should."""


class OutputError(QkvError):
    """An output that cannot be written, or was not written whole."""


class NoMatchError(QkvError):
    """No key was attended to; the status is that of grep."""

    exit_status = 1


def did_you_mean(word: str, choices: list[str] | tuple[str, ...], *, several: bool = True) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest choice.

    Where none is near, ``several`` of the choices are named, or nothing is.

    Examples
    --------
    >>> did_you_mean("sofmax", ["exact", "softmax"])
    "; did you mean 'softmax'?"
    """
    from difflib import get_close_matches  # only when something was mistyped

    folded = {choice.casefold(): choice for choice in choices}
    near = get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{folded[near[0]]}'?"
    if not several:
        return ""
    shown = ", ".join(choices[:12]) + (", …" if len(choices) > 12 else "")
    return f"; there is {shown}" if shown else ""
