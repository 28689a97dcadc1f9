"""Matplotlib, imported so that nothing about it depends on where or as whom the program runs."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def matplotlib_imported() -> Iterator[None]:
    """Import Matplotlib with its own defaults.

    Importing it reads ``MPLBACKEND`` and the first ``matplotlibrc`` of the working directory,
    ``MATPLOTLIBRC`` and the home; a wrong one raises. So it is imported from beside its own. The
    temporary folder that it makes if the home is not writable is removed.
    """
    logging.getLogger("matplotlib").setLevel(logging.CRITICAL)
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name="matplotlib")
    for name in ("MPLBACKEND", "MATPLOTLIBRC"):
        os.environ.pop(name, None)
    before = os.environ.get("MPLCONFIGDIR")
    if before:
        before = os.environ["MPLCONFIGDIR"] = os.path.abspath(before)
    here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
    try:
        try:
            os.chdir(os.path.join(os.path.dirname(spec.origin), "mpl-data"))
            import matplotlib  # noqa: F401, ICN001
        finally:
            os.fchdir(here)
            os.close(here)
        yield
    finally:
        after = os.environ.get("MPLCONFIGDIR")
        if after is not None and after != before:
            with suppress(OSError):
                shutil.rmtree(after)


def matplotlib_colormaps() -> Mapping[str, Any]:
    """Return Matplotlib's colour maps by name."""
    with matplotlib_imported():
        import matplotlib as mpl

        return mpl.colormaps
