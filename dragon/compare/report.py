"""report.html: one self-contained page, readable offline and in light and dark themes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from dragon.compare.plot import COLOURS, Point, Series, chart
from dragon.compare.results import LAST
from dragon.compare.stats import smooth
from dragon.compare.summary import Score, headline, pair_lines, score_name, score_of
from dragon.compare.wording import is_percent

__all__ = ["render"]

Record = dict[str, Any]

_LOSS_POINTS = 150
_RULE_COLOUR = 3  # of running averages, so that they differ from the colours of most variants


def render(results: Record) -> str:
    """The page for the results of `assemble`, to which "about" (name, text of the file, command, machine) was added."""
    about = results["about"]
    style = files("dragon.compare").joinpath("report.css").read_text(encoding="utf-8")
    sections = [
        f"<h1>{escape(about['name'])}</h1>",
        f"<p>{escape(about['description'])}</p>" if about["description"] else "",
        _setting(results),
        _headline(results),
        _findings(results),
        _curves(results),
        _averages(results),
        _pairs(results),
        _definitions(results),
        _how(results),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(about['name'])}</title>\n<style>\n{style}</style></head>\n<body>\n"
        + "\n".join(s for s in sections if s)
        + "\n</body></html>\n"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table of cells that are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _colours(results: Record) -> dict[str, int]:
    return {name: i % COLOURS for i, name in enumerate(dict.fromkeys(g["variant"] for g in results["groups"]))}


def _swatch(results: Record, variant: str) -> str:
    return f'<span class="c{_colours(results)[variant]}"><span class="swatch"></span></span>{escape(variant)}'


# -- top of the page -----------------------------------------------------------------------------------------
def _setting(results: Record) -> str:
    group = results["groups"][0]
    counts = sorted({g["iterations"] for g in results["groups"]})
    iterations = " to ".join(f"{n:,}" for n in dict.fromkeys((counts[0], counts[-1])))
    seeds = len(group["seeds"])
    data = escape(results["dataset"])
    data = f'<span class="alarm">{data.upper()}</span>' if results["synthetic"] else f"<b>{data}</b>"
    line = (
        f'<p class="soft">Data: {data} · {iterations} iterations · '
        f"{seeds} seed{'s' if seeds > 1 else ''} · engine {escape(results['engine'])}, {results['precision']} · "
        f"{escape(results['about']['machine'])}</p>"
    )
    if results["synthetic"]:
        line += (
            '<p class="warning">SYNTHETIC DATA: these images are drawn by a program. The accuracies below show that '
            "everything runs and learns; they say nothing about CIFAR-10 or any other real data set.</p>"
        )
    return line


def _score(score: Score, percent: bool) -> str:
    if score.mean is None:
        return '<span class="soft">–</span>'
    mean, _, half = score.text(percent).partition(" ± ")
    return mean + (f' <span class="pm">± {half}</span>' if half else "")


def _headline(results: Record) -> str:
    name = score_name(results)
    percent = is_percent(name)
    rows = headline(results)
    body = []
    for r in rows:
        note = f' <span class="alarm">{r.diverged} of {r.seeds} diverged</span>' if r.diverged else ""
        body.append(
            [
                _swatch(results, r.variant) + note,
                f"{r.base_lr:g}",
                _score(r.by_global, percent),
                _score(r.by_batch, percent),
                _score(r.loss, False),
                "–" if r.ms is None else f"{r.ms:.1f}",
                "–" if r.images_per_s is None else f"{r.images_per_s:,.0f}",
                "–" if r.memory_mib is None else f"{r.memory_mib:.0f}",
            ]
        )
    longest = max(g["iterations"] for g in results["groups"])
    last = f"last {LAST}" if longest > LAST else "all iterations"
    head = [
        "Variant", "Learning rate", f"Test {escape(name)}<br>running statistics",
        f"Test {escape(name)}<br>batch statistics", f"Training loss,<br>{last}", "ms per<br>iteration",
        "images<br>per second", "memory,<br>MiB",
    ]  # fmt: skip
    return _table(head, body, "headline") + f'<p class="soft">{_legend_of_intervals(results)}</p>'


def _legend_of_intervals(results: Record) -> str:
    kinds = {entry["kind"]: entry["n"] for g in results["groups"] for entry in g["final"].values() if entry["n"] > 1}
    jobs = results["about"]["jobs"]
    share = f"measured with {jobs} runs side by side" if jobs > 1 else "measured alone"
    said = [f"Time per iteration is {share}; memory is what one training net adds to a process."]
    if any("batch/" in key for g in results["groups"] for key in g["final"]):
        said.insert(0, "Running statistics are what a net is used with; batch statistics are those of each test batch.")
    for kind, n in kinds.items():
        said.insert(0, f"± and bands: {kind} over {n} seeds.")
    if not kinds:
        said.insert(0, "One seed: differences of a percent or two between variants may be chance.")
    return " ".join(said)


def _findings(results: Record) -> str:
    lines = pair_lines(results)
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


# -- curves --------------------------------------------------------------------------------------------------
def _curves(results: Record) -> str:
    name = score_name(results)
    percent = is_percent(name)
    colours = _colours(results)
    keys = "".join(f"<span>{_swatch(results, variant)}</span>" for variant in colours)
    normalised = any(f"batch/{name}" in g["curves"] for g in results["groups"])
    if normalised:
        keys += (
            '<span class="soft"><span class="key"></span>running statistics</span>'
            '<span class="soft"><span class="key dashed"></span>statistics of the test batch</span>'
        )
    wide = {pair["first"] for pair in results["pairs"]}  # so that the other one is visible on top of it
    figures = []
    for rate in dict.fromkeys(g["base_lr"] for g in results["groups"]):
        groups = [g for g in results["groups"] if g["base_lr"] == rate]
        scores = [
            Series(f"{g['variant']} ({which} statistics)", colours[g["variant"]], points, which == "batch")
            for g in groups
            for which in ("global", "batch")
            if (points := _points(g["curves"].get(f"{which}/{name}", []), 100 if percent else 1))
        ]
        y_name = f"test {name}" + (", %" if percent else "")
        title = f"Test {name} at learning rate {rate:g}"
        figures.append(_figure(title, chart(title, scores, "iteration", y_name, lambda y: f"{y:.4g}")))
        losses = [
            Series(
                g["variant"], colours[g["variant"]], _loss_points(results, g), marks=False, wide=g["variant"] in wide
            )
            for g in groups
            if len(g["diverged"]) < len(g["seeds"])
        ]
        title = f"Training loss at learning rate {rate:g}"
        figures.append(_figure(title, chart(title, losses, "iteration", "loss", lambda y: f"{y:.4g}")))
    return f'<h2>Curves</h2><div class="legend">{keys}</div><div class="charts">{"".join(figures)}</div>'


def _figure(title: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"


def _points(curve: Sequence[Record], factor: float) -> list[Point]:
    return [Point(p["iter"], factor * p["mean"], factor * p["low"], factor * p["high"]) for p in curve]


def _loss_points(results: Record, group: Record) -> list[Point]:
    """Mean over seeds, then over neighbouring iterations; the band is the smallest and largest seed."""
    runs = [
        run["losses"]
        for run in results["runs"]
        if (run["variant"], run["base_lr"]) == (group["variant"], group["base_lr"]) and not run["diverged"]
    ]
    parts = [smooth(losses, _LOSS_POINTS) for losses in runs]
    points = []
    for column in zip(*parts, strict=False):
        values = [y for _, y in column]
        points.append(Point(column[0][0], sum(values) / len(values), min(values), max(values)))
    return points


def _averages(results: Record) -> str:
    """Final scores and curves of runs that were tested with several running averages."""
    name = score_name(results)
    percent = is_percent(name)
    groups = [g for g in results["groups"] if set(_rules(g, name)) - {"global", "batch"}]
    if not groups:
        return ""
    rules = list(dict.fromkeys(rule for g in groups for rule in _rules(g, name)))
    titles = {"global": "the net's own", "batch": "none: batch statistics"}
    rows = [
        [
            _swatch(results, g["variant"]),
            f"{g['base_lr']:g}",
            *(_score(score_of(g["final"].get(f"{rule}/{name}")), percent) for rule in rules),
        ]
        for g in groups
    ]
    figures = []
    for g in groups:
        series = [
            Series(
                titles.get(rule, rule), k + _RULE_COLOUR, _points(g["curves"][f"{rule}/{name}"], 100 if percent else 1)
            )
            for k, rule in enumerate(rules)
            if f"{rule}/{name}" in g["curves"]
        ]
        title = f"{g['variant']} at learning rate {g['base_lr']:g}"
        y_name = f"test {name}" + (", %" if percent else "")
        figures.append(_figure(title, chart(title, series, "iteration", y_name, lambda y: f"{y:.4g}")))
    swatch = '<span class="c{}"><span class="swatch"></span></span>{}'
    keys = "".join(
        f"<span>{swatch.format((k + _RULE_COLOUR) % COLOURS, escape(titles.get(rule, rule)))}</span>"
        for k, rule in enumerate(rules)
    )
    return (
        "<h2>Which running average</h2><p>The same trained weights, tested with the mean and variance that each rule "
        "for the running average gives (CAFFE: fraction 0.999; EMA and LATEST: decay 0.95; CUMULATIVE: plain mean of "
        "all batches since the start).</p>"
        + _table(["Variant", "Learning rate", *(escape(titles.get(rule, rule)) for rule in rules)], rows)
        + f'<div class="legend">{keys}</div><div class="charts">{"".join(figures)}</div>'
    )


def _rules(group: Record, name: str) -> list[str]:
    return [key.split("/", 1)[0] for key in group["final"] if key.split("/", 1)[1] == name]


# -- pairs ---------------------------------------------------------------------------------------------------
def _pairs(results: Record) -> str:
    return "".join(_pair(pair) for pair in results["pairs"])


def _difference(entry: Record | None) -> str:
    if entry is None:
        return "–"
    if not entry["difference"]:
        return f'none <span class="pm">({escape(entry["name"])})</span>'
    return f'{entry["difference"]:.1e} <span class="pm">of {entry["of"]:.3g} ({escape(entry["name"])})</span>'


def _pair(pair: Record) -> str:
    first, second = escape(pair["first"]), escape(pair["second"])
    parts = ("outputs", "input_gradients", "parameter_gradients")
    differences = [
        [escape(s["setting"]), *(_difference(s["differences"][part]) for part in parts)] for s in pair["settings"]
    ]
    times = [
        [
            escape(s["setting"]),
            *(
                cell
                for part in ("forward", "backward", "both")
                for t in [s["times"][part]]
                for cell in (f"{t['first_ms']:.2f}", f"{t['second_ms']:.2f}", f"<b>{t['ratio']:.3f}</b>")
            ),
        ]
        for s in pair["settings"]
        if "times" in s
    ]
    pairs = max((s["times"]["pairs"] for s in pair["settings"] if "times" in s), default=0)
    head = ["Setting"] + [
        f"{part}<br>{what}" for part in ("forward", "backward", "both") for what in (first, second, "ratio")
    ]
    tolerances = list(pair["coincide"][0]["within"]) if pair["coincide"] else []
    together = [
        [f"{row['base_lr']:g}", str(row["seed"]), *(f"{row['within'][t]:,}" for t in tolerances), f"{row['of']:,}"]
        for row in pair["coincide"]
    ]
    by_parameter = [
        [escape(row["name"]), f"{row['difference']:.1e}", f"{row['of']:.3g}"]
        for row in pair["settings"][0]["differences"]["by_parameter"]
    ]
    return (
        f"<h2>{second} against {first}</h2>"
        f"<p>Both nets have the same weights and see the same batch of {pair['images']} images. The tables give the "
        "largest absolute difference anywhere, the largest value of the blob it was found in, and that blob's name.</p>"
        + _table(["Setting", "Outputs", "Gradient of the input", "Gradients of parameters"], differences)
        + f"<h3>Milliseconds per step</h3><p>Run in turn, {pairs} times; medians, and the median of "
        f"{second} / {first}.</p>"
        + _table(head, times)
        + "<h3>How long training stays together</h3><p>Iterations from the start for which the two losses differ by no "
        "more than the tolerance (times the loss, where that is above 1). Nets that compute the same part later, as "
        "rounding errors grow.</p>"
        + _table(["Learning rate", "Seed", *(f"to {t}" for t in tolerances), "of"], together)
        + "<details><summary>Gradient differences by parameter</summary>"
        + _table(["Parameter", "Difference", "Largest value"], by_parameter)
        + "</details>"
    )


# -- how it was made -----------------------------------------------------------------------------------------
def _definitions(results: Record) -> str:
    rows = [[_swatch(results, v["name"]), escape(v["what"])] for v in results["about"]["variants"]]
    return "<h2>What was compared</h2>" + _table(["Variant", "Definition"], rows, "texts")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _how(results: Record) -> str:
    about = results["about"]
    facts = {
        "Command": about["command"],
        "Data": results["dataset"],
        "Engine": f"{results['engine']}, {results['precision']}",
        "Machine": about["machine"],
        "Software": about["software"],
        "Side by side": f"{_count(about['jobs'], 'run')}, {_count(about['threads'], 'thread')} each",
        "Budget": about["budget"],
        "Finished": about["finished"],
    }
    listed = "".join(f"<dt>{k}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items() if v)
    return (
        f"<h2>How it was run</h2><dl>{listed}</dl>"
        f"<details><summary>{escape(about['file'])}</summary><pre><code>{escape(about['text'])}</code></pre></details>"
    )
