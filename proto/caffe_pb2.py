"""The messages under the module name that Caffe's scripts import: ``from dragon.proto import caffe_pb2``."""

from dragon.proto.dragon_pb2 import *  # noqa: F403
from dragon.proto.dragon_pb2 import LayerParameter, V1LayerParameter

# Until September 2014 V1LayerParameter was called LayerParameter, and scripts compare types with its constants.
for _name, _value in V1LayerParameter.LayerType.items():
    setattr(LayerParameter, _name, _value)
setattr(LayerParameter, "LayerType", V1LayerParameter.LayerType)  # noqa: B010  # the class does not declare it
