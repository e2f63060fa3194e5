"""Kinds of images with boxes: records, which are changed as in training, and annotations as files."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from google.protobuf import text_format

from dragon.data import Color
from dragon.data.detection.annotations import Object, label_map_of, labels_by_name, rows_of
from dragon.data.detection.draws import Draws
from dragon.data.detection.record import decode_annotated
from dragon.data.detection.sources import READ, from_coco
from dragon.data.detection.transform import BoxTransform
from dragon.data.detection.voc import voc_xml
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream
from tests.data.detection.helpers import painted, record_of, rows_of_boxes
from tests.fuzz.kinds import Example, kind, survives
from tests.fuzz.messages import damage_message
from tests.fuzz.mutate import damage, damage_text

_CHANGES = """
mirror: true resize_param { height: 20 width: 24 interp_mode: [AREA, CUBIC] }
expand_param { prob: 0.5 max_expand_ratio: 2 }
distort_param { hue_prob: 0.5 hue_delta: 18 brightness_prob: 0.5 brightness_delta: 32 }
emit_constraint { emit_type: MIN_OVERLAP emit_overlap: 0.3 }
"""
_SAMPLERS = "batch_sampler { sampler { min_scale: 0.3 } sample_constraint { min_object_coverage: 0.5 } max_trials: 20 }"


@kind
def annotated(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """AnnotatedDatum records, changed with their boxes."""
    boxes = [(2, 3, 10, 12), (5, 5, 20, 15)]
    sound = record_of(painted(16, 24, boxes), rows_of_boxes(16, 24, boxes))
    samplers = text_format.Parse(_SAMPLERS, pb.AnnotatedDataParameter()).batch_sampler
    change = BoxTransform(text_format.Parse(_CHANGES, pb.TransformationParameter()), samplers, None, True, (9,))

    def changed(content: bytes) -> None:
        found = decode_annotated(content, Color.AS_STORED, "record 1")
        _, rows = change.apply(found.image, found.rows, Draws(Stream(1, "x").bits()))
        assert np.isfinite(rows).all()

    def example(chance: random.Random) -> bytes:
        if chance.random() < 0.5:
            return damage_message(sound, pb.AnnotatedDatum, chance, sound)
        return damage(sound, chance, sound)

    return example, lambda content: survives(lambda: changed(content))


@kind
def annotation(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """Files of annotations: VOC's XML, JSON of one image, COCO's instances, text."""
    one = {"image_id": 1, "category_id": 2, "bbox": [1, 2, 3.5, 4], "iscrowd": 0}
    image = {"id": 1, "file_name": "a.jpg", "width": 20, "height": 10}
    sound = [
        voc_xml("a.jpg", 20, 10, [Object("2", (1, 2, 5, 6)), Object("2", (0, 0, 9, 9), True)]).decode(),
        json.dumps({"image": image, "annotation": [one, one]}),
        json.dumps({"images": [image], "annotations": [one], "categories": [{"id": 2, "name": "cat"}]}),
        "2 1 2 3.5 4\n3 0 0 1 1\n",
    ]
    path = folder / "annotation"
    labels = labels_by_name(label_map_of(["2"]))

    def read(content: bytes) -> None:
        path.write_bytes(content)
        for form in READ.values():
            survives(lambda form=form: rows_of(form(path), labels, (20, 10), str(path)))  # type: ignore[misc]
        survives(lambda: [entry.read() for entry in from_coco(str(path), None)[0]])

    def example(chance: random.Random) -> bytes:
        text = chance.choice(sound)
        if chance.random() < 0.5:
            return damage_text(text, chance, chance.choice(sound)).encode("utf-8", "surrogateescape")
        return damage(text.encode(), chance, chance.choice(sound).encode())

    return example, read
