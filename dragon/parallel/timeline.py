"""Timeline: what each rank did when, by its clock, as a file of trace events for Perfetto and chrome://tracing."""

from __future__ import annotations

import json
import time
from pathlib import Path

from dragon.files.atomic import write_atomically
from dragon.parallel.ranks import Ranks

__all__ = ["COMPUTE", "SEND", "Timeline"]

ROWS = COMPUTE, SEND = "compute", "gradients"  # of a rank
_MOST = 20_000  # spans of a rank; later ones are left out


class Timeline:
    """Spans of time of this rank: (row, name, begin, end) in seconds of `time.perf_counter`."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.spans: list[tuple[str, str, float, float]] = []
        ranks.wait()
        self._zero = time.perf_counter()  # about the same moment on all ranks

    def add(self, row: str, name: str, begin: float, end: float) -> None:
        """Add a span."""
        if len(self.spans) < _MOST:
            self.spans.append((row, name, begin - self._zero, end - self._zero))

    def write(self, path: Path) -> None:
        """Gather the spans of all ranks, which all have to call this; rank 0 writes the file."""
        everybody = self._ranks.agree_all(self.spans)
        if not self._ranks.leads:
            return
        events = [
            {"name": name, "ph": "X", "pid": rank, "tid": ROWS.index(row), "ts": round(begin * 1e6, 1),
             "dur": round((end - begin) * 1e6, 1)}
            for rank, spans in enumerate(everybody)
            for row, name, begin, end in spans
        ]  # fmt: skip
        names = [
            {"name": what, "ph": "M", "pid": rank, "tid": tid, "args": {"name": name}}
            for rank in range(self._ranks.size)
            for what, tid, name in [
                ("process_name", 0, f"rank {rank}"),
                *(("thread_name", tid, row) for tid, row in enumerate(ROWS)),
            ]
        ]
        write_atomically(path, json.dumps({"traceEvents": [*names, *events]}).encode())
