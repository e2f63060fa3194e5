"""Batches that travel as bytes and become blobs on the GPU: the same bits as the host's transform."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.data import encode_datum, write_lmdb, write_mean
from dragon.engines import Options
from dragon.engines.cuda import plan_figures
from dragon.engines.cuda.device.layout import Layout
from dragon.errors import DataError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.solver.solver import Solver
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.sixteen import narrow, wide
from tests.engines.cuda.running import compare, parse

needs_gpu = pytest.mark.usefixtures("cuda")
looks_inside = pytest.mark.usefixtures("emulated")
RANDOM = np.random.default_rng(5)
IMAGES = RANDOM.integers(0, 256, (11, 3, 9, 8), dtype=np.uint8)
FLOATS = RANDOM.standard_normal((11, 3, 9, 8)).astype(np.float32)
REST = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 4 weight_filler { type: "gaussian" std: 0.001 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def database(folder: Path, images: list[np.ndarray]) -> Path:
    pytest.importorskip("lmdb")
    path = folder / f"lmdb{len(list(folder.iterdir()))}"
    write_lmdb(path, ((f"{i:03d}".encode(), encode_datum(image, i % 4)) for i, image in enumerate(images)))
    return path


def text_of(source: Path, transform: str, batch: int = 4) -> str:
    return (
        f'layer {{ name: "data" type: "Data" top: "data" top: "label" transform_param {{ {transform} }} '
        f'data_param {{ source: "{source}" backend: LMDB batch_size: {batch} }} }}' + REST
    )


@pytest.fixture
def opened() -> Iterator[list[Net | Solver]]:
    """Nets and solvers put in here are closed after the test."""
    found: list[Net | Solver] = []
    yield found
    for one in found:
        one.close()


def nets_of(opened: list[Net | Solver], text: str, phase: int = TRAIN, dtype: type = np.float32) -> list[Net]:
    nets = [Net(parse(text), phase, engine=engine, dtype=dtype, seed=3) for engine in ("numpy", "cuda")]
    opened += nets
    return nets


def kind(net: Net) -> str:
    return net.executor.describe()[0]


@needs_gpu
@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize(
    "settings",
    ["", "mirror: true", "crop_size: 5", "mirror: true crop_size: 5 scale: 0.00390625 mean_value: 104 mean_value: 117 "
     "mean_value: 123", "mean_value: 128 scale: 0.017", "mean_file", "mean_file crop_size: 6 mirror: true scale: 0.3",
     "zero_pad: 2", "zero_pad: 3 crop_size: 8 mirror: true mean_value: 99 scale: -0.5",
     "mean_file zero_pad: 4 crop_size: 8 mirror: true"],
)  # fmt: skip
def test_the_same_bits_as_on_the_host(settings: str, phase: int, tmp_path: Path, opened: list[Net | Solver]) -> None:
    mean = tmp_path / "mean.binaryproto"
    write_mean(mean, IMAGES.mean(0).astype(np.float32))
    settings = settings.replace("mean_file", f'mean_file: "{mean}"')
    nets = nets_of(opened, text_of(database(tmp_path, list(IMAGES)), settings), phase)
    for number in range(6):  # as it is, captured, replayed; past the end of the database
        for net in nets:
            net.run_forward()
        for name in ("data", "label"):
            ours, expected = nets[1].blobs[name].peek(), nets[0].blobs[name].peek()
            np.testing.assert_array_equal(ours, expected, f"{name} of pass {number}")
        assert nets[0].layers[0].state() == nets[1].layers[0].state()
    assert kind(nets[1]) == "kernels"
    assert any(line.startswith("forward data .. loss: graph") for line in nets[1].executor.remarks())


@needs_gpu
@pytest.mark.parametrize("settings", ["cutout: 3", "brightness: 0.5 contrast: 0.3 saturation: 0.2 mean_value: 99"])
def test_random_changes_of_pixels_are_made_on_the_host(
    settings: str, tmp_path: Path, opened: list[Net | Solver]
) -> None:
    text = text_of(database(tmp_path, list(IMAGES)), "mirror: true zero_pad: 2 crop_size: 7 " + settings)
    for phase in (TRAIN, TEST):
        nets = nets_of(opened, text, phase)
        for _ in range(4):
            for net in nets:
                net.run_forward()
            np.testing.assert_array_equal(nets[1].blobs["data"].peek(), nets[0].blobs["data"].peek())
        assert kind(nets[1]) == ("host" if phase == TRAIN else "kernels")


@needs_gpu
@pytest.mark.parametrize("settings", ["", "new_height: 7 new_width: 7 shuffle: true"])
def test_image_files(settings: str, tmp_path: Path, opened: list[Net | Solver]) -> None:
    image_files = pytest.importorskip("PIL.Image")
    for i, image in enumerate(IMAGES[:5]):
        image_files.fromarray(image.transpose(1, 2, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "list.txt").write_text("".join(f"{i}.png {i % 4}\n" for i in range(5)))
    text = (
        'layer { name: "data" type: "ImageData" top: "data" top: "label" transform_param { mirror: true crop_size: 5 } '
        f'image_data_param {{ source: "{tmp_path}/list.txt" root_folder: "{tmp_path}/" batch_size: 3 {settings} }} }}'
    )
    nets = nets_of(opened, text + REST)
    for _ in range(4):
        for net in nets:
            net.run_forward()
        np.testing.assert_array_equal(nets[1].blobs["data"].peek(), nets[0].blobs["data"].peek())
    # bytes unless resizing made floats of them
    assert kind(nets[1]) == ("kernels" if nets[1].layers[0].maker.byte_shape else "host")  # type: ignore[attr-defined]


@needs_gpu
def test_floats_and_float64_go_by_the_host(tmp_path: Path, opened: list[Net | Solver]) -> None:
    for net_pair in (
        nets_of(opened, text_of(database(tmp_path, list(FLOATS)), "mirror: true scale: 2")),
        nets_of(opened, text_of(database(tmp_path, list(IMAGES)), "mirror: true"), dtype=np.float64),
    ):
        for _ in range(3):
            for net in net_pair:
                net.run_forward()
            np.testing.assert_array_equal(net_pair[1].blobs["data"].peek(), net_pair[0].blobs["data"].peek())
        assert kind(net_pair[1]) == "host"


@needs_gpu
def test_batches_that_are_not_like_the_first_go_by_the_host(tmp_path: Path, opened: list[Net | Solver]) -> None:
    larger = RANDOM.integers(0, 256, (6, 3, 10, 12), dtype=np.uint8)
    mixed = [*IMAGES[:8], *larger, *FLOATS[:3], *IMAGES[8:]]
    nets = nets_of(opened, text_of(database(tmp_path, mixed), "crop_size: 6 mirror: true mean_value: 9"))
    for _ in range(9):
        for net in nets:
            net.run_forward()
        np.testing.assert_array_equal(nets[1].blobs["data"].peek(), nets[0].blobs["data"].peek())
    assert kind(nets[1]) == "kernels"


FULLY_CONVOLUTIONAL = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "pool" bottom: "label" top: "loss" }
"""


