"""How each layer type is written in PyTorch: one file for each family, loaded by `dragon.export.torch.form`."""
