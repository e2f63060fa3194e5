"""Parameters and multiply-adds that others published, against those of the zoo's deployed nets.

A published number is a string. "60,965,224" is exact; "3.8G" must be what ours gives when it is rounded to these digits
or cut off after them, which authors do as well. Where a source counts something that our net lacks, or the other
way round, `plus` is the difference and `because` says why.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from dragon.models.facts import read_facts
from dragon.models.generate import MODELS


@dataclass(frozen=True)
class Count:
    """A published number, and what ours has more than that."""

    text: str
    source: str
    plus: int = 0
    because: str = ""

    @property
    def value(self) -> float:
        return float(self.text.rstrip("KMG").replace(",", "")) * self.unit

    @property
    def unit(self) -> int:
        return {"K": 10**3, "M": 10**6, "G": 10**9}.get(self.text[-1], 1)

    @property
    def step(self) -> float:
        """One in the last digit."""
        digits = self.text.rstrip("KMG").partition(".")[2]
        return self.unit * 10.0 ** -len(digits)

    def agrees(self, ours: int) -> bool:
        above = ours - self.plus - self.value
        return above == 0 if self.unit == 1 else -0.5000001 * self.step <= above < self.step


HE_2015 = "He et al. 2015, arXiv 1512.03385"
TORCHVISION = "torchvision 0.14 and later, page of the model's weights"
SZE_2017 = "Sze et al. 2017, arXiv 1703.09039, table of popular nets"
GOOGLENET_2014 = "Szegedy et al. 2014, arXiv 1409.4842, section 1"
SEMERY = "O. Semery, imgclsmob: the test of the model"
NIN_GIST = "M. Lin, gist d802a5849de39225bcc6: a file of 29 MiB with 4 bytes for each"

HU_2017 = "Hu et al. 2017, arXiv 1709.01507"
HUANG_2016 = "Huang et al. 2016, arXiv 1608.06993"
OPEN_MODEL_ZOO = "Open Model Zoo, page of the Caffe model, half of its GFLOPs"
# of the paper's shortcuts without parameters there are two here that are 1x1 convolutions with normalisation
PROJECTED = 16 * 32 + 32 * 64 + 2 * (32 + 64)
POOLED_AND_SCALED = 2 * (3 * 56**2 * 256 + 4 * 28**2 * 512 + 6 * 14**2 * 1024 + 3 * 7**2 * 2048)
MODEL_ZOO = "OpenVINO's Open Model Zoo, page of {}"
FOLDED = "scales of batch normalisation, which are folded there"

PARAMS: dict[str, Count] = {
    "alexnet": Count("61M", SZE_2017),
    "caffenet": Count("61M", SZE_2017 + ": the same shapes as AlexNet"),
    "nin_imagenet": Count("7.6M", NIN_GIST),
    "googlenet": Count("6,998,552", "KerasHub, preset inception_v1_imagenet"),
    "inception_resnet_v2": Count("55,843,464", SEMERY),
    "inception_v3": Count("27,161,264", TORCHVISION, -3_326_696, "theirs has the classifier of training only"),
    "inception_v4": Count("42,679,816", SEMERY),
    "densenet121": Count("7,978,856", TORCHVISION),
    "densenet40_cifar10": Count("1.0M", f"{HUANG_2016}, table 2"),
    "efficientnet_b0": Count("5,288,548", TORCHVISION),
    "mobilenet_cifar10": Count("3,217,226", "github.com/kuangliu/pytorch-cifar, models/mobilenet.py, when built"),
    "mobilenet_v1": Count("4.2M", "Howard et al. 2017, arXiv 1704.04861, table 8"),
    "mobilenet_v2": Count("3,504,872", TORCHVISION),
    "mobilenet_v2_shicai": Count(
        "3,504,872", TORCHVISION, 32 * 32 + 2 * 32, "the first block too has a 1x1 convolution at its start"
    ),
    "mobilenet_v3": Count("5,483,032", TORCHVISION),
    "mobilenet_v3_small": Count("2,542,856", TORCHVISION),
    "resnet18": Count("11,689,512", TORCHVISION),
    "resnet34": Count("21,797,672", TORCHVISION),
    "resnet101": Count("44,549,160", TORCHVISION),
    "resnet152": Count("60,192,808", TORCHVISION),
    **{
        f"resnet{depth}_cifar10": Count(text, f"{HE_2015}, table 6", PROJECTED, "shortcuts that are convolutions")
        for depth, text in ((20, "0.27M"), (32, "0.46M"), (44, "0.66M"), (56, "0.85M"), (110, "1.7M"))
    },
    "resnext50": Count("25,028,904", TORCHVISION),
    "se_resnet50": Count("28.1M", f"{HU_2017}, table of reduction ratios"),
    "shufflenet_v2": Count("2,278,604", TORCHVISION),
    "squeezenet_v1.0": Count("1,248,424", TORCHVISION),
    "squeezenet_v1.1": Count("1,235,496", TORCHVISION),
    "resnet50": Count("25,557,032", TORCHVISION, 64, "conv1 has a bias here, as in the published Caffe net"),
    "vgg16": Count("138,357,544", TORCHVISION),
    "vgg19": Count("143,667,240", TORCHVISION),
    "vgg16_bn": Count("138,365,992", TORCHVISION),
    "vgg19_bn": Count("143,678,248", TORCHVISION),
    "xception": Count("22,855,952", SEMERY),
    "fcn32s": Count(
        "134M",
        "Long et al. 2015, arXiv 1411.4038, table 1",
        86_016,
        "weights of the bilinear enlargement, which are not learned",
    ),
    "unet": Count("31,030,658", "tf_unet with 5 levels of 64 features, Keras' summary of the unpadded net, 2 classes"),
    "enet": Count("0.37M", "Paszke et al. 2016, arXiv 1606.02147, table 3"),
    "srcnn": Count("8,032", "Dong et al. 2014, arXiv 1501.00092, table 1", 97, "biases, which the authors leave out"),
    "fsrcnn": Count(
        "12,464", "Dong et al. 2016, arXiv 1608.00367, table 1", 345, "biases and slopes, which the authors leave out"
    ),
    "vdsr": Count(
        "665K", "Ahn et al. 2018 (CARN), arXiv 1803.08664, table 1", 1_153, "biases, which are left out there"
    ),
    "dcgan_generator": Count("3,576,704", "the net of PyTorch's DCGAN tutorial, counted by torchsummary"),
    "dcgan_discriminator": Count("2,765,568", "the net of PyTorch's DCGAN tutorial, counted by torchsummary"),
    "hed": Count(
        "14,714,688", "Keras' VGG16 without its top", 2_847, "the layers of the side outputs and of their sum"
    ),
    "faster_rcnn_vgg16": Count(
        "138,357,544", "Keras' VGG16", -1_279_305, "scores of anchors and regions, and their offsets, in place of fc8"
    ),
    "yolo_v2": Count("50,655,389", "YOLO v2 for 20 classes in PyTorch, counted by torchsummary"),
    "crnn": Count("8.3M", "Shi et al. 2015, arXiv 1507.05717, table 3"),
    "ssd300_vgg": Count("26.285M", MODEL_ZOO.format("ssd300")),
    "mobilenet_ssd": Count("5.783M", MODEL_ZOO.format("mobilenet-ssd"), 12_672, FOLDED),
    "yolo_v3": Count("61,949,149", "keras-yolo3, trainable parameters in Keras' summary"),
    "mtcnn_pnet": Count("0.007M", MODEL_ZOO.format("mtcnn")),
    "mtcnn_rnet": Count("0.1M", MODEL_ZOO.format("mtcnn")),
    "mtcnn_onet": Count("0.389M", MODEL_ZOO.format("mtcnn")),
    "openpose": Count("52,311,446", "the net for COCO in Keras, Keras' summary"),
}
MULTIPLY_ADDS: dict[str, Count] = {
    "alexnet": Count("724M", SZE_2017),
    "caffenet": Count("724M", "S. Albanie, convnet-burden"),
    "googlenet": Count("1.5G", GOOGLENET_2014),
    "inception_v3": Count("5.71G", TORCHVISION),
    "densenet121": Count("2.83G", TORCHVISION),
    "efficientnet_b0": Count("0.39G", "Tan & Le 2019, arXiv 1905.11946, table 2"),
    "mobilenet_v1": Count("569M", "Howard et al. 2017, arXiv 1704.04861, table 8"),
    "mobilenet_v2": Count("300M", "Sandler et al. 2018, arXiv 1801.04381, table 4"),
    "mobilenet_v3": Count("0.22G", TORCHVISION),
    "mobilenet_v3_small": Count("0.06G", TORCHVISION),
    "resnet18": Count("1.8G", f"{HE_2015}, table 1"),
    "resnet34": Count("3.6G", f"{HE_2015}, table 1"),
    "resnet101": Count("7.6G", f"{HE_2015}, table 1"),
    "resnet152": Count("11.3G", f"{HE_2015}, table 1"),
    "resnext50": Count("4.23G", TORCHVISION),
    "se_resnet50": Count(
        "3.87G", f"{HU_2017}, table 2", -POOLED_AND_SCALED, "it counts poolings and the weighting of channels too"
    ),
    "shufflenet_v1": Count("137M", "Zhang et al. 2017, arXiv 1707.01083, table 1"),
    "shufflenet_v2": Count("0.14G", TORCHVISION),
    "squeezenet_v1.0": Count("0.86G", "github.com/forresti/SqueezeNet, half of its 1.72 GFLOPs"),
    "squeezenet_v1.1": Count("0.39G", OPEN_MODEL_ZOO),
    "resnet50": Count("3.8G", f"{HE_2015}, table 1"),
    "vgg16": Count("15.47G", TORCHVISION),
    "vgg19": Count("19.63G", TORCHVISION),
    "vgg16_bn": Count("15.47G", TORCHVISION),
    "vgg19_bn": Count("19.63G", TORCHVISION),
    "yolo_v3": Count("32.93G", "Darknet's page of YOLO v3: 65.86 Bn operations, two for each multiply-add"),
}


@pytest.mark.parametrize("name", PARAMS)
def test_params_equal_the_published(name: str) -> None:
    assert PARAMS[name].agrees(read_facts(name).deployed), f"{PARAMS[name]}: ours are {read_facts(name).deployed:,}"


@pytest.mark.parametrize("name", MULTIPLY_ADDS)
def test_multiply_adds_equal_the_published(name: str) -> None:
    found = MULTIPLY_ADDS[name]
    assert found.agrees(read_facts(name).multiply_adds), f"{found}: ours are {read_facts(name).multiply_adds:,}"


@pytest.mark.parametrize("count", [*PARAMS.values(), *MULTIPLY_ADDS.values()])
def test_a_difference_is_explained(count: Count) -> None:
    assert count.source
    assert bool(count.plus) == bool(count.because)


def test_names_are_those_of_models() -> None:
    assert set(PARAMS) | set(MULTIPLY_ADDS) <= set(MODELS)


@pytest.mark.parametrize(
    ("text", "ours", "agrees"),
    [
        ("1,234", 1234, True),
        ("1,234", 1235, False),
        ("3.8G", 3_849_999_999, True),
        ("3.8G", 3_860_000_000, True),
        ("3.8G", 3_900_000_000, False),
        ("3.8G", 3_740_000_000, False),
        ("25.6M", 25_557_032, True),
        ("26M", 25_400_000, False),
    ],
)
def test_digits_decide_what_agrees(text: str, ours: int, agrees: bool) -> None:
    assert Count(text, "none").agrees(ours) == agrees
