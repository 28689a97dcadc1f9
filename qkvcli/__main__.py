"""The process: its environment before anything is imported, and its death by signal after."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


class Terminated(BaseException):
    """SIGTERM arrived; unwinding lets open outputs remove their temporary files."""


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _die_by(number: signal.Signals) -> NoReturn:
    """End as if the signal had never been caught, so that a shell sees 128 + its number."""
    signal.signal(number, signal.SIG_DFL)
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
        _die_by(signal.SIGINT)
    except Terminated:
        _die_by(signal.SIGTERM)
    except BrokenPipeError:
        _die_by(signal.SIGPIPE)


if __name__ == "__main__":
    main()
