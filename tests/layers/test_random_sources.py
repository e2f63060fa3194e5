"""Random data layers against a model: which record comes when, and what the transform makes of it.

Data, ImageData and MultiLabelImageData, in both phases, with images of several sizes and kinds, epochs that the batch
does not divide, a random start, a random order, several ranks, and a resume under another seed.

SOURCES=N tries N layers; SOURCES_START=S begins with seed S.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN, Context
from dragon.data import encode_datum, write_lmdb, write_mean
from dragon.data.image_file import encode_image
from dragon.data.resize import resize_bilinear
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.share import Share
from tests.layers.helpers import One, goes_on_as

COUNT = int(os.environ.get("SOURCES", "40"))
START = int(os.environ.get("SOURCES_START", "0"))
PNG = np.array([3737, 19234, 9797])  # what blue, green and red count in the grey of a PNG


class Case:
    """A source with its records, and what each may become."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng, self.folder = np.random.default_rng(seed), folder
        self.type = str(self.rng.choice(["Data", "ImageData", "MultiLabelImageData"]))
        self.listed = self.type != "Data"
        self.encoded = self.listed or self.some(0.4)
        self.count, self.batch = int(self.rng.integers(1, 9)), int(self.rng.integers(1, 7))
        self.phase = TRAIN if self.some() else TEST
        self.mirror, self.shuffle, self.varies = self.some(0.4), self.some(0.4), self.some(0.3)
        self.skip = int(self.rng.integers(1, 3 * self.count)) if self.some(0.25) else 0
        self.height, self.width = self.rng.integers(3, 12, 2).tolist()
        self.size = tuple(self.rng.integers(3, 12, 2).tolist()) if self.listed and self.some(0.4) else None
        smallest = min(self.size or (self.height, self.width))
        self.pad = int(self.rng.integers(1, smallest + 1)) if self.some(0.2) else 0
        self.crop = int(self.rng.integers(1, smallest + 2 * self.pad + 1)) if self.some() else 0
        if self.varies and not (self.crop or self.size):
            self.batch = 1
        self.color = str(self.rng.choice(["", "color", "gray"])) if not self.listed else ["gray", "color"][self.some()]
        self.scale = float(np.float32(self.rng.choice([1, 0.5, -0.0125])))
        channels = int(self.rng.choice([1, 3] if self.encoded else [1, 3, 5]))
        images = [self._image(channels) for _ in range(self.count)]
        self.labels = self._labels()
        (self._write_list if self.listed else self._write_lmdb)(images)
        self.images = [self._read(image) for image in images]
        self.mean, self.means = self._mean()

    def some(self, share: float = 0.5) -> bool:
        return bool(self.rng.random() < share)

    def _image(self, channels: int) -> Array:
        more = self.rng.integers(0, 4, 2).tolist() if self.varies else (0, 0)
        return self.rng.integers(0, 256, (channels, self.height + more[0], self.width + more[1]), np.uint8)

    def _labels(self) -> Array:
        """Each of them once, so that a label tells which record came."""
        labels = np.array([*range(-2, self.count - 3), 2**31 - 1])
        if self.type == "MultiLabelImageData":
            return np.stack([labels, labels[::-1] + 0.5], 1)
        return labels

    def _write_list(self, images: list[Array]) -> None:
        lines = []
        for i, (image, label) in enumerate(zip(images, self.labels, strict=True)):
            name = str(self.rng.choice([f"{i}.png", f"a {i}.png", f"\xfc{i}.png"]))
            (self.folder / name).write_bytes(encode_image(image, "png"))
            lines.append(f"{name} " + " ".join(f"{x:.10g}" for x in np.atleast_1d(label)))
        end, mark = str(self.rng.choice(["\n", "\r\n"])), str(self.rng.choice(["utf-8", "utf-8-sig", "utf-16"]))
        (self.folder / "list.txt").write_bytes(end.join(lines).encode(mark))

    def _write_lmdb(self, images: list[Array]) -> None:
        records = []
        for i, (image, label) in enumerate(zip(images, self.labels.tolist(), strict=True)):
            record = encode_datum(image, label)
            if self.encoded:
                record = pb.Datum(data=encode_image(image, "png"), encoded=True, label=label).SerializeToString()
            records.append((f"{i:03d}".encode(), record))
        write_lmdb(self.folder / "db", records)

    def _read(self, image: Array) -> Array:
        """The image with the channels and in the size that the layer reads it in."""
        if self.encoded and self.color == "color" and len(image) == 1:
            image = np.repeat(image, 3, 0)
        elif self.encoded and self.color == "gray" and len(image) == 3:
            image = (np.tensordot(PNG, image.astype(np.int64), 1)[None] >> 15).astype(np.uint8)
        return resize_bilinear(image, *self.size) if self.size else image

    def _mean(self) -> tuple[Array, str]:
        channels, kind = len(self.images[0]), self.rng.integers(3)
        if kind == 0 and (self.size or not self.varies):
            image = self.rng.random(self.images[0].shape, np.float32) * 255
            write_mean(self.folder / "mean", image)
            return image, f'mean_file: "{self.folder}/mean"'
        values = self.rng.integers(1, 255, 1 if self.some() else channels) * (kind > 0)
        text = " ".join(f"mean_value: {value}" for value in values if kind)
        return np.reshape(values, (-1, 1, 1)).astype(np.float32), text

    def text(self, batch: int) -> str:
        """The definition, for a batch size."""
        both = f"batch_size: {batch} shuffle: {str(self.shuffle).lower()} rand_skip: {self.skip}"
        forced = ""
        if self.listed:
            size = f"new_height: {self.size[0]} new_width: {self.size[1]}" if self.size else ""
            color = f"is_color: {str(self.color == 'color').lower()}"
            source = (
                f'image_data_param {{ source: "{self.folder}/list.txt" root_folder: "{self.folder}/" {color} {size}'
            )
        else:
            source = f'data_param {{ source: "{self.folder}/db" backend: LMDB'
            forced = f"force_{self.color}: true" if self.color else ""
        return (
            f'type: "{self.type}" {source} {both} }} transform_param {{ crop_size: {self.crop} zero_pad: {self.pad} '
            f"mirror: {str(self.mirror).lower()} scale: {self.scale!r} {self.means} {forced} }}"
        )

    def layer(self, batch: int, seed: int = 3, share: Share | None = None) -> One:
        context = None if share is None else Context(seed=seed, share=share)
        return One(self.text(batch), n_top=2, phase=self.phase, seed=seed, context=context)

    def made(self, i: int) -> Iterator[Array]:
        """What record i may become."""
        pad = ((0, 0), (self.pad, self.pad), (self.pad, self.pad))
        whole = np.pad((self.images[i] - self.mean) * np.float32(self.scale), pad)
        margins = [n - self.crop if self.crop else 0 for n in whole.shape[1:]]
        central = not self.crop or self.phase == TEST
        rows, columns = ([m // 2] if central else range(m + 1) for m in margins)
        height, width = (self.crop, self.crop) if self.crop else whole.shape[1:]
        for row in rows:
            for column in columns:
                window = whole[:, row : row + height, column : column + width]
                yield window
                if self.mirror:
                    yield window[..., ::-1]

    @property
    def random(self) -> bool:
        return self.mirror or (self.crop > 0 and self.phase == TRAIN)


@pytest.mark.parametrize("seed", range(START, START + COUNT))
def test_a_source(seed: int, tmp_path: Path) -> None:
    case = Case(seed, tmp_path)
    number = {tuple(np.atleast_1d(label).astype(np.float32)): i for i, label in enumerate(case.labels)}
    one = case.layer(case.batch)
    order: list[int] = []
    while len(order) < 2 * case.count + case.batch:
        data = one.forward()
        chosen = [number[tuple(np.atleast_1d(label))] for label in one.top[1].data]
        for i, image in zip(chosen, data, strict=True):
            assert any(np.array_equal(image, made) for made in case.made(i))
        order += chosen
    check_order(case, order)
    if not case.varies or case.crop or case.size:
        check_ranks(case, ranks=int(case.rng.integers(2, 4)), divided=case.some())
    goes_on_as(one, case.layer(case.batch, seed=4))


def check_order(case: Case, order: list[int]) -> None:
    """Each epoch has each record once, in the order of the source unless they are shuffled."""
    if not case.shuffle:
        assert order == [(order[0] + i) % case.count for i in range(len(order))]
        assert case.skip or order[0] == 0
    elif not case.skip:
        for start in (0, case.count):
            assert sorted(order[start : start + case.count]) == list(range(case.count))


def check_ranks(case: Case, ranks: int, divided: bool) -> None:
    """The rows of all ranks, one after another, are the batch of one process."""
    whole = case.layer(case.batch * ranks)
    own = case.batch * ranks if divided else case.batch
    parts = [case.layer(own, share=Share(rank, ranks, divided)) for rank in range(ranks)]
    for _ in range(3):
        for one in (whole, *parts):
            one.forward()
        tops: list[Any] = [np.concatenate([part.top[k].data for part in parts]) for k in range(2)]
        np.testing.assert_array_equal(tops[1], whole.top[1].data)
        if not case.random:
            np.testing.assert_array_equal(tops[0], whole.top[0].data)
    for one in (whole, *parts):
        one.layer.close()
