"""Nets as PyTorch modules: source that a person can read, and the values of their parameters.

`forms` says for each layer type how it is written in PyTorch, `parts` is PyTorch code that is copied where torch.nn has
no equal, `module` puts a file together, `state` maps blobs to the entries of a state_dict and back.
"""
