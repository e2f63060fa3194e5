"""A device shared by the tests of this folder; without the library they are skipped as a whole."""

from __future__ import annotations

import pytest

from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.threads import set_threads
from dragon.engines.onednn.lowerings import filtering as _filtering
from dragon.engines.onednn.lowerings import images_last as _images_last
from dragon.engines.onednn.lowerings import square_tiles as _square_tiles
from tests.engines import needs


@pytest.fixture(scope="session")
def device() -> Device:
    needs.onednn()
    set_threads(1)
    return Device()


@pytest.fixture
def vnni(device: Device) -> None:
    """Skip where weights in int8 have 7 bits, and layers that read negative values stay in float32."""
    if not device.has_vnni:
        pytest.skip("this CPU has no VNNI")


@pytest.fixture
def winograd_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolve with fewer products wherever that is possible, were it slower."""
    monkeypatch.setattr(_filtering, "FEWEST", 1)
    monkeypatch.setattr(_filtering, "NARROWEST", 1)
    monkeypatch.setattr(_filtering, "CACHED", 4096)  # several rounds
    monkeypatch.setattr(_filtering, "WORTH", float("inf"))


@pytest.fixture
def square_tiles_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """In TEST, convolve in square tiles wherever that is possible, were it slower."""
    monkeypatch.setattr(_square_tiles, "FEWEST", 1)
    monkeypatch.setattr(_square_tiles, "WORTH", float("inf"))
    monkeypatch.setattr(_square_tiles, "MEASURED", False)


@pytest.fixture
def images_last_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolve with the images as innermost axis wherever that is possible, were it slower."""
    monkeypatch.setattr(_images_last, "FEWEST", 1)
    monkeypatch.setattr(_images_last, "BLOCK", 1)
    monkeypatch.setattr(_images_last, "WORTH", float("inf"))
