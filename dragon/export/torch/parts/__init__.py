"""PyTorch code that is copied into exported modules where a layer has no equal in torch.nn.

Each file imports torch alone; `dragon.export.torch.parts_text` reads them as text, so Dragon itself does not need it.
Names are unique over all files.
"""
