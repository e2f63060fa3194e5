"""Frames of one video: images in a folder, or a video file, which the package av reads (extra `video`)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dragon.data.image_file import Color
from dragon.data.images import read_image
from dragon.errors import DataError, one_line
from dragon.extras import install_command
from dragon.files.paths import missing_hint

__all__ = ["FolderFrames", "Frames", "VideoFrames", "open_frames"]

Image = NDArray[np.uint8]  # (C, H, W), blue first
_NUMBERED = re.compile(r"(.*?)(\d+)\.(?:jpe?g|png|bmp|ppm|tiff?|webp)", re.IGNORECASE)
# containers that hold their frames themselves; others (playlists, scripts) name further files
_FORMATS = "asf,avi,flv,gif,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,mpegvideo,m4v,mjpeg,ogg,rm,swf"
_TRUSTED = 1_000_000  # a container may claim any number of frames


class Frames(Protocol):
    """The frames of a video, in a fixed order."""

    first: int  # number of the first frame

    def __len__(self) -> int: ...

    def read(self, numbers: Sequence[int]) -> list[Image]:
        """The frames with these numbers, in rising order. Raises DataError for one that is not there."""
        ...


def open_frames(path: str, color: Color, pattern: str = "") -> Frames:
    """The frames of a folder, or of a video file. pattern: names of the frames in a folder. Raises DataError."""
    if os.path.isdir(path):
        return FolderFrames(path, color, pattern)
    if not os.path.isfile(path):
        raise DataError(f'video "{path}" does not exist{missing_hint(path)}')
    return VideoFrames(path, color)


class FolderFrames:
    """Images in a folder. A frame's number is the one that its name ends in (000001.jpg, image_0001.jpg).

    pattern: the names, with the number as in C's printf (`image_%04d.jpg`); without it, the images of the folder must
    have one name before their numbers. Raises DataError.
    """

    def __init__(self, path: str, color: Color, pattern: str = "") -> None:
        self._path = path
        self._color = color
        self._pattern = pattern
        self._names: dict[int, str] = {}
        self.first = 1
        if not pattern:
            self._names = _numbered(path)
            self.first = min(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def read(self, numbers: Sequence[int]) -> list[Image]:
        """The frames with these numbers. Raises DataError for one that is not there."""
        return [read_image(self._name(number), self._color) for number in numbers]

    def _name(self, number: int) -> str:
        if self._pattern:
            return os.path.join(self._path, self._pattern % number)
        if number not in self._names:
            last = max(self._names)
            raise DataError(f'"{self._path}" has no frame {number}; its frames are {self.first} to {last}')
        return os.path.join(self._path, self._names[number])


def _numbered(path: str) -> dict[int, str]:
    """The images of a folder by the number that their names end in. Raises DataError."""
    found: dict[str, dict[int, str]] = {}
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise DataError(f'"{path}" cannot be read: {error.strerror or error}') from None
    for name in names:
        if match := _NUMBERED.fullmatch(name):
            found.setdefault(match[1], {})[int(match[2])] = name
    if not found:
        raise DataError(f'"{path}" has no images whose names end in numbers, such as 000001.jpg or image_0001.jpg')
    if len(found) > 1:
        kinds = ", ".join(f'"{prefix}"' for prefix in sorted(found))
        raise DataError(f'"{path}" has numbered images of several names ({kinds}): say which by name_pattern')
    return next(iter(found.values()))


class VideoFrames:
    """A video file, decoded from its beginning; frames are numbered from 0. Raises DataError.

    Frames that follow those of the last call are read without starting again.
    """

    first = 0

    def __init__(self, path: str, color: Color) -> None:
        self._path = path
        self._gray = color == Color.GRAY
        self._decoding: Iterator[Any] | None = None
        self._next = 0
        self._count: int | None = None

    def __len__(self) -> int:
        if self._count is None:
            with _opened(self._path) as container:
                stated = container.streams.video[0].frames
                if not 0 < stated < _TRUSTED:
                    stated = sum(1 for _ in _guarded(self._path, container.decode(video=0)))
                self._count = stated
        return self._count

    def read(self, numbers: Sequence[int]) -> list[Image]:
        """The frames with these numbers, in rising order. Raises DataError for one that is not there."""
        if self._decoding is None or numbers[0] < self._next:
            self._decoding, self._next = _decode(self._path), 0
        found: list[Image] = []
        for number in numbers:
            frame = None
            while self._next <= number:
                frame = next(self._decoding, None)
                if frame is None:
                    count, self._decoding = self._next, None
                    raise DataError(f'video "{self._path}" has no frame {number}; its frames are 0 to {count - 1}')
                self._next += 1
            found.append(self._pixels(frame) if frame is not None else found[-1])
        return found

    def _pixels(self, frame: Any) -> Image:
        if self._gray:
            return np.ascontiguousarray(frame.to_ndarray(format="gray"))[np.newaxis]
        return np.ascontiguousarray(frame.to_ndarray(format="bgr24").transpose(2, 0, 1))


def _opened(path: str) -> Any:
    try:
        import av
    except ImportError:
        raise DataError(f'"{path}": a video file needs a package: {install_command("video")}') from None
    try:
        container = av.open(path, container_options={"protocol_whitelist": "file", "format_whitelist": _FORMATS})
    except (av.FFmpegError, OSError, ValueError) as error:
        raise DataError(f'video "{path}" cannot be read: {one_line(str(error))}') from None
    if not container.streams.video:
        container.close()
        raise DataError(f'"{path}" has no video stream')
    return container


def _decode(path: str) -> Iterator[Any]:
    """The frames of a video. No method, so that the file is closed when VideoFrames is dropped, without a cycle."""
    with _opened(path) as container:
        yield from _guarded(path, container.decode(video=0))


def _guarded(path: str, frames: Iterator[Any]) -> Iterator[Any]:
    """The frames, with the library's errors as DataError."""
    try:
        yield from frames
    except DataError:
        raise
    except Exception as error:  # the decoders raise exceptions of many types
        raise DataError(f'video "{path}" is damaged: {one_line(str(error))}') from None
