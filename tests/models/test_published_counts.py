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

PARAMS: dict[str, Count] = {
    "resnet50": Count("25,557,032", TORCHVISION, 64, "conv1 has a bias here, as in the published Caffe net"),
}
MULTIPLY_ADDS: dict[str, Count] = {
    "resnet50": Count("3.8G", f"{HE_2015}, table 1"),
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
