"""Encoders and decoders that label each pixel: SegNet and U-Net."""

from __future__ import annotations

from dragon.models.nets.body import MSRA, SPLIT, Body
from dragon.models.nets.maps import Labelling, Maps
from dragon.models.nets.model import Model, solver
from dragon.models.nets.vgg import STAGES, conv_bn_relu

__all__ = ["MODELS", "segnet", "unet"]


def segnet(classes: int = 11, sizes: tuple[tuple[int, int], ...] = ((45, 60), (23, 30))) -> Body:
    """SegNet (Badrinarayanan, Kendall & Cipolla 2015, arXiv 1511.00561): VGG-16 and its mirror image.

    The decoder puts each value where the encoder's max pooling found the maximum. sizes: (H, W) of the maps whose size
    is not twice that of the next one, behind pool3 and pool4 of an image of 360 x 480.
    """
    b = Body(SPLIT)
    for stage, (width, convolutions) in enumerate(STAGES[16], 1):
        for k in range(1, convolutions + 1):
            conv_bn_relu(b, f"{stage}_{k}", width, MSRA)
        b.pool_with_mask(f"pool{stage}")
    for stage in range(5, 0, -1):
        width, convolutions = STAGES[16][stage - 1]
        size = {5: sizes[1], 4: sizes[0]}.get(stage)
        settings = {"upsample_h": size[0], "upsample_w": size[1]} if size else {"scale": 2}
        b.join(f"upsample{stage}", "Upsample", [b.top, f"pool{stage}_mask"], f"pool{stage}_D", upsample_param=settings)
        for k in range(convolutions, 1, -1):
            conv_bn_relu(b, f"{stage}_{k}_D", width, MSRA)
        if stage > 1:
            conv_bn_relu(b, f"{stage}_1_D", STAGES[16][stage - 2][0], MSRA)
    return b.conv("conv1_1_D", classes, 3, MSRA, bias=True, pad=1)


def unet(classes: int = 2, width: int = 64, size: int = 572) -> Body:
    """U-Net (Ronneberger, Fischer & Brox 2015, arXiv 1505.04597), with the layer names of the authors' Caffe nets.

    No convolution is padded, so the result is smaller than the image, 388 for 572, and what is joined to the enlarged
    maps is cropped. size: H and W of the image, from which the places of the crops follow.
    """
    b, sizes = Body(), []
    for depth in range(5):
        d = f"d{depth}"
        b.conv(f"conv_{d}a-b", width << depth, 3, MSRA).relu(f"relu_{d}b")
        b.conv(f"conv_{d}b-c", width << depth, 3, MSRA).relu(f"relu_{d}c")
        size -= 4
        sizes.append(size)
        if depth > 2:
            b.dropout(f"dropout_{d}c")
        if depth < 4:
            b.pool(f"pool_{d}c-{depth + 1}a", "MAX", 2)
            size //= 2
    for depth in range(3, -1, -1):
        u, below = f"u{depth}", "d4c" if depth == 3 else f"u{depth + 1}d"
        b.deconv(f"upconv_{below}_{u}a", width << depth, 2, MSRA, stride=2).relu(f"relu_{u}a")
        enlarged, size = b.top, 2 * size
        bottoms, crop = [f"conv_d{depth}b-c", enlarged], {"axis": 2, "offset": [(sizes[depth] - size) // 2]}
        b.join(f"crop_d{depth}c-d{depth}cc", "Crop", bottoms, crop_param=crop)
        b.join(f"concat_d{depth}cc_{u}a-b", "Concat", [enlarged, b.top])
        b.conv(f"conv_{u}b-c", width << depth, 3, MSRA).relu(f"relu_{u}c")
        b.conv(f"conv_{u}c-d", width << depth, 3, MSRA).relu(f"relu_{u}d")
        size -= 4
    return b.conv("conv_u0d-score", classes, 1, MSRA)


# the weight of each class of CamVid in SegNet's loss: the median of the classes' frequencies by its own frequency
_CAMVID_WEIGHTS = (0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826, 9.6446, 1.8418, 0.6823, 6.2478, 7.3614)
CAMVID = Maps("data/camvid", (3, 360, 480), train=4, test=1)
CELLS = Maps("data/cells", (1, 572, 572), scale=1 / 256)

MODELS: dict[str, Model] = {
    "segnet": Labelling(
        "SegNet on CamVid", CAMVID, segnet,
        solver(40000, 0.001, weight_decay=5e-4, test_iter=[233], test_interval=1000, display=20),
        ignore=11, weights=_CAMVID_WEIGHTS,
    ),
    "unet": Labelling(
        "U-Net for images of cells", CELLS, unet,
        solver(60000, 1e-4, (40000,), momentum=0.99, weight_decay=5e-4, test_iter=[5], display=20),
        ignore=255, border=92,
    ),
}  # fmt: skip
