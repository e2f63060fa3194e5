"""Layouts: which of a net's blobs lie with their channels last on the GPU, as tensor cores read them.

A blob (N, C, H, W) may lie as (N, H, W, C) there. Scripts, snapshots and hooks see (N, C, H, W): copies to and from the
host change the order. Where the channels of a layer's blobs may lie is known by its lowering
(`Lowering.takes_channels_last`). All other layers read and write copies with channels first.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.counting import how_many
from dragon.engines.cuda.device.layout import Layout
from dragon.engines.cuda.lowerings.lowering import by_channel, find, runs_on_host
from dragon.engines.cuda.plan.types import Classes, Types, storages
from dragon.memory.storage import Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net
    from dragon.graph.node import Node
    from dragon.memory.blob import Blob

__all__ = ["Layouts", "on_tensor_cores"]


def on_tensor_cores(net: Net, half: np.dtype[Any] | None, tf32: bool) -> bool:
    """Whether tensor cores may compute a net's products: in 16 bits, or of float32 as TF32. half: the 16-bit type."""
    return half is not None or (tf32 and net.context.dtype == np.float32)


class Layouts:
    """The layouts of a net's blobs. wanted: whether channels may lie last.

    Layers that take channels last, and the blobs between them, form regions. A region has its channels last if it has
    more convolutions than blobs that other layers need as copies. Blobs of one channel or
    one pixel are the same in either order and belong to no region. conversions: how many blobs other layers need as
    copies. refused: how many regions stay as they are, though they have a convolution.
    """

    def __init__(self, net: Net, types: Types, wanted: bool) -> None:
        self._types = types
        self.wanted = wanted
        self._layouts: dict[Storage, Layout] = {}
        self._layers = [False] * len(net.nodes)
        self.conversions = self.refused = 0
        if wanted:
            self._decide(net)

    def of(self, storage: Storage) -> Layout | None:
        """The layout of a storage on the GPU; None: channels first."""
        return self._layouts.get(storage)

    def takes_channels_last(self, index: int) -> bool:
        """Whether layer `index` computes on blobs with channels last; else on copies with channels first, if any."""
        return self._layers[index]

    def differ_from(self, other: Layouts) -> bool:
        """Whether a storage has another layout than in `other`."""
        return self._layouts != other._layouts

    @property
    def blobs(self) -> int:
        """The number of storages of data and gradients whose channels lie last."""
        return len(self._layouts)

    def remarks(self) -> list[str]:
        """A line about the regions, if there are any."""
        parts = []
        if self._layouts:
            parts.append(
                f"{how_many(sum(self._layers), 'layer')}, with {how_many(self.conversions, 'blob')} converted "
                "for others"
            )
        if self.refused:
            parts.append(f"{how_many(self.refused, 'region')} of layers left out, where conversions would cost more")
        return [f"Channels last: {'; '.join(parts)}"] if parts else []

    def _decide(self, net: Net) -> None:
        forms = self._forms(net)

        def ordered(node: Node) -> list[Blob]:
            """A layer's blobs whose order in memory matters."""
            return [blob for blob in (*node.bottoms, *node.tops) if blob.data_storage in forms]

        regions, takes = Classes(), [False] * len(net.nodes)
        for node in net.nodes:
            blobs, lowering = ordered(node), find(node)
            takes[node.index] = (
                bool(blobs) and lowering is not None and not runs_on_host(node.layer)
                and (self._types.half is None or self._types.runs_in_16_bits(node.index))
                and all(forms[blob.data_storage] is not None for blob in blobs)
                and lowering.takes_channels_last(node.layer, node.bottoms, node.tops)
            )  # fmt: skip
            if takes[node.index]:
                regions.join(storage for blob in blobs for storage in storages(blob))
        gains, borders = Counter[Storage](), Counter[Storage]()
        for node in net.nodes:
            blobs = ordered(node)
            if takes[node.index]:
                lowering = find(node)
                gains[regions.of(blobs[0].data_storage)] += lowering is not None and lowering.gains_by_channels_last
            elif not runs_on_host(node.layer):
                for region in {blob.data_storage: regions.of(blob.data_storage) for blob in blobs}.values():
                    borders[region] += 1
        chosen = {region for region, gain in gains.items() if gain > borders[region]}
        for node in net.nodes:
            self._layers[node.index] = takes[node.index] and any(
                regions.of(blob.data_storage) in chosen for blob in ordered(node)
            )
        for storage, layout in forms.items():
            if layout is not None and regions.of(storage) in chosen:
                self._layouts[storage] = layout
        self.conversions = sum(borders[region] for region in chosen)
        self.refused = sum(gain > 0 for gain in gains.values()) - len(chosen)

    def _forms(self, net: Net) -> dict[Storage, Layout | None]:
        """For each storage whose order matters the layout that it may have, None where it must have channels first.

        These are blobs that are no images, share memory in other shapes, are learned, or do not have the type of
        activations.
        """
        forms: dict[Storage, Layout | None] = {}
        learned = {storage for node in net.nodes for blob in node.layer.blobs for storage in storages(blob)}
        seen: dict[Storage, set[tuple[int, int, int]]] = {}
        blobs = [blob for node in net.nodes for blob in (*node.bottoms, *node.tops) if blob.count and blob.ndim]
        for blob in blobs:
            for storage in storages(blob):
                seen.setdefault(storage, set()).add((blob.ndim, *by_channel(blob.shape)[1:]))
        for storage, shapes in seen.items():
            (axes, channels, spatial), *others = shapes
            if (channels == 1 or spatial == 1) and all(1 in shape[1:] for shape in others):
                continue
            typed = self._types.half is None or self._types.is_16_bit(storage)
            images = not others and axes == 4 and storage not in learned and typed
            forms[storage] = Layout(channels, spatial) if images else None
        for blob in blobs:  # the data and the gradient of a blob have one layout
            if any(forms.get(storage, ()) is None for storage in storages(blob)):
                forms.update(dict.fromkeys(storages(blob)))
        return forms
