"""Layout: how an array of images lies in the memory of a GPU."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """Channels last: the `channels` x `spatial` elements of each image lie as (spatial, channels).

    None in the place of a Layout is channels first, (channels, spatial), as on the host.
    """

    channels: int
    spatial: int
