"""No two boxes touch and no arrow runs through a box, in any net of the zoo that is hard to draw."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from dragon.drawing import Diagram, Picture, arrange
from dragon.drawing.layout import Layout
from dragon.drawing.picture import DIRECTIONS, Place
from tests.drawing.nets import MODELS, zoo_diagram

HARD = (
    "googlenet", "densenet121", "resnet152", "inception_resnet_v2", "inception_v3", "ssd300_vgg", "yolo_v3", "openpose",
    "lenet", "unet", "mnist_siamese", "densenet40_cifar10",
)  # fmt: skip


def touching(places: list[Place]) -> list[tuple[Place, Place]]:
    """Pairs of rectangles that share a point."""
    found, rows = [], sorted(places, key=lambda p: p.y)
    for k, a in enumerate(rows):
        for b in rows[k + 1 :]:
            if b.y > a.y + a.height:
                break
            if a.x <= b.x + b.width and b.x <= a.x + a.width:
                found.append((a, b))
    return found


def test_every_name_is_a_net_of_the_zoo() -> None:
    assert all((MODELS / name).is_dir() for name in HARD)


@pytest.fixture(scope="module", params=HARD)
def drawn(request: pytest.FixtureRequest) -> Diagram:
    return zoo_diagram(request.param)


@pytest.mark.parametrize("opened", [False, True])
def test_boxes_lie_apart_and_in_the_picture(drawn: Diagram, opened: bool) -> None:
    for direction in DIRECTIONS:
        picture = Picture(drawn, direction, range(len(drawn.boxes)) if opened else ())
        places = picture.places()
        assert len(places) == len(drawn.boxes)
        assert not touching(places)
        width, height = picture.size
        assert all(p.x > 0 and p.y > 0 and p.x + p.width < width and p.y + p.height < height for p in places)


def test_arrows_run_forward_and_past_the_boxes(drawn: Diagram) -> None:
    picture = Picture(drawn)
    places = picture.places()
    for (start, end, _), stops in zip(drawn.arrows, picture.stops(), strict=True):
        a, b = places[start], places[end]
        assert stops[0][1] == pytest.approx(a.y + a.height)
        assert stops[-1][1] == pytest.approx(b.y)
        assert b.x <= stops[-1][0] <= b.x + b.width
        assert all(y2 >= y1 - 1e-6 for (_, y1), (_, y2) in pairwise(stops))
        inside = [(x, (y1 + y2) / 2) for (x, y1), (_, y2) in list(pairwise(stops))[2::2]]  # straight through ranks
        for x, y in inside:
            assert not [p for p in places if p.x < x < p.x + p.width and p.y < y < p.y + p.height]


def test_a_deep_net_is_placed_in_seconds() -> None:
    made = zoo_diagram("inception_resnet_v2")
    start = time.process_time()
    assert Picture(made).size[1] > 10_000
    assert time.process_time() - start < 5


def test_a_chain_is_straight_and_a_branch_is_symmetric() -> None:
    chain = arrange([50.0, 90.0, 70.0], [(0, 1), (1, 2)])
    assert chain.ranks == (0, 1, 2)
    assert chain.centres == pytest.approx((45.0, 45.0, 45.0))
    fork = arrange([40.0] * 4, [(0, 1), (0, 2), (1, 3), (2, 3)])
    assert fork.ranks == (0, 1, 1, 2)
    assert fork.centres[0] == pytest.approx((fork.centres[1] + fork.centres[2]) / 2)


def test_a_source_stands_before_its_first_reader() -> None:
    assert arrange([10.0] * 4, [(0, 1), (1, 3), (2, 3)]).ranks == (0, 1, 1, 2)


def test_crossings_are_taken_out() -> None:
    crossed = arrange([10.0] * 4, [(0, 3), (1, 2)])
    assert (crossed.centres[0] < crossed.centres[1]) == (crossed.centres[3] < crossed.centres[2])


def test_nothing_to_draw() -> None:
    assert arrange([], []) == Layout((), (), (), 0.0)
    assert Picture(Diagram("none", (), ())).size[0] > 0
