"""Reads batches of clips: consecutive frames of the videos that a list names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.data.batches import Batch, BatchMaker
from dragon.data.frames import Frames
from dragon.data.list_forms import Clip
from dragon.data.listed import ListedReader, Order
from dragon.data.resize import resize_bilinear
from dragon.data.transform import Transformer
from dragon.errors import DataError

__all__ = ["ClipReader", "Sampling"]

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video a clip has: `length` of each of `segments` equal parts, `step` apart.

    counted: the number in the list is how many frames there are, else it is the first frame's. jitter: begin at a
    random frame where the list does not say which. stacked: frames are channels one after another, (length * C, H, W),
    else (C, length, H, W).
    """

    length: int
    step: int = 1
    segments: int = 1
    counted: bool = False
    jitter: bool = False
    stacked: bool = False

    @property
    def span(self) -> int:
        """Frames from the first to behind the last of a segment."""
        return self.length * self.step

    def starts(self, clip: Clip, first: int, count: int, words: Sequence[int], central: bool) -> list[int]:
        """The first frame of each segment. words: one random word for each. Raises DataError for a short video.

        first, count: the number of the video's first frame, and how many frames it has. central: without jitter, take
        the middle of each part, else its beginning.
        """
        if not self.counted and clip.number is not None:
            return [clip.number]
        part = count // self.segments
        if count < self.span:
            raise DataError(f'video "{clip.name}" has {how_many(count, "frame")}, a clip needs {self.span}')
        found = []
        for i, word in enumerate(words):
            if part < self.span:  # as in the temporal segment fork
                found.append(min(1, count - self.span))
            elif self.jitter:
                found.append(i * part + word % (part - self.span + 1))
            else:
                found.append(i * part + ((part - self.span + 1) // 2 if central else 0))
        return [first + start for start in found]


class ClipReader(ListedReader):
    """Reads, resizes and transforms `batch_size` clips at a time; a Producer for the Prefetcher.

    entries: from `read_clips` of the list `source`. open_frames: gives the videos that one name stands for, whose
    frames go one after another (two for optical flow). size: (height, width) to resize to, or None. All frames of a
    clip are cropped and mirrored alike.

    shape: of one clip, (C, length, h, w), or (frames * C, h, w) if they are stacked.
    """

    def __init__(
        self,
        source: str,
        entries: Sequence[Clip],
        open_frames: Callable[[str], list[Frames]],
        transformer: Callable[[int, int], Transformer],
        batch_size: int,
        size: tuple[int, int] | None,
        sampling: Sampling,
        central: bool,
        order: Order,
    ) -> None:
        self._source = source
        self._entries = entries
        self._open = open_frames
        self._size = size
        self._sampling = sampling
        self._central = central
        self._last: tuple[str, list[Frames]] | None = None
        self._lengths: dict[str, int] = {}
        images = self._read(entries[int(order(0)[0])], [0] * sampling.segments)
        self._channels = images[0].shape[0]
        made = transformer(self._channels, len(images))
        super().__init__(len(entries), batch_size, made.rng, order)
        first = self._stack(images).astype(np.float32)  # so that no engine is handed bytes, whose axes are others
        self.maker = BatchMaker(made, batch_size, first, resized=size is not None)
        self.shape = self._form(self.maker.shape)

    def close(self) -> None:
        """Close the video that was read last."""
        self._last = None

    def fill(self, batch: Batch | None = None) -> Batch:
        """The next batch. Raises DataError."""
        chosen = [self._entries[i] for i in self.take()]
        n, segments = len(chosen), self._sampling.segments
        words = self._rng.raw(n * segments) if self._sampling.jitter else np.zeros(n * segments, np.uint64)
        clips = [
            self._stack(self._read(clip, row))
            for clip, row in zip(chosen, words.reshape(n, segments).tolist(), strict=True)
        ]
        data, _, shape = self.maker.make(clips, None, lambda i: f"{self._source}:{chosen[i].line}: the video")
        shape = (n, *self._form(shape[1:]))
        labels = np.array([clip.label for clip in chosen], np.float32)
        return Batch(data.reshape(shape), labels, *self.state(), None, shape)

    def _form(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a clip whose frames were transformed as channels of one image."""
        if self._sampling.stacked:
            return shape
        return (self._channels, shape[0] // self._channels, *shape[1:])

    def _stack(self, images: list[Image]) -> Image:
        """The frames as channels of one image: channel by channel, or frame by frame if they are stacked."""
        if len({image.shape for image in images}) > 1:
            raise DataError(f"{self._source}: frames of one video differ in size; give new_height and new_width")
        axis = 0 if self._sampling.stacked else 1
        frames = np.stack(images, axis=axis)
        return frames.reshape(-1, *frames.shape[2:])

    def _read(self, clip: Clip, words: Sequence[int]) -> list[Image]:
        """The frames of a clip, resized. Raises DataError with the line of the list."""
        try:
            if self._last is None or self._last[0] != clip.name:
                self._last = clip.name, self._open(clip.name)
            videos = self._last[1]
            images: list[Image] = []
            count = self._length(clip, videos[0])
            for start in self._sampling.starts(clip, videos[0].first, count, words, self._central):
                numbers = range(start, start + self._sampling.span, self._sampling.step)
                parts = [video.read(numbers) for video in videos]
                images += [image for together in zip(*parts, strict=True) for image in together]
        except DataError as error:
            raise DataError(f"{self._source}:{clip.line}: {error}") from None
        return images if self._size is None else [resize_bilinear(image, *self._size) for image in images]

    def _length(self, clip: Clip, frames: Frames) -> int:
        """How many frames a video has where the list does not say it; counted once, since that may decode them all."""
        if clip.number is not None:
            return clip.number
        if clip.name not in self._lengths:
            self._lengths[clip.name] = len(frames)
        return self._lengths[clip.name]
