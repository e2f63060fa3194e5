"""What BVLC Caffe's master branch has: layer types, and which fields and values of our schema are not its own."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dragon.proto import dragon_pb2 as pb

__all__ = ["TYPES", "beyond_bvlc", "foreign_fields", "is_foreign"]

_NAMES = """
AbsVal Accuracy ArgMax BNLL BatchNorm BatchReindex Bias Clip Concat ContrastiveLoss Convolution Crop Data
Deconvolution Dropout DummyData ELU Eltwise Embed EuclideanLoss Exp Filter Flatten HDF5Data HDF5Output HingeLoss
Im2col ImageData InfogainLoss InnerProduct Input LRN LSTM LSTMUnit Log MVN MemoryData MultinomialLogisticLoss PReLU
Parameter Pooling Power Python RNN ReLU Reduction Reshape SPP Scale Sigmoid SigmoidCrossEntropyLoss Silence Slice
Softmax SoftmaxWithLoss Split Swish TanH Threshold Tile WindowData
"""
TYPES = frozenset(_NAMES.split())
_OWN = 1001  # fields that we or the forks added to a message of Caffe's have numbers from here on
# lower numbers that forks use, by message
_FORKS: dict[str, frozenset[int]] = {
    "BatchNormParameter": frozenset({5, 6, 7, 15}),
    "BlobProto": frozenset(range(10, 14)),
    "LayerParameter": frozenset(range(200, 207)),
    "TransformationParameter": frozenset(range(8, 15)),
}
# values of enums that BVLC lacks, by message and field
_VALUES = {
    ("PoolingParameter", "pool"): frozenset({pb.PoolingParameter.AVE_EXC_PAD}),
    ("LossParameter", "normalization"): frozenset({pb.LossParameter.PRE_FIXED}),
}


def is_foreign(message: Message, field: FieldDescriptor) -> bool:
    """Whether BVLC Caffe does not know a field of a message, or the value that it has."""
    name = message.DESCRIPTOR.name
    if field.number >= _OWN or field.number in _FORKS.get(name, ()):
        return True
    return getattr(message, field.name) in _VALUES[name, field.name] if (name, field.name) in _VALUES else False


def beyond_bvlc(layer: pb.LayerParameter) -> list[str]:
    """What BVLC Caffe lacks to read a layer: `type X`, or the dotted names of fields."""
    return list(foreign_fields(layer)) if layer.type in TYPES else [f"type {layer.type}"]


def foreign_fields(message: Message, path: str = "") -> Iterator[str]:
    """The dotted names of the fields that are set in a message, or in one within it, and that BVLC does not know."""
    for field, value in message.ListFields():
        name = f"{path}{field.name}"
        if is_foreign(message, field):
            own_value = field.number < _OWN and field.enum_type is not None
            yield f"{name}: {field.enum_type.values_by_number[value].name}" if own_value and field.enum_type else name
        elif field.message_type is not None:
            for one in [value] if isinstance(value, Message) else value:
                yield from foreign_fields(one, f"{name}.")
