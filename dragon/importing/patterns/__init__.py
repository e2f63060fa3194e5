"""Groups of nodes that are one operator: what exporters take apart is put together again."""

from __future__ import annotations

from dragon.importing.graph import Graph
from dragon.importing.patterns import (
    activations,
    affine,
    blocks,
    layers,
    layout,
    normalization,
    norms,
    recurrent,
    slices,
)
from dragon.importing.patterns.view import Pattern, View

__all__ = ["join_nodes"]

_PATTERNS: tuple[Pattern, ...] = (
    activations.hard_sigmoid,  # part of hard_swish
    activations.hard_swish,
    activations.hard_swish_scaled_behind,
    activations.swish,
    activations.gelu,
    activations.softplus,  # part of mish
    activations.mish,
    normalization.layer_norm,
    normalization.lrn,
    norms.l2_norm,
    norms.scaled_l2_norm,
    norms.group_norm,
    affine.scale_and_bias,
    affine.scaled_norm,
    layers.shuffle,
    blocks.rearranged,
    blocks.focus,
    layers.padded_convolution,
    layers.affine_product,
    layers.unpooling,
    recurrent.joined_directions,
    recurrent.lstm,
    recurrent.rnn,
)


def join_nodes(graph: Graph) -> None:
    """Replace groups of nodes by the operators that they are, until there are no more."""
    for pattern in _PATTERNS:
        view, at = View(graph), 0
        while at < len(graph.nodes):
            found = pattern(view, graph.nodes[at])
            at += 1
            if found is not None:
                graph.replace(found[0], [found[1]])
                view, at = View(graph), graph.nodes.index(found[1]) + 1
    layout.channels_first(graph)
    graph.drop_unread()  # what patterns left behind is no reader
    slices.join_slices(graph)
