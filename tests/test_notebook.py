"""What notebooks show: well-formed HTML, escaped, that loads nothing."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dragon
from dragon.memory.blob import Blob
from dragon.proto.text import parse_text
from tests.helpers import toy_solver

VOID = {"img", "br"}


class Checker(HTMLParser):
    """Raises AssertionError for tags that do not match, and for what comes from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag not in {"script", "link", "iframe"}
        for name, value in attrs:
            assert not name.startswith("on")
            assert name not in {"src", "href"} or value.startswith("data:")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(html: str) -> str:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    assert "url(" not in html
    return html


def test_a_net_is_a_table_and_names_are_escaped() -> None:
    text = 'name: "<b>&" layer { name: "<script>x" type: "Input" top: "<i>" input_param { shape { dim: 2 dim: 3 } } }'
    net = dragon.Net(parse_text(text, dragon.proto.dragon_pb2.NetParameter()), phase=dragon.TEST, engine="numpy")
    html = checked(net._repr_html_())
    assert "&lt;script&gt;x" in html
    assert '<td data-label="tops">2x3</td>' in html


def test_a_solver_shows_its_curves() -> None:
    solver = toy_solver(test_iter=[1], test_interval=3)
    assert "Nothing has been trained yet" in checked(solver._repr_html_())
    solver.step(9)
    html = checked(solver._repr_html_())
    assert re.findall("<figcaption>(.*?)</figcaption>", html) == ["loss", "accuracy"]
    assert html.count("<polyline") == 3  # training loss, loss and accuracy of the test
    assert "training loss" in html


def test_a_blob_says_its_range_and_shows_maps() -> None:
    blob = Blob((2, 4, 3, 5))
    blob.data[...] = np.arange(120).reshape(2, 4, 3, 5)
    blob.data[1, 0, 0, 0] = np.nan
    html = checked(blob._repr_html_())
    row = re.search("<tr><td>data</td>(.*?)</tr>", html)
    assert row is not None
    assert re.findall("<td.*?>(.*?)</td>", row[1])[:2] == ["0", "119"]
    assert "item 0, channels 0 to 3" in html
    image = picture(html)
    assert image.shape == (2 * 4, 2 * 6)
    assert image[0, :5].tolist() == [int(255 * k / 14) for k in range(5)]


def test_colours_are_in_caffes_order() -> None:
    blob = Blob((1, 3, 2, 2))
    blob.data[0, 2] = 9  # red
    assert picture(blob._repr_html_())[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 4, 4), (1, 1, 1, 7), (1, 2, 300, 300)])
def test_other_blobs_have_no_picture(shape: tuple[int, ...]) -> None:
    assert "<img" not in checked(Blob(shape)._repr_html_())


def test_looking_leaves_the_copies_of_an_engine_valid() -> None:
    blob = Blob((1, 1, 2, 2))
    before = blob.data_storage.epoch
    blob._repr_html_()
    assert blob.data_storage.epoch == before


def picture(html: str) -> Any:
    code = re.search(r"data:image/png;base64,([^\"]*)", html)
    assert code is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(code[1]))))
