"""The layer type VideoData."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from dragon.bases.layer import TRAIN, register
from dragon.bases.listed import Listed
from dragon.data import Color, Transformer
from dragon.data.clips import ClipReader, Sampling
from dragon.data.frames import FolderFrames, Frames, open_frames
from dragon.data.list_forms import Clip, read_clips
from dragon.errors import DataError
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["VideoData"]

_VIDEO = pb.VideoDataParameter


@register()
class VideoData(Listed):
    """Clips of the videos that `source` lists: folders of numbered images, or video files (extra `video`).

    As in C3D and video-caffe: lines "VIDEO START LABEL", where START is the number of a clip's first frame (as in the
    names of images, from 0 in a video file). Tops: data (batch_size, C, new_length, h, w), blue first, and label
    (batch_size). With `use_temporal_jitter` a clip begins at a random frame in TRAIN, at the first in TEST; lines are
    then "VIDEO LABEL", or with `use_image` "VIDEO FRAMES LABEL".

    As in the temporal segment fork (yjxiong), with `num_segments`, `modality` or `name_pattern`: lines "VIDEO FRAMES
    LABEL"; new_length frames of each of num_segments equal parts, from a random frame in TRAIN, from the middle in
    TEST. Tops: data (batch_size, channels of all frames, h, w), label. `modality: FLOW` takes two grey images for each
    frame, x and y (name_pattern, "flow_%c_%04d.jpg" unless it is given).

    As in SSD, with `video_file`: the frames of one video, one by one, batch_size of data_param at a time; one top, data
    (batch_size, C, h, w). All frames of a clip are cropped and mirrored alike. Cameras are not read.
    """

    type = "VideoData"
    settings = ("video_data_param", "data_param", "transform_param")
    gives_bytes = False
    offered = ("resize_param",)

    @property
    def list_param(self) -> pb.VideoDataParameter:
        return self.param.video_data_param

    @property
    def segmented(self) -> bool:
        """Whether the settings are those of the temporal segment fork."""
        p = self.list_param
        return any(map(p.HasField, ("num_segments", "modality", "name_pattern")))

    @property
    def flow(self) -> bool:
        """Whether frames are pairs of grey images of optical flow."""
        return self.segmented and self.list_param.modality == _VIDEO.FLOW

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.list_param
        single = p.HasField("video_file") or p.video_type == _VIDEO.VIDEO
        with self.naming_errors():
            if single:
                source, batch, sampling, entries = self._one_video(len(top))
            else:
                source, batch, sampling, entries = self._list()
            pattern, root = self._pattern(), "" if single else self.root()
            order = self.order_of(len(entries))
            reader = ClipReader(
                source, entries, lambda name: self._open(root + name, pattern), self._transformer, batch, self._size(),
                sampling, self.segmented and self.phase != TRAIN, order,
            )  # fmt: skip
            self.start(reader, reader.maker, len(entries))
        top[0].reshape(batch, *reader.shape)
        if len(top) > 1:
            top[1].reshape(batch)

    def _one_video(self, tops: int) -> tuple[str, int, Sampling, list[Clip]]:
        """Name for errors, batch size, sampling and entries of SSD's form: a frame is an entry."""
        p = self.list_param
        if not p.video_file:
            self.bad_param("video_data_param needs a video_file")
        if p.source or tops > 1:
            self.bad_param("has no labels and no source with video_file: leave out the source and the second top")
        path = self.find(p.video_file, "video file")
        step = 1 + p.skip_frames
        count = len(open_frames(path, self.color)) // step
        if not count:
            raise DataError(f'video "{path}" has too few frames for skip_frames {p.skip_frames}')
        entries = [Clip(i, path, i * step + p.skip_frames, 0) for i in range(count)]
        return path, self.param.data_param.batch_size or 1, Sampling(1, stacked=True), entries

    def _list(self) -> tuple[str, int, Sampling, list[Clip]]:
        """The same of a list of videos."""
        p = self.list_param
        if not p.source and p.video_type == _VIDEO.WEBCAM and p.HasField("video_type"):
            self.bad_param("does not read cameras: give a video_file, or a source")
        self.check_list()
        if p.new_length < 1 or p.sampling_rate < 1 or p.num_segments < 1:
            self.bad_param("new_length, sampling_rate and num_segments must be at least 1")
        train, jitter = self.phase == TRAIN, p.use_temporal_jitter
        if self.segmented:
            if jitter or p.HasField("use_image"):
                self.bad_param(
                    "num_segments, modality and name_pattern do not go with use_temporal_jitter or use_image"
                )
            sampling = Sampling(p.new_length, p.sampling_rate, p.num_segments, counted=True, jitter=train, stacked=True)
        else:
            counted = jitter and p.use_image
            sampling = Sampling(p.new_length, p.sampling_rate, counted=counted, jitter=jitter and train)
        source = self.find(p.source, "list of videos")
        what = "FRAMES" if sampling.counted else "START"
        entries = read_clips(source, self.root(), sampling.counted or not jitter, what)
        return source, p.batch_size, sampling, entries

    def _size(self) -> tuple[int, int] | None:
        """(height, width) that frames are resized to: new_height and new_width, or SSD's resize_param."""
        resize = self.param.transform_param.resize_param
        if not resize:
            return self.new_size
        only = resize[0]
        if len(resize) > 1 or only.resize_mode != pb.ResizeParameter.WARP or not (only.height and only.width):
            self.bad_param("follows one resize_param with resize_mode: WARP, height and width")
        return only.height, only.width

    @property
    def color(self) -> Color:
        return Color.GRAY if self.flow else super().color

    def _pattern(self) -> str:
        """name_pattern, checked: with %c for x and y in optical flow, and the frame's number."""
        pattern: str = self.list_param.name_pattern or ("flow_%c_%04d.jpg" if self.flow else "")
        wanted = r"[^%]*%c[^%]*%0?\d*d[^%]*" if self.flow else r"[^%]*%0?\d*d[^%]*"
        if pattern and not re.fullmatch(wanted, pattern):
            form = "flow_%c_%04d.jpg" if self.flow else "image_%04d.jpg"
            self.bad_param(f'name_pattern must have the form "{form}", got "{pattern}"')
        return pattern

    def _open(self, path: str, pattern: str) -> list[Frames]:
        """The frames of a video; those of x and of y for optical flow."""
        if self.list_param.use_image and not os.path.isdir(path):
            raise DataError(f'"{path}" is no folder of frames, which use_image says it is')
        if not self.flow:
            return [open_frames(path, self.color, pattern)]
        if not os.path.isdir(path):
            raise DataError(f'"{path}" is no folder of optical flow')
        return [FolderFrames(path, Color.GRAY, pattern.replace("%c", axis)) for axis in "xy"]

    def _transformer(self, channels: int, frames: int) -> Transformer:
        """The transformer for the frames of a clip as channels of one image; mean_value holds for each frame."""
        param = self.transform_param()
        param.ClearField("resize_param")
        means = list(param.mean_value)
        if channels > 1 and len(means) == channels:
            stacked = self.segmented or self.list_param.video_file
            param.mean_value[:] = means * frames if stacked else [mean for mean in means for _ in range(frames)]
        return self.transformer(param)
