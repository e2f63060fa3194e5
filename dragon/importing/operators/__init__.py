"""One file for each family of ONNX operators: which layers compute them."""
