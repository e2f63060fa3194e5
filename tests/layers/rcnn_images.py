"""Four images with boxes for the data layers of Faster R-CNN, as a folder of VOC and as a database."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

from dragon.data.detection.annotations import Object
from dragon.data.detection.record import encode_annotated
from dragon.data.detection.voc import voc_xml
from dragon.data.lmdb_io import write_lmdb
from dragon.proto import dragon_pb2 as pb

__all__ = ["LABELS", "OBJECTS", "SIZES", "write_images"]

SIZES = [(20, 30), (24, 18), (20, 20), (22, 40)]  # height and width
OBJECTS = [
    [("cat", (3, 4, 12, 15)), ("dog", (0, 0, 30, 20))],
    [("person", (2, 2, 9, 20))],
    [],
    [("cow", (5, 6, 30, 20))],
]
LABELS = {"cat": 8, "dog": 12, "person": 15, "cow": 10}


def write_images(folder: Path) -> None:
    """Write the folder `voc`, with the images 0 to 3, and the database `lmdb`."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / "voc" / name).mkdir(parents=True)
    random = np.random.default_rng(3)
    records = []
    for i, ((height, width), objects) in enumerate(zip(SIZES, OBJECTS, strict=True)):
        pixels = random.integers(0, 256, (height, width, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"voc/JPEGImages/{i}.png")
        made = [Object(kind, box, i == 3) for kind, box in objects]
        (folder / f"voc/Annotations/{i}.xml").write_bytes(voc_xml(f"{i}.png", width, height, made))
        datum = pb.Datum(channels=3, height=height, width=width, data=pixels[:, :, ::-1].transpose(2, 0, 1).tobytes())
        rows = np.array(
            [[LABELS[k], 0, b[0] / width, b[1] / height, b[2] / width, b[3] / height, i == 3] for k, b in objects]
        )
        records.append((b"%d" % i, encode_annotated(datum, rows.reshape(-1, 7))))
    (folder / "voc/ImageSets/Main/trainval.txt").write_text("0\n1\n2\n3\n")
    write_lmdb(folder / "lmdb", records)
