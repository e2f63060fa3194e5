"""VideoData: clips from folders of frames and from video files, in the forms of three forks."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dragon
from dragon.bases.layer import TEST, TRAIN
from dragon.data.frames import VideoFrames
from dragon.errors import DragonError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.layers.helpers import One, goes_on_as

# frame t of video v has blue 20 v + t everywhere, so that a clip says which frames it has
FRAMES = np.zeros((2, 12, 6, 8, 3), np.uint8)
FRAMES[..., 2] = (20 * np.arange(2)[:, None] + np.arange(12))[..., None, None]
FRAMES[..., :2] = np.random.default_rng(1).integers(0, 256, (2, 12, 6, 8, 2), np.uint8)


def write_video(path: Path, frames: Any) -> None:
    """A video without losses."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=5)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folders v0 and v1 of frames (from 1), and the same as video files (from 0)."""
    for v, frames in enumerate(FRAMES):
        (tmp_path / f"v{v}").mkdir()
        for t, pixels in enumerate(frames):
            Image.fromarray(pixels).save(tmp_path / f"v{v}" / f"image_{t + 1:04d}.png")
        write_video(tmp_path / f"v{v}.mkv", frames)
    return tmp_path


def make(
    folder: Path, lines: str, setting: str, transform: str = "", phase: int = TRAIN, n_top: int = 2, seed: int = 3
) -> One:
    (folder / "list.txt").write_text(lines)
    text = (
        f'type: "VideoData" video_data_param {{ source: "{folder}/list.txt" root_folder: "{folder}/" {setting} }} '
        f"transform_param {{ {transform} }}"
    )
    return One(text, n_top=n_top, phase=phase, seed=seed)


def blue(clips: Any) -> Any:
    """The blue of each frame of clips (N, C, L, h, w)."""
    assert (clips[:, 0] == clips[:, 0, :, :1, :1]).all()
    return clips[:, 0, :, 0, 0].tolist()


@pytest.mark.parametrize(("kind", "first"), [("", 1), (".mkv", 0)])
def test_clips(folder: Path, kind: str, first: int) -> None:
    lines = f"v0{kind} {first} 3\nv1{kind} {first + 4} 5\n"
    one = make(folder, lines, "batch_size: 2 new_length: 3")
    clips = one.forward()
    assert clips.shape == (2, 3, 3, 6, 8)
    assert blue(clips) == [[0, 1, 2], [24, 25, 26]]
    np.testing.assert_array_equal(clips[1], FRAMES[1, 4:7].transpose(3, 0, 1, 2)[::-1])
    assert one.top[1].data.tolist() == [3, 5]
    one.layer.close()
    one = make(folder, lines, "batch_size: 2 new_length: 3 sampling_rate: 2 is_color: false")
    assert one.forward().shape == (2, 1, 3, 6, 8)
    one.layer.close()


def test_distances_of_frames(folder: Path) -> None:
    one = make(folder, "v0.mkv 1 0\nv0.mkv 0 0\nv0 2 0\n", "batch_size: 3 new_length: 3 sampling_rate: 3")
    assert blue(one.forward()) == [[1, 4, 7], [0, 3, 6], [1, 4, 7]]
    one.layer.close()


def test_all_frames_of_a_clip_are_transformed_alike(folder: Path) -> None:
    transform = "crop_size: 4 mirror: true mean_value: 1 mean_value: 2 mean_value: 3 scale: 2"
    one = make(folder, "v0 1 0\nv1 1 0\n", "batch_size: 2 new_length: 3", transform)
    places = set()
    for _ in range(6):
        clips = one.forward() / 2 + np.array([1, 2, 3]).reshape(3, 1, 1, 1)
        assert clips.shape == (2, 3, 3, 4, 4)
        for v, clip in enumerate(clips):
            frames = FRAMES[v, :3].transpose(3, 0, 1, 2)[::-1]
            found = [
                (row, column, flip)
                for row in range(3)
                for column in range(5)
                for flip in (False, True)
                if np.allclose(clip, frames[:, :, row : row + 4, column : column + 4][..., :: -1 if flip else 1])
            ]
            assert len(found) == 1
            places.add(found[0])
    assert len(places) > 4
    one.layer.close()


def test_frames_are_resized(folder: Path) -> None:
    one = make(folder, "v0 1 0\n", "batch_size: 1 new_length: 2 new_height: 3 new_width: 4")
    assert one.forward().shape == (1, 3, 2, 3, 4)
    assert blue(one.forward()) == [[0, 1]]
    one.layer.close()


@pytest.mark.parametrize(
    ("lines", "setting"), [("v0.mkv 0\nv1.mkv 1\n", ""), ("v0 12 0\nv1 12 1\n", "use_image: true")]
)
def test_temporal_jitter(folder: Path, lines: str, setting: str) -> None:
    setting = f"batch_size: 2 new_length: 4 use_temporal_jitter: true {setting}"
    one = make(folder, lines, setting)
    starts = [row[0] % 20 for _ in range(12) for row in blue(one.forward())]
    assert set(starts) <= set(range(9))
    assert len(set(starts)) > 4
    one.layer.close()
    one = make(folder, lines, setting, phase=TEST)
    assert blue(one.forward()) == [[0, 1, 2, 3], [20, 21, 22, 23]]
    one.layer.close()


