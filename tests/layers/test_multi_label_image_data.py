"""MultiLabelImageData: several labels in each line, all else as ImageData."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dragon.errors import DragonError
from tests.layers.helpers import One, goes_on_as

PIXELS = np.random.default_rng(1).integers(0, 256, (3, 4, 5, 3), np.uint8)


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    for i, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(tmp_path / f"{i} a.png")
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{i} a.png {i} 1 -{i}.5\n" for i in range(3)))
    return path


def make(listing: Path, setting: str = "", seed: int = 3) -> One:
    text = f'source: "{listing}" root_folder: "{listing.parent}/" batch_size: 2 {setting}'
    return One(f'type: "MultiLabelImageData" image_data_param {{ {text} }}', n_top=2, seed=seed)


def test_images_and_labels(listing: Path) -> None:
    one = make(listing)
    for expected in ([0, 1], [2, 0]):
        np.testing.assert_array_equal(one.forward(), PIXELS[expected].transpose(0, 3, 1, 2)[:, ::-1])
        assert one.top[1].data.tolist() == [[i, 1, -(i + 0.5) if i else -0.5] for i in expected]
    one.layer.close()


def test_shuffled_batches_resume(listing: Path) -> None:
    one, other = make(listing, "shuffle: true"), make(listing, "shuffle: true", seed=99)
    for _ in range(3):
        one.forward()
    goes_on_as(one, other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0 a.png 1 2\n1 a.png 1\n", r'list\.txt:2: expected "FILE LABEL LABEL \.\.\." with 2 labels, as in the first'),
        ("0 a.png 1\n1 a.png 1 2\n", r"list\.txt:2: .* with 1 label"),
        ("0 a.png\n", r'list\.txt:1: expected "FILE LABEL LABEL \.\.\.", got "0 a\.png"'),
        ("1 2\n3 x\n", r"list\.txt:2: expected"),
        ("", r"image list .* is empty"),
    ],
)
def test_messages(listing: Path, content: str, message: str) -> None:
    listing.write_text(content)
    with pytest.raises(DragonError, match=rf'layer "one" \(MultiLabelImageData\): .*{message}'):
        make(listing)
