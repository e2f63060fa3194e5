"""Layers whose gradient needs the bottom are refused in place, with one line that says what to do."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from dragon.errors import ShapeError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

INPUT = 'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'


def _net(*shapes: tuple[int, ...], layers: str, phase: int = dragon.TRAIN) -> dragon.Net:
    text = "".join(
        INPUT.format(name=f"x{i}", dims=" ".join(f"dim: {dim}" for dim in shape)) for i, shape in enumerate(shapes)
    )
    return dragon.Net(parse_text(text + layers, pb.NetParameter()), phase, engine="numpy", seed=1)


@pytest.mark.parametrize(
    ("shapes", "settings"),
    [
        ([(3, 4)], 'type: "InnerProduct" bottom: "x0" top: "x0" inner_product_param { num_output: 4 }'),
        ([(1, 2, 4), (1, 2, 16), (1, 2)], 'type: "LSTMUnit" bottom: "x0" bottom: "x1" bottom: "x2" top: "x0" top: "h"'),
        ([(2, 3, 4, 4)], 'type: "Tile" bottom: "x0" top: "x0" tile_param { tiles: 1 }'),
        ([(2, 3, 4, 4)], 'type: "Im2col" bottom: "x0" top: "x0" convolution_param { kernel_size: 1 }'),
        ([(2, 3, 4, 4)], 'type: "Interp" bottom: "x0" top: "x0" interp_param { height: 4 width: 4 }'),
        ([(2, 3, 4, 4)], 'type: "Upsample" bottom: "x0" top: "x0" upsample_param { scale: 1 }'),
        ([(2, 3, 4, 4), (2, 3, 4, 4)], 'type: "Crop" bottom: "x0" bottom: "x1" top: "x0"'),
        ([(3, 2), (3,)], 'type: "Filter" bottom: "x0" bottom: "x1" top: "x0"'),
        ([(3, 2), (3,)], 'type: "BatchReindex" bottom: "x0" bottom: "x1" top: "x0"'),
        ([(3, 2, 4), (3, 2)], 'type: "RNN" bottom: "x0" bottom: "x1" top: "x0" recurrent_param { num_output: 4 }'),
        ([(3, 2, 4), (3, 2)], 'type: "LSTM" bottom: "x0" bottom: "x1" top: "x0" recurrent_param { num_output: 4 }'),
    ],
    ids=lambda value: value.split('"')[1] if isinstance(value, str) else None,
)
@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST], ids=["train", "test"])
def test_refused(shapes: list[tuple[int, ...]], settings: str, phase: int) -> None:
    with pytest.raises(ShapeError, match=r'layer "one" .*cannot work in place: give its top another name'):
        _net(*shapes, layers=f'layer {{ name: "one" {settings} }}', phase=phase)


THRESHOLD = 'layer { name: "one" type: "Threshold" bottom: "y" top: "y" propagate_down: false }\n'
LEARNED = 'layer { name: "y" type: "InnerProduct" bottom: "x0" top: "y" inner_product_param { num_output: 2 } }\n'
PLAIN = 'layer { name: "y" type: "Power" bottom: "x0" top: "y" }\n'


def test_threshold_in_place_only_where_nothing_below_learns() -> None:
    """In place the diff of its top is that of its bottom, so the gradient would go on."""
    with pytest.raises(ShapeError, match="passes no gradient on"):
        _net((3, 4), layers=LEARNED + THRESHOLD)
    net = _net((3, 4), layers=PLAIN + THRESHOLD, phase=dragon.TEST)
    net.blobs["x0"].data[...] = np.linspace(-1, 1, 12).reshape(3, 4)
    assert net.forward()["y"].sum() == 6