@needs_gpu
@pytest.mark.parametrize("mean", ["", "mean_value: 9 mirror: true"])
def test_batches_of_other_sizes(mean: str, tmp_path: Path, opened: list[Net | Solver]) -> None:
    larger = RANDOM.integers(0, 256, (4, 3, 10, 12), dtype=np.uint8)
    images = [*IMAGES[:4], *larger, IMAGES[4], larger[0], *IMAGES[5:7]]
    text = text_of(database(tmp_path, images), mean, batch=1).replace(REST, FULLY_CONVOLUTIONAL)
    solvers = [solver_of(engine, text) for engine in ("numpy", "cuda")]
    opened += solvers
    for image in images * 2:
        losses = [solver.step(1) for solver in solvers]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4)
        found, expected = (solver.net.blobs["data"].peek() for solver in solvers)
        assert found.shape == (1, *image.shape)
        np.testing.assert_array_equal(found, expected)
    assert len(solvers[1].net.executor.profile(12)) == len(solvers[1].net.layers)


def solver_of(engine: str, text: str) -> Solver:
    from google.protobuf import text_format

    param = pb.SolverParameter(net_param=parse(text))
    text_format.Merge('base_lr: 0.01 momentum: 0.9 lr_policy: "fixed"', param)
    return Solver(param, engine=engine, seed=4, options=Options())


@needs_gpu
def test_training_from_bytes_is_one_graph(tmp_path: Path, opened: list[Net | Solver]) -> None:
    text = text_of(database(tmp_path, list(IMAGES)), "crop_size: 6 mirror: true mean_value: 100 scale: 0.01")
    solvers = [solver_of(engine, text) for engine in ("numpy", "cuda")]
    opened += solvers
    for _ in range(8):
        losses = [solver.step(1) for solver in solvers]
        assert abs(losses[0] - losses[1]) < 1e-4
    assert "whole iteration: graph" in solvers[1].net.executor.remarks()
    compare(solvers[1].net, solvers[0].net, "after", 1e-3, diffs=False)


@needs_gpu
def test_a_snapshot_of_what_was_sent_as_bytes_goes_on_anywhere(tmp_path: Path, opened: list[Net | Solver]) -> None:
    text = text_of(database(tmp_path, list(IMAGES)), "crop_size: 6 mirror: true")
    ours, host = nets_of(opened, text)[::-1]
    for _ in range(3):
        ours.run_forward()
    host.layers[0].load_state(ours.layers[0].state())
    for net in (ours, host):
        net.run_forward()
    np.testing.assert_array_equal(ours.blobs["data"].peek(), host.blobs["data"].peek())


