"""What nets of Faster R-CNN and R-FCN need besides the image: its size, and a layer that makes boxes."""

from __future__ import annotations

from dataclasses import replace

from dragon.bases.rcnn_settings import configuration
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition

__all__ = ["IMAGE_INFO", "with_boxes"]

IMAGE_INFO = "im_info"  # the input with height, width and scale of the image
_ANSWER = ("rois", "cls_prob", "bbox_pred", IMAGE_INFO)  # blobs of py-faster-rcnn's and py-R-FCN's nets for testing


def with_boxes(definition: Definition[pb.NetParameter]) -> Definition[pb.NetParameter]:
    """A net for testing of py-faster-rcnn or py-R-FCN, with what their programs do around it; another net as it is.

    A layer RCNNDetectionOutput is added, with the threshold NMS of rcnn.yml, and the input for images gets the size of
    SCALES and MAX_SIZE there: the prototxts declare one that does not count. Raises PrototxtError for rcnn.yml.
    """
    net = definition.message
    tops = {top for layer in net.layer for top in layer.top}
    if not tops.issuperset(_ANSWER) or any(layer.type == "RCNNDetectionOutput" for layer in net.layer):
        return definition
    made = pb.NetParameter()
    made.CopyFrom(net)
    settings = configuration(definition.folder, net.name)
    sides = (settings["TEST.SCALES"][0], settings["TEST.MAX_SIZE"])
    for layer in made.layer:
        for top, shape in zip(layer.top, layer.input_param.shape, strict=False):
            if top != IMAGE_INFO and len(shape.dim) == 4:
                shape.dim[2:] = sides
    found = {"nms_threshold": settings["TEST.NMS"]}
    made.layer.add(
        name="detection_out", type="RCNNDetectionOutput", bottom=_ANSWER, top=["detection_out"],
        rcnn_detection_output_param=found,
    )  # fmt: skip
    return replace(definition, message=made)
