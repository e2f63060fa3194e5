"""Standard streams: those that a program was started without, and when what was written to them has been read."""

from __future__ import annotations

import os
import stat
import sys
import time

__all__ = ["open_missing_streams", "wait_for_readers"]


def open_missing_streams() -> None:
    """Let stdin, stdout and stderr lead to the null device where they are closed.

    Otherwise the next file that is opened would get the number of a closed one, and messages would be written into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, number)  # inherited by child processes
            if null != number:
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def wait_for_readers(seconds: float) -> None:
    """Wait, at most so long, until the readers of stdout and stderr have read all of it, where these are pipes.

    mpiexec forwards what its processes write, and drops what it has not read yet when one of them aborts.
    """
    if sys.platform == "win32":
        return
    import fcntl
    import termios

    until = time.monotonic() + seconds
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
            while stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode) and time.monotonic() < until:
                unread = fcntl.ioctl(stream.fileno(), termios.FIONREAD, bytes(4))
                if not int.from_bytes(unread, sys.byteorder):
                    break
                time.sleep(1e-3)
        except (OSError, ValueError):  # not a pipe, closed, or nobody reads it any more
            continue
