"""What is damaged, and what is then done with it: a name for each kind of file."""

from __future__ import annotations

import importlib
import io
import itertools
import logging
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import PIL.Image

import dragon
from dragon.data import (
    Color,
    LevelDbReader,
    LmdbReader,
    decode_batch,
    decode_image,
    encode_datum,
    read_mean,
    write_lmdb,
    write_mean,
)
from dragon.errors import DragonError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.binary import iter_layers
from dragon.proto.binary_net import read_binary_net
from dragon.proto.profiles import PROFILES
from dragon.proto.text import format_text, parse_text, read_net, read_solver
from tests.fuzz.messages import damage_h5, damage_message, without_checksum
from tests.fuzz.mutate import damage, damage_text
from tests.helpers import TRAINABLE, toy_solver

__all__ = ["KINDS", "Kind", "load", "survives"]

Example = Callable[[random.Random], bytes]
Kind = Callable[[Path], tuple[Example, Callable[[bytes], None]]]
KINDS: dict[str, Kind] = {}
OTHERS = ("boxes", "texts", "onnx_models", "commands")  # modules with further kinds


def kind(make: Kind) -> Kind:
    """A kind is made for a folder of its own: what gives an example, and what reads it (errors of ours pass)."""
    KINDS[make.__name__] = make
    return make


def load(name: str = "") -> None:
    """Import what has further kinds, but nothing more once the kind of this name is there: each process pays for it."""
    for module in OTHERS:
        if name not in KINDS:
            importlib.import_module(f"tests.fuzz.{module}")


def survives(action: Callable[[], object]) -> None:
    """The action works, or raises an error of ours in one line."""
    message = ""
    try:
        action()
    except DragonError as error:
        message = str(error)
    if not message.isprintable():
        raise AssertionError(f"an error of several lines, or with control characters: {message!r}")


def quiet() -> None:
    """Warnings of thousands of nets help nobody."""
    logging.getLogger("dragon").setLevel(logging.CRITICAL)


_OLD = """
name: 'old' input: "x" input_dim: 2 input_dim: 3 input_dim: 5 input_dim: 4
layers { name: "c" type: CONVOLUTION bottom: "x" top: "c" blobs_lr: 1 blobs_lr: 2 weight_decay: 1
  convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "xavier" } } }
layers { layer { name: "p" type: "pool" pool: AVE kernelsize: 2 stride: 1 } bottom: "c" top: "p" }
layers { layer { name: "s" type: "softmax" } bottom: "p" top: "s" }
"""
_SOLVER = """
base_lr: 0.01 lr_policy: "multistep" gamma: 0.1 stepvalue: 2 stepvalue: 5 momentum: 0.9 weight_decay: 1e-4
solver_type: NESTEROV max_iter: 10 display: 5 average_loss: 2 iter_size: 2 clip_gradients: 5 random_seed: 1
test_iter: 1 test_interval: 5 test_initialization: false snapshot: 0 snapshot_prefix: "x" regularization_type: "L1"
solver_mode: CPU test_state { stage: "a" level: 1 } train_state { phase: TRAIN } snapshot_after_train: false
warmup_iter: 3 warmup_start: 0.1 engine: "numpy" net_param { %s }
"""


def _run(net: dragon.Net) -> None:
    with np.errstate(all="ignore"):
        net.run_forward()
        net.clear_param_diffs()
        net.run_backward()


