"""Trains the two nets of DCGAN in turns: `python -m dragon.tools.train_dcgan IMAGES OUT`.

IMAGES is an LMDB of 8-bit colour images of 64 x 64. OUT gets the weights of both nets, and a picture of what the
generator draws.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragon.bases.layer import TRAIN
from dragon.errors import DragonError, UsageError
from dragon.files.folders import check_folder, make_folder
from dragon.graph.net import Net
from dragon.models.facts import ROOT
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_solver_definition
from dragon.solver.solver import Solver
from dragon.solver.types import get_solver

__all__ = ["Training", "main"]


def _solver(name: str, engine: str | None, seed: int) -> Solver:
    """The solver of a net of the zoo, without tests and snapshots."""
    definition = read_solver_definition(ROOT / name / "solver.prototxt")
    param = definition.message
    param.net = str(ROOT / name / "train_val.prototxt")
    for field in ("test_iter", "test_interval", "snapshot", "display"):
        param.ClearField(field)
    return get_solver(param, engine=engine, seed=seed, verbose=False)


class Training:
    """Two solvers, `artist` and `judge`, that train the generator and the discriminator.

    images: an LMDB. The judge behind the generator shares its weights with the one that learns.
    """

    def __init__(self, images: Path, engine: str | None = None, seed: int = 1) -> None:
        self.artist = _solver("dcgan_generator", engine, seed)
        self.judge = _solver("dcgan_discriminator", engine, seed)
        self.artist.net.share_with(self.judge.net)
        self.drawing = "g_deconv5"
        self.images = self._reader(images, self.judge.net.blobs["data"].shape, engine, seed)

    @staticmethod
    def _reader(images: Path, shape: tuple[int, ...], engine: str | None, seed: int) -> Net:
        """A net that reads batches of images with values of -1 to 1. Raises UsageError for images of another size."""
        data = {"source": str(images.resolve()), "batch_size": shape[0], "backend": pb.DataParameter.LMDB}
        scaling = {"mean_value": [127.5], "scale": 1 / 127.5}
        layer = pb.LayerParameter(name="images", type="Data", top=["data"], data_param=data, transform_param=scaling)
        net = Net(pb.NetParameter(layer=[layer]), phase=TRAIN, engine=engine, seed=seed)
        if net.blobs["data"].shape != shape:
            raise UsageError(f"{images}: expected images of {shape[1:]}, got {net.blobs['data'].shape[1:]}")
        return net

    def step(self) -> tuple[float, float]:
        """Let the judge learn from a batch of real and one of drawn images, then the artist; the loss of each."""
        self.images.run_forward()
        self.artist.net.forward(end="g_tanh")
        judge = self.judge
        judge.net.clear_param_diffs()
        loss = 0.0
        for images, real in ((self.images.blobs["data"], 1), (self.artist.net.blobs[self.drawing], 0)):
            judge.net.blobs["data"].data[...] = images.data
            judge.net.blobs["label"].data[...] = real
            loss += judge.net.forward_backward()
        judge.apply_update()
        judge.iter += 1  # Adam's correction depends on it
        return loss, self.artist.step(1)

    def draw(self) -> NDArray[np.uint8]:
        """Sixteen drawn images side by side, (256, 256, 3), red first."""
        self.artist.net.forward(end="g_tanh")
        drawn = self.artist.net.blobs[self.drawing].data[:16, ::-1]
        rows = drawn.reshape(4, 4, 3, 64, 64).transpose(0, 3, 1, 4, 2).reshape(256, 256, 3)
        return ((rows + 1) * 127.5).astype(np.uint8)

    def save(self, folder: Path) -> None:
        """Write the weights of both nets and a picture."""
        from PIL import Image

        make_folder(folder)
        self.artist.net.save(folder / "dcgan_generator.caffemodel")
        self.judge.net.save(folder / "dcgan_discriminator.caffemodel")
        Image.fromarray(self.draw()).save(folder / "drawn.png")


def main(arguments: list[str]) -> int:
    """Run the program; its exit status."""
    parser = argparse.ArgumentParser(
        "python -m dragon.tools.train_dcgan", description="Train the two nets of DCGAN in turns."
    )
    parser.add_argument("images", type=Path, help="an LMDB of 8-bit colour images of 64 x 64")
    parser.add_argument("out", type=Path, help="the folder for the weights and a picture")
    parser.add_argument("--iterations", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("numpy", "onednn", "cuda"))
    options = parser.parse_args(arguments)
    try:
        check_folder(options.out, options.out, made=True)
        training = Training(options.images, options.engine, options.seed)
        for iteration in range(1, options.iterations + 1):
            judge, artist = training.step()
            if iteration % 100 == 0:
                print(f"{iteration}  discriminator {judge:.4f}  generator {artist:.4f}", flush=True)
            if iteration % 1000 == 0 or iteration == options.iterations:
                training.save(options.out)
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except DragonError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
