"""A page with the picture of a net: it zooms, searches and opens boxes, and loads nothing."""

from __future__ import annotations

import json
from html import escape

from dragon.counting import how_many
from dragon.drawing.boxes import shape_text
from dragon.drawing.picture import MARGIN, Picture
from dragon.drawing.svg import drawing, resource

__all__ = ["page"]

_HELP = "Drag or arrows: move. Wheel, pinch, + and -: zoom. 0: whole net. /: search. Enter or click: open a box."


def page(picture: Picture, remark: str = "") -> str:
    """The HTML of a picture. remark: a line below the title, such as what shapes were assumed."""
    width, height = picture.size
    name = escape(picture.diagram.name)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title>\n<style>\n{resource('net.css')}{resource('page.css')}</style></head>\n<body>\n"
        f"<header><h1>{name}</h1>"
        f'<p class="soft">{escape(_summary(picture))}</p>' + (f'<p class="soft">{escape(remark)}</p>' if remark else "")
        + f"{_tools()}</header>\n"
        f'<main id="stage" tabindex="0" aria-label="Picture of the net. {_HELP}">'
        f'<svg id="picture" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}">\n{drawing(picture, live=True)}</svg></main>\n'
        f'<div id="slices"></div>\n<details id="layers"><summary>All layers</summary>{_table(picture)}</details>\n'
        f'<script type="application/json" id="data">{_data(picture)}</script>\n'
        f"<script>\n{resource('page.js')}</script>\n</body></html>\n"
    )  # fmt: skip


def _summary(picture: Picture) -> str:
    parts = [part for box in picture.diagram.boxes for part in box.parts]
    learned = sum(part.facts.learned for part in parts if part.facts)
    work = sum(part.facts.multiply_adds for part in parts if part.facts)
    said = [f"{how_many(len(parts), 'layer')} in {how_many(len(picture.diagram.boxes), 'box')}"]
    said += [how_many(learned, "parameter")] * bool(learned) + [f"{how_many(work, 'multiply-add')} for a batch"] * bool(
        work
    )
    return ", ".join(said)


def _tools() -> str:
    return (
        '<div class="tools" role="search"><input id="find" type="search" placeholder="Search layers" '
        'aria-label="Search layers by name, type or shape"><span id="count" aria-live="polite"></span>'
        '<button id="back" title="previous match">↑</button><button id="next" title="next match">↓</button>'
        '<button id="smaller" title="zoom out">−</button><button id="larger" title="zoom in">+</button>'
        '<button id="fit" title="the whole net">fit</button><button id="all">open all</button></div>'
        f'<p class="soft help">{escape(_HELP)}</p>'
    )


def _table(picture: Picture) -> str:
    rows = []
    for k, box in enumerate(picture.diagram.boxes):
        for part in box.parts:
            facts = part.facts
            cells = [
                f'<a href="#{escape(part.name)}" data-box="{k}">{escape(part.name)}</a>',
                escape(part.type),
                escape(part.settings),
                escape(", ".join(shape_text(shape) for shape in facts.shapes)) if facts else "",
                f"{facts.learned:,}" if facts else "",
                f"{facts.multiply_adds:,}" if facts else "",
            ]
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = ("Layer", "Type", "Settings", "Tops", "Parameters", "Multiply-adds")
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _data(picture: Picture) -> str:
    """What the script needs to open boxes: sizes, ranks and ways; in HTML no `<` may end the element."""
    boxes = [
        {
            "rank": rank,
            "centre": round(MARGIN + centre, 1),
            "width": round(picture.widths[k], 1),
            "closed": picture.height(k, False),
            "opened": picture.height(k, True),
            "names": [part.name for part in box.parts],
            "text": " ".join([*picture.closed_lines[k], *picture.open_lines[k]]).lower(),
        }
        for k, (box, rank, centre) in enumerate(
            zip(picture.diagram.boxes, picture.layout.ranks, picture.layout.centres, strict=True)
        )
    ]
    arrows = [
        {"from": start, "route": [[rank, round(MARGIN + where, 1)] for rank, where in route]}
        for (start, _, _), route in zip(picture.diagram.arrows, picture.layout.routes, strict=True)
    ]
    content = {"direction": picture.direction, "breadth": picture.layout.breadth, "boxes": boxes, "arrows": arrows}
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
