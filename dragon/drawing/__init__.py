"""Pictures of nets, made without Graphviz: an SVG, and a page that zooms, searches and opens groups of layers.

`diagram` turns a definition into boxes and arrows, `arrange` gives them places, `svg` and `page` write them.
"""

from __future__ import annotations

from dragon.drawing.boxes import Box, Diagram, Part, diagram
from dragon.drawing.facts import LayerFacts, facts_of
from dragon.drawing.layout import Layout, arrange
from dragon.drawing.page import page
from dragon.drawing.picture import Picture
from dragon.drawing.svg import svg

__all__ = ["Box", "Diagram", "LayerFacts", "Layout", "Part", "Picture", "arrange", "diagram", "facts_of", "page", "svg"]
