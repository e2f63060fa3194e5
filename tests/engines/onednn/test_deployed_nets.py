"""In TEST, random nets of what deployed nets are made of have the blobs of the reference, whatever a script does.

Inputs are zero, tiny, large or not finite, weights are changed, batches reshaped, and parts run from blobs that were
written. ONEDNN_DEPLOYED_NETS=N tries N nets; ONEDNN_DEPLOYED_START=S begins with seed S.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
import pytest

import dragon
from dragon.errors import ShapeError
from tests.engines.onednn.comparing import Array, make_net
from tests.engines.onednn.deployed_nets import DeployedNet

pytestmark = [pytest.mark.usefixtures("device"), pytest.mark.filterwarnings("ignore::RuntimeWarning")]

COUNT = int(os.environ.get("ONEDNN_DEPLOYED_NETS", "60"))
START = int(os.environ.get("ONEDNN_DEPLOYED_START", "0"))
BATCH = 10
PASSES = 4
TOLERANCE = 1e-4  # of the largest value of a blob
FACTORS = (1.0, 1.0, 1.0, 0.0, 1e-37, 1e4, 1e12, 1e25)
PLANTED = (np.nan, np.inf, -np.inf, 1e4)
LARGE = 1e30  # beyond it sums may overflow in one order and not in another
LARGE_RESPONSE = 1e5  # the same for LRN: quirk "response of large values"


class Trio:
    """A net on the reference, there in float64, and on oneDNN; every action is done to all of them."""

    def __init__(self, seed: int) -> None:
        text = DeployedNet(seed).text
        self.rng = np.random.default_rng((seed, 1))
        self.weights = False  # whether a weight is not finite
        fuse, winograd = (bool(self.rng.random() < share) for share in (0.8, 0.5))
        self.reference = make_net(text, "numpy", dragon.TEST)
        self.exact = make_net(text, "numpy", dragon.TEST, np.float64)
        self.net = make_net(text, "onednn", dragon.TEST, fuse=fuse, winograd=winograd)
        self.nets = self.reference, self.exact, self.net
        self.spreads = winograd  # of a NaN to its tile
        self.images = [name for name in self.net.inputs if name.startswith("x")]
        self.infinite = False  # whether a blob was infinite in the last whole pass or since
        self.log: list[str] = []
        for name, blobs in self.reference.params.items():
            for i in range(len(blobs)):
                self.write_parameter(name, i)

    def values(self, shape: tuple[int, ...]) -> Array:
        value = self.rng.standard_normal(shape)
        if self.rng.random() < 0.4 and value.size:
            value.reshape(-1)[self.rng.integers(value.size)] = self.rng.choice(PLANTED)
        return np.asarray(value * self.rng.choice(FACTORS))

    def write_parameter(self, name: str, i: int) -> None:
        blob, layer = self.reference.params[name][i], self.reference.layers[self.reference.layer_index(name)]
        value = self.rng.standard_normal(blob.shape)
        if blob.ndim > 1:
            value *= np.sqrt(blob.shape[0] / blob.count)
        value = np.abs(value) + 0.5 if i in layer.buffers else value
        for net in self.nets:
            net.params[name][i].data[...] = value.astype(np.float32)

    def change_parameter(self) -> None:
        if not self.reference.params:
            return
        name = str(self.rng.choice(list(self.reference.params)))
        i = int(self.rng.integers(len(self.reference.params[name])))
        self.write_parameter(name, i)
        layer = self.reference.layers[self.reference.layer_index(name)]
        self.log.append(f"blob {i} of {name}")
        if i not in layer.buffers and self.rng.random() < 0.4:  # in the middle of a kernel, where no padding lies
            blob = self.reference.params[name][i]
            at = tuple(size // 2 for size in blob.shape)
            value = self.rng.choice([np.nan, np.inf, 1e20])
            self.weights = True
            for net in self.nets:
                net.params[name][i].data[at] = value

    def reshape(self) -> bool:
        """Whether the net takes another number of images, on all engines or on none."""
        count = int(self.rng.integers(1, 5))
        self.log.append(f"{count} images")
        errors = []
        for net in self.nets:
            for name in self.images:
                net.blobs[name].reshape(count, *net.blobs[name].shape[1:])
            try:
                net.reshape()
            except ShapeError as error:
                errors.append(str(error))
        assert errors in ([], errors[:1] * len(self.nets))
        return not errors

    def run(self) -> None:
        for name in self.reference.inputs:
            self.write(name)
        self.log.append("forward")
        for net in self.nets:
            net.run_forward()
        self.infinite = self._is_infinite()

    def run_part(self) -> None:
        start, end = sorted(self.rng.integers(0, len(self.reference.layers), 2).tolist())
        names = [name for i in range(start, end + 1) for name in self.reference.bottom_names_of(i)]
        if names:
            self.write(str(self.rng.choice(names)))
        self.log.append(f"forward {start}..{end}")
        for net in self.nets:
            net.run_forward(start, end)
        self.infinite |= self._is_infinite()

    def _is_infinite(self) -> bool:
        return any(np.isinf(blob.peek()).any() for blob in self.reference.blobs.values())

    def write(self, name: str) -> None:
        value = self.values(self.reference.blobs[name].shape).astype(np.float32)
        for net in self.nets:
            net.blobs[name].data[...] = value

    def compare(self, names: Iterable[str]) -> None:
        known = {name: (self.reference.blobs[name].peek(), blob.peek()) for name, blob in self.exact.blobs.items()}
        if any(self._overflows(*both) for both in known.values()):
            return
        # infinities become NaN in tiles, in channels that fill a block, and by an infinite scale
        loose = self.spreads or self.weights or self.infinite
        for name in names:
            single, exact = known[name]
            found = self.net.blobs[name].peek()
            assert found.shape == single.shape, name
            lost = ~np.isfinite(single) & np.isfinite(found)
            assert not lost.any() or self.weights, f"{name}: finite, expected {single[lost][:3]}"
            made = np.isfinite(single) & ~np.isfinite(found)
            assert not made.any() or loose, f"{name}: {found[made][:3]}, expected {single[made][:3]}"
            both = np.isfinite(single) & np.isfinite(found)
            if both.any():
                error = np.abs(found - exact)[both].max()
                least = TOLERANCE * max(0.1, np.abs(exact[both]).max()) + 30 * np.abs(single - exact)[both].max()
                assert error <= least, f"{name}: off by {error:g}, may be by {least:g}"

    def _overflows(self, single: Array, exact: Array) -> bool:
        finite = exact[np.isfinite(exact)]
        limit = LARGE_RESPONSE if any(layer.type == "LRN" for layer in self.exact.layers) else LARGE
        return bool((np.abs(finite) > limit).any()) or not np.array_equal(np.isfinite(single), np.isfinite(exact))


def check(trio: Trio) -> None:
    seen = trio.rng.random() < 0.5  # looking at blobs changes where they lie
    for n in range(PASSES):
        if trio.rng.random() < 0.25 and not trio.reshape():
            return
        if n and trio.rng.random() < 0.5:
            trio.change_parameter()
        trio.run()
        trio.compare(trio.net.blobs if seen or n == PASSES - 1 else trio.net.outputs)
        if trio.rng.random() < 0.4:
            trio.run_part()
            trio.compare(trio.net.blobs)


@pytest.mark.parametrize("first", range(START, START + COUNT, BATCH))
def test_deployed_nets(first: int) -> None:
    for seed in range(first, first + BATCH):
        trio = Trio(seed)
        try:
            check(trio)
        except Exception as error:
            error.add_note(f"seed {seed}: {', '.join(trio.log)}\n{DeployedNet(seed).text}")
            raise
