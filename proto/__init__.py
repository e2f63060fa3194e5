"""Caffe's messages: their schema, and files of them as prototxt and in binary form."""
