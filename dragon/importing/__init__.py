"""Brings nets of other formats in: ONNX, by one function for each operator that Caffe's layers can compute."""
