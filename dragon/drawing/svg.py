"""The SVG of a picture: boxes with text, arrows, and a style for light and dark."""

from __future__ import annotations

from html import escape
from importlib.resources import files

from dragon.drawing.boxes import Box
from dragon.drawing.picture import LINE, PAD, Picture, Place

__all__ = ["drawing", "resource", "svg"]


def resource(name: str) -> str:
    """A file that stands beside this module."""
    return files("dragon.drawing").joinpath(name).read_text(encoding="utf-8")


def svg(picture: Picture) -> str:
    """A file of its own: it loads nothing and runs nothing."""
    width, height = picture.size
    title = escape(picture.diagram.name)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{title}">\n<title>{title}</title>\n'
        f"<style>\n{resource('net.css')}</style>\n{drawing(picture)}</svg>\n"
    )


def drawing(picture: Picture, live: bool = False) -> str:
    """Arrows and boxes as <g> elements. live: with what a script needs to open boxes and to find them by keyboard."""
    parts = [
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto-start-reverse"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>\n<g id="net">\n'
    ]
    for (_, _, blob), path in zip(picture.diagram.arrows, picture.paths(), strict=True):
        parts.append(f'<path class="arrow" d="{path}" marker-end="url(#tip)"><title>{escape(blob)}</title></path>\n')
    for k, (box, place) in enumerate(zip(picture.diagram.boxes, picture.places(), strict=True)):
        parts.append(_box(picture, k, box, place, live))
    return "".join([*parts, "</g>\n"])


def family_class(box: Box) -> str:
    """The class of a box's colour."""
    return box.family.replace(" ", "-") or ("source" if box.is_source else "other")


def _box(picture: Picture, k: int, box: Box, place: Place, live: bool) -> str:
    several = len(box.parts) > 1
    names = ", ".join(f"{part.name} ({part.type})" for part in box.parts)
    use = f' tabindex="0" aria-label="{escape(names)}"' + (' role="button" aria-expanded="false"' if several else "")
    shown = [_lines(picture.closed_lines[k], "closed" if live and several else "")]
    if several and live:
        shown.append(_lines(picture.open_lines[k], "opened"))
    elif several and k in picture.opened:
        shown = [_lines(picture.open_lines[k], "")]
    sign = f'<text class="sign" x="{place.width - 7:.1f}" y="{PAD + 9}">+</text>' if several and live else ""
    return (
        f'<g class="box {family_class(box)}"{use if live else ""} transform="translate({place.x:.1f} {place.y:.1f})">'
        f"<title>{escape(names)}</title>"
        f'<rect width="{place.width:.1f}" height="{place.height:.1f}" rx="5"/>{"".join(shown)}{sign}</g>\n'
    )


def _lines(lines: list[str], kind: str) -> str:
    texts = [
        f'<text{" class=" + chr(34) + "name" + chr(34) if line.startswith("*") else ""} x="{PAD}" '
        f'y="{PAD + 11 + LINE * n}">{escape(line.removeprefix("*"))}</text>'
        for n, line in enumerate(lines)
    ]
    return f'<g class="{kind}">{"".join(texts)}</g>' if kind else "".join(texts)