def test_frames_are_counted_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files like these do not say how many frames they have, so that all of them are decoded to count them."""
    counted = []
    original = VideoFrames.__len__

    def count(self: VideoFrames) -> int:
        counted.append(self)
        return original(self)

    monkeypatch.setattr(VideoFrames, "__len__", count)
    one = make(folder, "v0.mkv 0\nv1.mkv 1\n", "batch_size: 2 new_length: 4 use_temporal_jitter: true")
    for _ in range(4):
        one.forward()
    one.layer.close()
    assert len(counted) == 2


def test_segments_as_in_the_temporal_segment_fork(folder: Path) -> None:
    setting = 'batch_size: 2 new_length: 2 num_segments: 3 modality: RGB name_pattern: "image_%04d.png"'
    one = make(folder, "v0 12 0\nv1 12 1\n", setting, phase=TEST)
    clips = one.forward()
    assert clips.shape == (2, 3 * 2 * 3, 6, 8)
    # parts of 4 frames: the middle begins (4 - 2 + 1) // 2 behind the part's start
    assert clips[:, ::3, 0, 0].tolist() == [[1, 2, 5, 6, 9, 10], [21, 22, 25, 26, 29, 30]]
    one.layer.close()
    one = make(folder, "v0 12 0\nv1 12 1\n", setting, "mean_value: 1 mean_value: 0 mean_value: 0")
    starts = np.concatenate([one.forward()[:, ::6, 0, 0] + 1 for _ in range(10)])
    for part in range(3):
        assert set((starts[:, part] % 20).astype(int)) == {4 * part, 4 * part + 1, 4 * part + 2}
    one.layer.close()


def test_optical_flow(folder: Path) -> None:
    for t in range(3):
        for axis, add in (("x", 0), ("y", 100)):
            Image.fromarray(np.full((6, 8), t + add, np.uint8)).save(folder / "v0" / f"flow_{axis}_{t + 1:04d}.jpg")
    one = make(folder, "v0 3 7\n", "batch_size: 1 new_length: 3 modality: FLOW", phase=TEST)
    clips = one.forward()
    assert clips.shape == (1, 6, 6, 8)
    np.testing.assert_allclose(clips[0, :, 0, 0], [0, 100, 1, 101, 2, 102], atol=1)
    one.layer.close()


def test_one_video_as_in_ssd(folder: Path) -> None:
    text = (
        f'type: "VideoData" video_data_param {{ video_type: VIDEO video_file: "{folder}/v1.mkv" skip_frames: 1 }} '
        "data_param { batch_size: 2 } transform_param { mean_value: 20 mean_value: 0 mean_value: 0 "
        "resize_param { resize_mode: WARP height: 3 width: 4 } }"
    )
    one = One(text)
    frames = [one.forward().copy() for _ in range(4)]
    assert frames[0].shape == (2, 3, 3, 4)
    assert [f[:, 0, 0, 0].tolist() for f in frames] == [[1, 3], [5, 7], [9, 11], [1, 3]]
    one.layer.close()


def test_settings_of_c3d(folder: Path) -> None:
    (folder / "list.txt").write_text("v0/ 3 1\n")
    net = parse_text(
        f"""
        layers {{ name: "data" type: VIDEO_DATA top: "data" top: "label"
          image_data_param {{ source: "{folder}/list.txt" root_folder: "{folder}/" use_image: true new_length: 2
            batch_size: 1 crop_size: 4
            mirror: false show_data: 0 new_height: 6 new_width: 8
            scale: 0.5 }} transform_param {{ mean_value: 2 }} }}
        """,
        pb.NetParameter(),
    )
    with dragon.Net(net, phase=dragon.TEST) as made:
        made.forward()
        assert made.blobs["data"].shape == (1, 3, 2, 4, 4)
        np.testing.assert_allclose(made.blobs["data"].data[0, 0, :, 0, 0], [0, 0.5])
        assert made.blobs["label"].data.tolist() == [1]


def test_resume_is_exact(folder: Path) -> None:
    setting = "batch_size: 2 new_length: 3 shuffle: true use_temporal_jitter: true"
    one, other = (
        make(folder, "v0.mkv 0\nv1.mkv 1\nv0.mkv 2\n", setting, "crop_size: 4 mirror: true", seed=seed)
        for seed in (3, 99)
    )
    for _ in range(3):
        one.forward()
    goes_on_as(one, other)


@pytest.mark.parametrize(
    ("lines", "setting", "message"),
    [
        ("v0 1\n", "", r'list\.txt:1: expected "VIDEO START LABEL", got "v0 1"'),
        ("v0 1.5 1\n", "", r"list\.txt:1: expected"),
        ("v0 -1 1\n", "", r"list\.txt:1: expected a number of at least 0 behind the video, got -1"),
        ("v0 12 1\n", "new_length: 2", r'list\.txt:1: ".*v0" has no frame 13; its frames are 1 to 12'),
        ("v0.mkv 11 1\n", "new_length: 2", r'list\.txt:1: video ".*v0\.mkv" has no frame 12; its frames are 0 to 11'),
        ("no.mkv 0 1\n", "", r'list\.txt:1: video ".*no\.mkv" does not exist'),
        ("list.txt 0 1\n", "", r'list\.txt:1: video ".*list\.txt" cannot be read'),
        ("empty 0 1\n", "", r'list\.txt:1: ".*empty" has no images whose names end in numbers'),
        ("mixed 0 1\n", "", r'numbered images of several names \("a", "b"\): say which by name_pattern'),
        ("v0 3 1\n", "use_temporal_jitter: true use_image: true new_length: 4",
         r'list\.txt:1: video "v0" has 3 frames, a clip needs 4'),
        ("v0.mkv 1 1\n", "use_image: true", "no folder of frames, which use_image says it is"),
        ("v0 9 1\n", 'name_pattern: "frame%s.jpg"', r'name_pattern must have the form "flow_%c_%04d\.jpg", got "frame'),
        ("v0 9 1\n", 'modality: RGB name_pattern: "b_%05d.png"', r'image ".*b_00005\.png" cannot be read'),
        ("v0 9 1\n", "num_segments: 2 use_image: true", "do not go with use_temporal_jitter or use_image"),
        ("v0 9 1\n", "new_length: 0", "new_length, sampling_rate and num_segments must be at least 1"),
        ("v0 9 1\n", "new_height: 3", "must be set together"),
        ("v0 9 1\n", "new_height: 2147483647 new_width: 2147483647", r"new_height and new_width: shape .* takes"),
    ],
)  # fmt: skip
def test_messages(folder: Path, lines: str, setting: str, message: str) -> None:
    for name in ("empty", "mixed"):
        (folder / name).mkdir()
    for name in "ab":
        Image.fromarray(FRAMES[0, 0]).save(folder / "mixed" / f"{name}1.png")
    with pytest.raises(DragonError, match=rf'layer "one" \(VideoData\): .*{message}'):
        make(folder, lines, f"batch_size: 1 {setting}", phase=TEST).forward()


def test_cameras_are_not_read() -> None:
    with pytest.raises(DragonError, match="does not read cameras: give a video_file, or a source"):
        One('type: "VideoData" video_data_param { video_type: WEBCAM }')
    with pytest.raises(DragonError, match="video_data_param needs a source"):
        One('type: "VideoData"')
    with pytest.raises(DragonError, match="video_data_param needs a video_file"):
        One('type: "VideoData" video_data_param { video_type: VIDEO }')


def test_a_missing_package_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DragonError, match=r'v0\.mkv": a video file needs a package: pip install "dragon-caffe'):
        make(folder, "v0.mkv 0 1\n", "batch_size: 1")


def test_a_damaged_video_is_one_line(folder: Path) -> None:
    content = (folder / "v0.mkv").read_bytes()
    (folder / "v0.mkv").write_bytes(content[: len(content) // 2])
    one = make(folder, "v0.mkv 0 1\nv0.mkv 9 1\n", "batch_size: 1 new_length: 2")
    one.forward()
    with pytest.raises(DragonError, match=r"list\.txt:2: video .*v0\.mkv"):
        one.forward()
    one.layer.close()


def test_a_file_that_names_others_is_refused(folder: Path) -> None:
    (folder / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{folder}/v0.mkv\n#EXT-X-ENDLIST\n")
    (folder / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile '{folder}/v0.mkv'\n")
    for name in ("list.m3u8", "list.ffconcat"):
        with pytest.raises(DragonError, match=rf'video ".*{name}" cannot be read'):
            make(folder, f"{name} 0 1\n", "batch_size: 1")


def test_a_mean_file_of_clips(folder: Path) -> None:
    """The mean of C3D has the shape (1, C, length, H, W)."""
    mean = pb.BlobProto(shape=pb.BlobShape(dim=(1, 3, 2, 6, 8)))
    mean.data.extend(np.repeat(np.arange(6.0), 48))
    (folder / "mean").write_bytes(mean.SerializeToString())
    one = make(folder, "v0 1 0\n", "batch_size: 1 new_length: 2", f'mean_file: "{folder}/mean"')
    frames = FRAMES[0, :2].transpose(3, 0, 1, 2)[::-1]
    np.testing.assert_array_equal(one.forward()[0], frames - np.arange(6.0).reshape(3, 2, 1, 1))
    one.layer.close()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
def test_one_video_is_open_at_a_time_and_none_behind_the_layer(folder: Path) -> None:
    def opened() -> list[str]:
        files = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        return [file for file in files if file.startswith(str(folder)) and file.endswith(".mkv")]

    one = make(folder, "v0.mkv 0 1\nv1.mkv 0 1\n", "batch_size: 1 new_length: 2")
    for _ in range(4):
        one.forward()
    assert len(opened()) <= 1
    one.layer.close()
    assert not opened()