@kind
def net(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """Nets as text: parsed, written, upgraded, built and run forward and backward on the reference."""
    quiet()
    from tests.layers.catalogue import CASES  # here, since it imports tests, which takes longer than all of this

    texts = [TRAINABLE, _OLD, *(case.text() for case in CASES.values())]
    path = folder / "net.prototxt"

    def example(chance: random.Random) -> bytes:
        text = damage_text(chance.choice(texts), chance, chance.choice(texts))
        content = text.encode("utf-8", "surrogateescape")
        return damage(content, chance) if chance.random() < 0.1 else content

    def read(content: bytes) -> None:
        path.write_bytes(content)

        def use() -> None:
            param = read_net(path, allow_unknown=bool(content and content[0] % 2))
            again = parse_text(format_text(param), pb.NetParameter())
            assert again.SerializeToString(deterministic=True) == param.SerializeToString(deterministic=True)
            built = dragon.Net(param, engine="numpy", seed=1, allow_python=False)
            if sum(blob.count for blob in built.blobs.values()) < 1 << 20:
                _run(built)
            built.close()

        survives(use)

    return example, read


@kind
def solver(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """Solvers as text: parsed, upgraded, built; two steps where they are cheap."""
    quiet()
    text = _SOLVER % TRAINABLE
    path = folder / "solver.prototxt"

    def read(content: bytes) -> None:
        path.write_bytes(content)

        def use() -> None:
            param = read_solver(path)
            param.snapshot_prefix = str(folder / "x")
            param.engine = "numpy"
            made = dragon.get_solver(param)
            cheap = all(0 <= i < 5 for i in (param.iter_size, *param.test_iter))
            if cheap and sum(blob.count for blob in made.net.blobs.values()) < 1 << 18 and param.snapshot == 0:
                with np.errstate(all="ignore"):
                    made.step(2)
            made.close()

        survives(use)

    return lambda chance: damage_text(text, chance, text).encode("utf-8", "surrogateescape"), read


def _snapshots(folder: Path) -> dict[str, bytes]:
    """Snapshots in both formats, by name."""
    for form in (pb.SolverParameter.BINARYPROTO, pb.SolverParameter.HDF5):
        made = toy_solver(folder, snapshot_format=form)
        made.step(2)
        made.snapshot()
        made.close()
    return {path.name: path.read_bytes() for path in folder.glob("toy_*")}


def _wire_examples(folder: Path) -> list[bytes]:
    """Weights of both generations, with half precision, double precision, several profiles' numbers."""
    from dragon.proto.blobs import array_to_blobproto

    net = pb.NetParameter(name="n")
    weights = array_to_blobproto(np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((2, 3), np.float64))
    raw = pb.BlobProto(raw_data_type=pb.FLOAT16, raw_data=b"\0\0\0\0", num=1, channels=2, height=1, width=1)
    layer = net.layer.add(name="bn", type="BatchNorm", blobs=[weights, raw])
    layer.batch_norm_param.scale_bias = True
    layer.phase = pb.TEST
    old = net.layers.add(name="v1", type=pb.V1LayerParameter.INNER_PRODUCT, blobs=[weights])
    old.layer.name = "v0"
    small: bytes = net.SerializeToString()
    return [small, without_checksum(_snapshots(folder)["toy_iter_2.caffemodel"], pb.NetParameter)]


@kind
def caffemodel(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """Weights as BVLC and forks write them, read layer by layer, as a net, and into a net."""
    quiet()
    sound = _wire_examples(folder)
    target = toy_solver().net
    path = folder / "w.caffemodel"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        survives(lambda: list(iter_layers(path, diffs=True)))
        survives(lambda: target.copy_from(path))
        names = [None, *PROFILES]
        profile = names[sum(content[:64]) % len(names)]
        survives(lambda: read_binary_net(path, profile))

    def example(chance: random.Random) -> bytes:
        if chance.random() < 0.5:
            return damage_message(chance.choice(sound), pb.NetParameter, chance, chance.choice(sound))
        return damage(chance.choice(sound), chance, chance.choice(sound))

    return example, read


@kind
def solverstate(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """Solver states in both formats."""
    quiet()
    files = _snapshots(folder)
    solver = toy_solver()
    summed, hdf5 = files["toy_iter_2.solverstate"], files["toy_iter_2.solverstate.h5"]
    plain = without_checksum(summed, pb.SolverState)

    def read(content: bytes) -> None:
        path = folder / ("x.solverstate.h5" if content[:4] == hdf5[:4] else "x.solverstate")
        path.write_bytes(content)
        survives(lambda: solver.restore(path))
        survives(lambda: solver.step(1))

    def example(chance: random.Random) -> bytes:
        form = chance.choice(("bytes", "message", "hdf5", "both"))
        if form == "bytes":
            return damage(chance.choice((plain, summed, hdf5)), chance, plain)
        if form == "hdf5":
            return damage_h5(hdf5, chance, hdf5)
        message = damage_message(plain, pb.SolverState, chance)
        if form == "message":
            return message
        file = io.BytesIO(hdf5)
        with h5py.File(file, "r+") as target:  # the fields that only Dragon knows
            del target["dragon"]
            target["dragon"] = np.frombuffer(message, np.uint8)
        return file.getvalue()

    return example, read


def _pixels() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (3, 6, 5), dtype=np.uint8)


def _encoded(form: str, **options: object) -> bytes:
    file = io.BytesIO()
    mode = PIL.Image.fromarray(_pixels().transpose(1, 2, 0))
    (mode.convert("P") if form == "GIF" else mode).save(file, form, **options)
    return file.getvalue()


_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")


@kind
def datum(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """Records of databases: raw pixels, floats, image files."""
    floats = pb.Datum(channels=1, height=2, width=2, float_data=[0.5, 1, 2, 3], label=-1)
    sound = [encode_datum(_pixels(), 3), floats.SerializeToString()]
    sound += [pb.Datum(data=_encoded(form), encoded=True, label=1).SerializeToString() for form in ("PNG", "JPEG")]

    def read(content: bytes) -> None:
        for color in (Color.AS_STORED, Color.COLOR):
            survives(lambda color=color: decode_batch([content], color, lambda i: f"record {i}"))  # type: ignore[misc]

    def example(chance: random.Random) -> bytes:
        if chance.random() < 0.5:
            return damage_message(chance.choice(sound), pb.Datum, chance, chance.choice(sound))
        return damage(chance.choice(sound), chance, chance.choice(sound))

    return example, read


@kind
def lmdb(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """LMDB files: all records read twice, in a Data layer as well."""
    quiet()
    records = [(f"{i:05d}".encode(), encode_datum(_pixels(), i) * (60 if i == 3 else 1)) for i in range(60)]
    write_lmdb(folder / "good", records)
    sound = (folder / "good" / "data.mdb").read_bytes()
    numbers = itertools.count()

    def read(content: bytes) -> None:
        path = folder / f"damaged{next(numbers)}"
        path.mkdir()
        (path / "data.mdb").write_bytes(content)

        def use() -> None:
            with LmdbReader(path) as reader:
                reader.read(min(len(reader), 200) * 2)
                reader.seek(3)
                reader.keys()[:100]
                reader.get(b"00003")

        survives(use)
        shutil.rmtree(path)

    return lambda chance: damage(sound, chance, sound), read


@kind
def leveldb(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """LevelDB folders in which one of the files is damaged."""
    import plyvel

    good = folder / "good"
    with plyvel.DB(str(good), create_if_missing=True) as db:
        for i in range(300):
            db.put(f"{i:05d}".encode(), encode_datum(_pixels(), i))
        db.compact_range()
        for i in range(300, 310):
            db.put(f"{i:05d}".encode(), encode_datum(_pixels(), i))
    files = {path.name: path.read_bytes() for path in good.iterdir() if path.name != "LOCK"}
    names = sorted(files)
    numbers = itertools.count()

    def example(chance: random.Random) -> bytes:
        which = chance.randrange(len(names))
        return bytes([which]) + damage(files[names[which]], chance, files[chance.choice(names)])

    def read(content: bytes) -> None:
        path = folder / f"damaged{next(numbers)}"
        path.mkdir()
        for i, name in enumerate(names):
            (path / name).write_bytes(content[1:] if i == content[0] else files[name])

        def use() -> None:
            reader = LevelDbReader(path)
            try:
                reader.read(min(len(reader), 400))
                reader.seek(3)
                reader.keys()
                reader.get(b"00003")
            finally:
                reader.close()

        survives(use)
        shutil.rmtree(path)

    return example, read


@kind
def hdf5(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """HDF5 weights, and HDF5 data through its layer."""
    quiet()
    weights = _snapshots(folder)["toy_iter_2.caffemodel.h5"]
    with h5py.File(folder / "data.h5", "w") as file:
        file["x"] = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
        file["t"] = np.arange(4)
        file.create_dataset("z", data=np.zeros((4, 50)), compression="gzip", chunks=(2, 50))
    data = (folder / "data.h5").read_bytes()
    target = toy_solver().net
    (folder / "list.txt").write_text(str(folder / "damaged.h5"))
    text = f"""layer {{ name: "d" type: "HDF5Data" top: "x" top: "t" top: "z"
      hdf5_data_param {{ source: "{folder}/list.txt" batch_size: 3 }} }}"""
    param = parse_text(text, pb.NetParameter())

    def read(content: bytes) -> None:
        path = folder / ("damaged.h5" if content[0] == ord("d") else "damaged.caffemodel.h5")
        path.write_bytes(content[1:])

        def use() -> None:
            built = dragon.Net(param, engine="numpy", seed=1)
            _run(built)
            _run(built)
            built.close()

        survives(use if content[0] == ord("d") else lambda: target.copy_from(path))

    def example(chance: random.Random) -> bytes:
        harm = chance.choice((damage, damage_h5))
        return chance.choice((b"d" + harm(data, chance, weights), b"w" + harm(weights, chance, data)))

    return example, read


@kind
def mean(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """Mean files, and the same through pycaffe's way."""
    write_mean(folder / "mean.binaryproto", np.arange(192.0).reshape(3, 8, 8))
    sound = (folder / "mean.binaryproto").read_bytes()
    old = pb.BlobProto(num=1, channels=1, height=2, width=3, data=[1, 2, 3, 4, 5, 6]).SerializeToString()
    path = folder / "damaged.binaryproto"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        survives(lambda: read_mean(path))

    def example(chance: random.Random) -> bytes:
        if chance.random() < 0.5:
            return damage_message(chance.choice((sound, old)), pb.BlobProto, chance, sound)
        return damage(chance.choice((sound, old)), chance, sound)

    return example, read


@kind
def image(folder: Path) -> tuple[Example, Callable[[bytes], None]]:
    """Image files of seven formats."""
    sound = [_encoded(form) for form in _FORMATS]

    def read(content: bytes) -> None:
        for color in (Color.COLOR, Color.GRAY):
            survives(lambda color=color: decode_image(content, color))  # type: ignore[misc]

    return lambda chance: damage(chance.choice(sound), chance, chance.choice(sound)), read


def examples(name: str, folder: Path, seed: int) -> Iterator[tuple[bytes, Callable[[bytes], None]]]:
    """Endless damaged files of a kind, each with what reads it."""
    chance = random.Random(seed)
    example, read = KINDS[name](folder)
    while True:
        yield example(chance), read
