"""The messages under the module name that Caffe's scripts import: ``from dragon.proto import caffe_pb2``."""

from dragon.proto.dragon_pb2 import *  # noqa: F403
