"""A small parent for a measured process: ``python -S launcher.py REPORT_FD TERMINAL PROGRAM...``.

The kernel counts the memory of the process that a program was started from as the program's own
peak, so a large test process cannot measure a small command; this one is small. With TERMINAL
``tty`` the program's standard input becomes its controlling terminal, so that Ctrl-C arrives.
The report is one line: wait status, seconds, peak memory in bytes.
"""

import os
import signal
import sys
import time


def main() -> None:
    report, terminal, *program = sys.argv[1:]
    began = time.perf_counter()
    child = os.fork()
    if not child:
        os.close(int(report))
        try:
            # Python ignores two of these, a shell the others for what it runs in the background.
            for ignored in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT):
                signal.signal(ignored, signal.SIG_DFL)
            if terminal == "tty":
                import fcntl
                import termios

                os.setsid()
                fcntl.ioctl(0, termios.TIOCSCTTY, 1)
            os.execvp(program[0], program)  # noqa: S606 - as a shell runs it
        finally:
            os._exit(127)
    # Its copies of the streams are closed, so that a pipe ends when the program leaves it.
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - began
    os.write(int(report), f"{status} {seconds} {usage.ru_maxrss * 1024}\n".encode())


if __name__ == "__main__":
    main()
