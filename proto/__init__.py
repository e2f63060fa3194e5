"""Caffe's messages: their schema, and files of them as prototxt and in binary form."""

from dragon.proto import caffe_pb2 as caffe_pb2  # scripts reach it as caffe.proto.caffe_pb2
