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

PARAMS: dict[str, Count] = {
    "alexnet": Count("61M", SZE_2017),
    "caffenet": Count("61M", SZE_2017 + ": the same shapes as AlexNet"),
    "nin_imagenet": Count("7.6M", NIN_GIST),
    "googlenet": Count("6,998,552", "KerasHub, preset inception_v1_imagenet"),
    "inception_resnet_v2": Count("55,843,464", SEMERY),
    "inception_v3": Count("27,161,264", TORCHVISION, -3_326_696, "theirs has the classifier of training only"),
    "inception_v4": Count("42,679,816", SEMERY),
    "resnet50": Count("25,557,032", TORCHVISION, 64, "conv1 has a bias here, as in the published Caffe net"),
    "vgg16": Count("138,357,544", TORCHVISION),
    "vgg19": Count("143,667,240", TORCHVISION),
    "vgg16_bn": Count("138,365,992", TORCHVISION),
    "vgg19_bn": Count("143,678,248", TORCHVISION),
    "xception": Count("22,855,952", SEMERY),
}
MULTIPLY_ADDS: dict[str, Count] = {
    "alexnet": Count("724M", SZE_2017),
    "caffenet": Count("724M", "S. Albanie, convnet-burden"),
    "googlenet": Count("1.5G", GOOGLENET_2014),
    "inception_v3": Count("5.71G", TORCHVISION),
    "resnet50": Count("3.8G", f"{HE_2015}, table 1"),
    "vgg16": Count("15.47G", TORCHVISION),
    "vgg19": Count("19.63G", TORCHVISION),
    "vgg16_bn": Count("15.47G", TORCHVISION),
    "vgg19_bn": Count("19.63G", TORCHVISION),
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
