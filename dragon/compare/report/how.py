"""Section on how an experiment was run: command, machine, the file, and the files of figures beside the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote

from dragon.compare.report.html import details, section
from dragon.compare.report.view import View
from dragon.counting import how_many

__all__ = ["how_section"]


def how_section(view: View, csv: Mapping[str, str], links: Sequence[str]) -> str:
    """The facts of a run, the experiment file, and the CSV files.

    csv: their texts by path. links: to those in the page that no other section has, as HTML.
    """
    about = view.about
    jobs, threads = about.get("jobs"), about.get("threads")
    side = f"{how_many(jobs, 'run')}, {how_many(threads, 'thread')} each" if jobs and threads else ""
    facts = {
        "Command": f"<code>{escape(str(about.get('command') or ''))}</code>" if about.get("command") else "",
        "Data": escape(str(view.about_or_top("dataset"))),
        "Engine": escape(f"{view.about_or_top('engine')}, {view.about_or_top('precision')}"),
        "Machine": escape(str(about.get("machine") or "")),
        "Software": escape(str(about.get("software") or "")),
        "Side by side": side + (f", {escape(str(about['executor']))}" if side and about.get("executor") else ""),
        "Budget": escape(str(about.get("budget") or "")),
        "Finished": escape(str(about.get("finished") or "")),
    }
    listed = "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in facts.items() if v)
    files = ", ".join(f'<a href="{escape(quote(name))}">{escape(name)}</a>' for name in [*csv, "results.json"])
    more = f"<dt>Other figures in this page</dt><dd>{''.join(links)}</dd>" if links else ""
    text = f"<pre><code>{escape(str(about.get('text') or ''))}</code></pre>"
    return section(
        "How it was run", f"<dl>{listed}<dt>Files beside this page</dt><dd>{files}</dd>{more}</dl>",
        details(str(about.get("file") or "The experiment file"), text) if about.get("text") else "",
    )  # fmt: skip
