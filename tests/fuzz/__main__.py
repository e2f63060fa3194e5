"""Damaged files for minutes: `python -m tests.fuzz --minutes 10 caffemodel` (all kinds when none is named).

Each kind runs in a process of its own, which may hold 1.5 GiB more than at its start, and compute 10 seconds and sleep
60 for one example; time in which it is stopped or waits for a processor does not count. What raises anything but an
error of ours, hangs, grows or crashes is kept in the folder of --out, under the name of its kind and a number;
`--again FILE...` reads such a file once more, here, with a traceback. Minutes are of computing, so that a busy machine
tries as many examples as a free one.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from tests.fuzz.kinds import KINDS, examples, load
from tests.fuzz.watch import Ended, watched

SECONDS, ASLEEP = 10, 60  # of computing and of sleeping, for one example
ORPHANED = 3600  # seconds after which a child ends that nobody watches
ROOM = 3 << 29  # bytes that a child may take beyond what it starts with


def main() -> int:
    if "--child" not in sys.argv:
        load()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kinds", nargs="*", help=f"which of {', '.join(KINDS)}; all of them when none is named")
    parser.add_argument("--minutes", type=float, default=10, help="of computing, for each kind")
    parser.add_argument("--least", type=int, default=0, help="examples of each kind, however long they take")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="folder for what went wrong")
    parser.add_argument("--again", type=Path, nargs="+", default=[], help="files kept earlier, to be read once more")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if unknown := set(chosen.kinds) - set(KINDS):
        parser.error(f"unknown kind {sorted(unknown)[0]}; known are {', '.join(KINDS)}")
    if chosen.again:
        return again(chosen.again)
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.child:
        load(chosen.child)
        return child(chosen.child, chosen.minutes, chosen.seed, chosen.out, chosen.least)
    return max(supervise(name, chosen.minutes, chosen.seed, chosen.out, chosen.least) for name in chosen.kinds or KINDS)


def again(files: list[Path]) -> int:
    """Read files that were kept; the first fault comes out as a traceback."""
    for path in files:
        with tempfile.TemporaryDirectory() as folder:
            _, read = KINDS[path.name.split("-")[0]](Path(folder))
            read(path.read_bytes())
            print(f"{path}: no fault")
    return 0


def supervise(name: str, minutes: float, seed: int, out: Path, least: int = 0) -> int:
    """Children of one kind until the time is over: one that crashes or hangs is followed by another."""
    end = _computed() + minutes * 60
    done = faults = 0
    peak = 0
    while (left := end - _computed()) > 0:
        command = [sys.executable, "-m", "tests.fuzz", "--child", name, "--minutes", str(left / 60)]
        command += ["--least", str(least)]
        run = watched([*command, "--seed", str(seed), "--out", str(out)], out / f".{name}.now", ASLEEP)
        seed += 1
        tried, wrong, most = _counts(out / f".{name}.counts")
        done, faults, peak = done + tried, faults + wrong, max(peak, most)
        if run.code:
            faults += 1
            kept = _keep(out, name, (out / f".{name}.now").read_bytes())
            print(f"{name}: {kept}: {_how(run)}\n{run.err[-2500:]}", flush=True)
        print(run.out, end="", flush=True)
    for left_over in (".now", ".counts"):
        (out / f".{name}{left_over}").unlink(missing_ok=True)
    found = f"{done} examples in {minutes:g} minutes of computing, {faults} faults, peak {peak >> 20} MiB"
    print(f"{name}: {found}", flush=True)
    return int(faults > 0)


def _how(run: Ended) -> str:
    """How a child ended that did not end by itself."""
    if run.slept:
        return f"hung: slept for {ASLEEP} seconds"
    if run.code == -signal.SIGPROF:
        return f"hung: computed for {SECONDS} seconds"
    return f"signal {-run.code}" if run.code < 0 else f"ended with {run.code}"


def _computed() -> float:
    """Seconds of processor time of this process and of its children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _counts(path: Path) -> tuple[int, int, int]:
    try:
        tried, wrong, most = map(int, path.read_text().split())
    except (OSError, ValueError):
        return 0, 0, 0
    return tried, wrong, most


def _keep(out: Path, name: str, content: bytes) -> Path:
    path = out / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
    path.write_bytes(content)
    return path


def child(name: str, minutes: float, seed: int, out: Path, least: int = 0) -> int:
    """Examples in this process, at least `least`; each is on the disk before it is tried."""
    warnings.simplefilter("ignore")
    now = os.open(out / f".{name}.now", os.O_RDWR | os.O_CREAT)
    faulthandler.enable()  # for the SIGABRT of who watches
    faulthandler.register(signal.SIGPROF, chain=True)
    tried = wrong = 0
    kinds_seen: set[str] = set()
    end = _computed() + minutes * 60
    with tempfile.TemporaryDirectory() as folder:
        for content, read in examples(name, Path(folder), seed):
            if not tried:  # everything is imported by now
                pages = int(Path("/proc/self/statm").read_text().split()[0])
                limit = pages * os.sysconf("SC_PAGE_SIZE") + ROOM
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            os.ftruncate(now, 0)
            os.pwrite(now, content, 0)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                faulthandler.dump_traceback_later(ORPHANED, exit=True)
            except RuntimeError:  # the threads of earlier examples have taken all room: another child goes on
                break
            try:
                read(content)
            except Exception as error:
                wrong += 1
                frame = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{type(error).__name__} {frame.filename}:{frame.lineno}"
                key = where + (str(error)[:60] if isinstance(error, AssertionError) else "")
                if key not in kinds_seen:  # one example of each is enough
                    kinds_seen.add(key)
                    print(f"{name}: {_keep(out, name, content)}: {where}: {str(error)[:300]}", flush=True)
            tried += 1
            over = tried >= least and _computed() > end
            if tried % 20 == 0 or over:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
                (out / f".{name}.counts").write_text(f"{tried} {wrong} {peak}")
            if over:
                break
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
    return 0


if __name__ == "__main__":
    sys.exit(main())