@looks_inside
def test_bytes_come_from_pinned_memory(tmp_path: Path, opened: list[Net | Solver]) -> None:
    images = RANDOM.integers(0, 256, (20, 3, 80, 80), dtype=np.uint8)
    text = text_of(database(tmp_path, list(images)), "crop_size: 72 mirror: true", batch=10)
    host, net = nets_of(opened, text)
    for number in range(5):
        for one in (host, net):
            standin.counts.clear()
            one.run_forward()
        assert standin.counts["from pinned memory"] == 2  # images; places
        assert number == 0 or standin.counts["to device"] == 3  # images, places, labels; weights come once
        np.testing.assert_array_equal(net.blobs["data"].peek(), host.blobs["data"].peek())
        assert standin.counts["launches of transform"] == (1, 2, 0, 0, 0)[number]  # the second is captured


@needs_gpu
def test_a_record_that_is_damaged_names_itself(tmp_path: Path, opened: list[Net | Solver]) -> None:
    pytest.importorskip("lmdb")
    path = tmp_path / "damaged"
    records = [encode_datum(image, 0) for image in IMAGES[:8]] + [b"\xff\xff\xff"] * 8
    write_lmdb(path, ((f"{i:03d}".encode(), record) for i, record in enumerate(records)))
    net = nets_of(opened, text_of(path, "mirror: true"))[1]
    net.run_forward()
    net.run_forward()
    with pytest.raises(DataError, match=r'layer "data" \(Data\).*record 8 is not a Datum'):
        net.run_forward()


def test_a_dry_run_counts_a_quarter_over_the_bus(tmp_path: Path, opened: list[Net | Solver]) -> None:
    for images, each in ((IMAGES, 1), (FLOATS, 4)):
        text = text_of(database(tmp_path, list(images)), "mirror: true")
        net = Net(parse(text), TRAIN, engine="numpy", seed=3)
        opened.append(net)
        before = net.layers[0].state()
        figures = plan_figures(net)
        labels, places = 4 * 4, 4 * 3 * 4 if each == 1 else 0
        assert figures.bus_bytes == 4 * 3 * 9 * 8 * each + labels + places
        assert net.layers[0].state() == before
        assert figures.layers[0].launches == (each == 1)


@needs_gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_blobs_of_16_bits_are_the_rounded_ones(precision: str, tmp_path: Path, opened: list[Net | Solver]) -> None:
    text = text_of(database(tmp_path, list(IMAGES)), "crop_size: 5 mirror: true mean_value: 100 scale: 0.01")
    nets = [
        Net(parse(text), TRAIN, engine=engine, seed=3, options=Options(precision=chosen))
        for engine, chosen in (("numpy", "fp32"), ("cuda", precision))
    ]
    opened += nets
    kinds = {"bf16": np.dtype(np.uint16), "fp16": np.dtype(np.float16)}
    for _ in range(4):
        for net in nets:
            net.run_forward()
        expected = narrow(nets[0].blobs["data"].peek(), kinds[precision])
        np.testing.assert_array_equal(nets[1].blobs["data"].peek(), wide(expected))
        np.testing.assert_array_equal(nets[1].blobs["label"].peek(), nets[0].blobs["label"].peek())


@needs_gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("others", [[], FLOATS[:3]], ids=["bytes", "floats too"])
def test_blobs_may_have_their_channels_last(
    others: list[np.ndarray], precision: str, tmp_path: Path, opened: list[Net | Solver]
) -> None:
    """Made on the GPU, or by the host for a batch with floats."""
    images = [*IMAGES[:8], *others, *IMAGES[8:]]
    text = text_of(database(tmp_path, images), "crop_size: 5 mirror: true mean_value: 100 scale: 0.01").removesuffix(
        REST
    )
    text += 'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {'
    text += ' num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }'
    nets = [
        Net(parse(text), TRAIN, engine="cuda", seed=3, options=Options(precision=precision, channels_last=last))
        for last in (False, True)
    ]
    opened += nets
    for _ in range(5):
        for net in nets:
            net.run_forward()
        np.testing.assert_array_equal(nets[1].blobs["data"].peek(), nets[0].blobs["data"].peek())
        np.testing.assert_allclose(nets[1].blobs["conv"].peek(), nets[0].blobs["conv"].peek(), rtol=0.02, atol=0.02)
    found = [net.executor.arrays.layouts.of(net.blobs["data"].data_storage) for net in nets]  # type: ignore[attr-defined]
    assert found == [None, Layout(3, 25)]
    assert nets[1].executor.describe()[0] == "kernels, channels last"
