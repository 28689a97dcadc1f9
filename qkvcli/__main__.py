"""The process: its environment before anything is imported, and its death by signal after."""

from __future__ import annotations

import gc
import os
import signal
import sys

TYPE_CHECKING = False  # typing takes 6 ms, in which an interruption would not be silent
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn


class Terminated(BaseException):
    """SIGTERM arrived; unwinding lets open outputs remove their temporary files."""


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _caught(number: signal.Signals) -> signal.Signals:
    """Have another signal end the process at once."""
    for each in (number, signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)
    return number


def _die_by(number: signal.Signals) -> NoReturn:
    """End as if the signal had never been caught, so that a shell sees 128 + its number."""
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # not reached while the signal is not blocked


def main() -> NoReturn:
    """Run the command line and leave with its exit status."""
    # OpenBLAS starts a thread a core at import and would fight the fold's own threads.
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        signal.signal(signal.SIGTERM, _terminate)
        from qkvcli.cli import run  # inside, so that Ctrl-C during the import is silent too

        status = run(sys.argv[1:])
        # Everything is written and flushed; tearing the interpreter down would only cost time.
        os._exit(status)
    except KeyboardInterrupt:
        number = _caught(signal.SIGINT)
    except Terminated:
        number = _caught(signal.SIGTERM)
    except BrokenPipeError:
        number = _caught(signal.SIGPIPE)
    # The exception is gone, and with it the last that held the frames it came through: a context
    # manager that was interrupted between being made and being entered clears up as it goes too.
    gc.collect()
    _die_by(number)


if __name__ == "__main__":
    main()
