"""Nets whose measures are known."""

from __future__ import annotations

__all__ = ["deep", "layer", "linear", "quadratic"]


def layer(kind: str, name: str, bottom: str, settings: str = "", top: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top or name}" {settings} }}\n'


def _data(shape: str, label: str, spread: float = 1) -> str:
    dims = " ".join(f"dim: {d}" for d in shape.split())
    labels = " ".join(f"dim: {d}" for d in label.split())
    return f"""layer {{ name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {{
        shape {{ {dims} }} shape {{ {labels} }} data_filler {{ type: "gaussian" std: 1 }}
        data_filler {{ type: "gaussian" std: {spread} }} }} }}
        """


def _ip(name: str, bottom: str, outputs: int, filler: str, bias: str = "bias_term: false") -> str:
    param = f"inner_product_param {{ num_output: {outputs} {bias} weight_filler {{ {filler} }} }}"
    return layer("InnerProduct", name, bottom, param)


def quadratic(images: int = 16, inputs: int = 5, outputs: int = 1) -> str:
    """L(w) = sum |x w - t|^2 / (2 images): its Hessian is x' x / images for each output."""
    loss = 'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }'
    net = _data(f"{images} {inputs}", f"{images} {outputs}")
    return net + _ip("ip", "data", outputs, 'type: "gaussian" std: 1') + loss


def linear(sizes: tuple[int, ...] = (6, 5, 4), images: int = 3) -> str:
    """Inner products one above the other, without bias."""
    net, below = _data(f"{images} {sizes[0]}", f"{images} {sizes[-1]}"), "data"
    for k, size in enumerate(sizes[1:], 1):
        net += _ip(f"ip{k}", below, size, 'type: "gaussian" std: 0.5')
        below = f"ip{k}"
    return net + layer("EuclideanLoss", "loss", f'{below}" bottom: "label')


def deep(width: int, depth: int, images: int, normalised: bool) -> str:
    """Inner products of He's initialisation with ReLU, with or without batch normalisation.

    The targets are far away, so the gradient at the top hardly depends on what the net computes.
    """
    net, below = _data(f"{images} {width}", f"{images} {width}", 1e4), "data"
    for k in range(depth):
        net += _ip(f"ip{k}", below, width, 'type: "msra"')
        if normalised:
            net += layer("BN", f"bn{k}", f"ip{k}", top=f"ip{k}")
        net += layer("ReLU", f"relu{k}", f"ip{k}", top=f"ip{k}")
        below = f"ip{k}"
    return net + layer("EuclideanLoss", "loss", f'{below}" bottom: "label')
