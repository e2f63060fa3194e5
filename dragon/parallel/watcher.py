"""Starts a rank, waits for its end, and notes which rank it was and what killed it.

mpiexec cannot say that: Hydra combines the statuses of a killed rank and of those that it ends for that reason. This
file is run by a bare Python, once for each rank, and imports nothing of Dragon, so that it takes 8 MB and 20 ms.

Arguments: the notes' mark, the number of ranks, names of environment variables that may hold the rank, separated by
commas, which signal the rank gets for which one that comes here, such as TERM:TERM,HUP:HUP, then the command.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import time
from contextlib import suppress
from types import FrameType

__all__ = ["main"]

_READ_S = 1.0  # for mpiexec, to read why the rank ended


def main() -> int:
    """Run the command; its exit status, or 128 and the number of the signal that killed it.

    Of several ranks one that fails takes its watcher along, so that mpiexec ends the others. A rank that dies of a
    signal which has come by way of its watcher was ended with the job: no note is made of that.
    """
    mark, of, names, pairs, *command = sys.argv[1:]
    passed_on = {_number(name): _number(given) for name, _, given in (pair.partition(":") for pair in pairs.split(","))}
    rank = next((int(os.environ[name]) for name in names.split(",") if name in os.environ), 0)
    if sys.platform == "win32":
        raise SystemExit("needs a system that can fork")
    pid = os.fork()
    if pid == 0:
        if any(given != number for number, given in passed_on.items()):
            os.setpgid(0, 0)  # Open MPI signals whole process groups
        os.execvp(command[0], command)
    gave = set()

    def pass_on(number: int, frame: FrameType | None) -> None:
        gave.add(passed_on[number])
        with suppress(ProcessLookupError):  # it has ended
            os.kill(pid, passed_on[number])

    for number in passed_on:
        signal.signal(number, pass_on)

    def tell(**facts: object) -> None:
        facts = {"rank": rank, "of": int(of), "pid": pid, "host": platform.node(), **facts}
        os.write(2, f"{mark}{json.dumps(facts)}\n".encode())

    tell()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for number in passed_on:
        signal.signal(number, signal.SIG_IGN)  # its number may be another process's now
    if code < 0 and -code not in gave:
        tell(signal=-code, time=time.time())
    elif code > 0:
        tell(status=code)
    if code and int(of) > 1:
        # Hydra ends the others for a signal; of a status that comes before MPI_Init it takes no notice
        time.sleep(0 if code < 0 else _READ_S)
        os.kill(os.getpid(), signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _number(name: str) -> int:
    return int(signal.Signals[f"SIG{name}"])


if __name__ == "__main__":
    sys.exit(main())
