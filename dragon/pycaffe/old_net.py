"""OldNet: what nets of pycaffe could do themselves until January 2015: phases, modes, and preparing images.

Today phases and modes are set before a net is made, and images are prepared by a Transformer. The methods here use one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import UsageError
from dragon.files.npy import read_npy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon.engines.base import Executor
    from dragon.graph.named import Blobs
    from dragon.graph.net import NetSettings
    from dragon.graph.node import Node
    from dragon.pycaffe.io import Transformer

__all__ = ["OldNet", "engine_settings"]


def engine_settings(gpu: bool | None, settings: NetSettings) -> NetSettings:
    """Settings of a net with the engine that the argument `gpu` of the old Classifier and Detector asks for."""
    return settings if gpu is None else {"engine": "cuda" if gpu else "auto", **settings}


class OldNet:
    """The methods of pycaffe's Net that were removed in January 2015, for scripts that are older."""

    inputs: list[str]
    blobs: Blobs
    nodes: list[Node]
    executor: Executor
    _means_of_files: frozenset[str] = frozenset()  # the inputs with a mean of a file
    _scaled_first: frozenset[str] = frozenset()  # those whose input scale stands as the Transformer's raw scale

    # -- phase and mode -------------------------------------------------------------------------------------
    def set_phase_train(self) -> None:
        """Let all layers run as in training; the net's layers are those of the phase that it was made for."""
        self._set_phase(TRAIN)

    def set_phase_test(self) -> None:
        """Let all layers run as in testing; the net's layers are those of the phase that it was made for."""
        self._set_phase(TEST)

    def _set_phase(self, phase: int) -> None:
        for node in self.nodes:
            node.layer.phase = phase

    def set_mode_cpu(self) -> None:
        """Do nothing on the CPU. Raises UsageError for a net on a GPU, where it was made."""
        self._check_engine("cuda" not in self.executor.name, "cpu")

    def set_mode_gpu(self) -> None:
        """Do nothing on a GPU. Raises EngineError where there is none, UsageError for a net made for the CPU."""
        from dragon.engines import gpu_count

        gpu_count()
        self._check_engine("cuda" in self.executor.name, "gpu")

    def _check_engine(self, as_asked: bool, mode: str) -> None:
        if not as_asked:
            raise UsageError(
                f"a net stays on the engine that it was made for, here {self.executor.name}: call "
                f"caffe.set_mode_{mode}() before making it"
            )

    def set_device(self, device: int) -> None:
        """Let new nets run on the GPU with this number, as caffe.set_device does; this one stays where it was made."""
        from dragon.modes import set_device

        set_device(device)

    # -- images ---------------------------------------------------------------------------------------------
    def set_mean(self, input_: str, mean: NDArray[Any] | str | Path, mode: str = "elementwise") -> None:
        """Set the mean that `preprocess` subtracts: an array, or the path of a .npy file.

        mode: "elementwise", or "channel" for one value for each channel. With a file and no raw scale, as in pycaffe
        when it had none, the input scale is applied before the mean is subtracted; else after it. Raises UsageError for
        another mode or a mean that does not fit, DataError for a file that cannot be read.
        """
        transformer = self._transformer()
        if mode not in ("elementwise", "channel"):
            raise UsageError(f'the mode of a mean is elementwise or channel, got "{mode}"')
        of_file = isinstance(mean, (str, Path))
        array = read_npy(mean, "mean") if isinstance(mean, (str, Path)) else np.asarray(mean)
        transformer.set_mean(input_, array.mean((1, 2)) if mode == "channel" and array.ndim == 3 else array)
        self._means_of_files = self._means_of_files | {input_} if of_file else self._means_of_files - {input_}
        self._order_scale(input_)

    def set_input_scale(self, input_: str, scale: float) -> None:
        """Set the factor by which `preprocess` multiplies after the mean is subtracted, or before, see `set_mean`."""
        self._transformer().set_input_scale(input_, scale)
        self._order_scale(input_)

    def set_raw_scale(self, input_: str, scale: float) -> None:
        """Set the factor by which `preprocess` multiplies before the mean is subtracted."""
        self._scale_after_mean(input_)
        self._transformer().set_raw_scale(input_, scale)

    def set_channel_swap(self, input_: str, order: Sequence[int]) -> None:
        """Set the order of channels: (2, 1, 0) makes RGB into BGR."""
        self._transformer().set_channel_swap(input_, order)

    def preprocess(self, input_name: str, input_: NDArray[Any]) -> NDArray[np.float32]:
        """An (H, W, K) image in the form of a net's input, (K, H', W'), with the input's present size."""
        return self._for_input(input_name).preprocess(input_name, input_)

    def deprocess(self, input_name: str, input_: NDArray[Any]) -> NDArray[np.float32]:
        """The image that `preprocess` made an input of."""
        return self._for_input(input_name).deprocess(input_name, input_)

    def _for_input(self, name: str) -> Transformer:
        """The Transformer, for the present size of an input."""
        transformer = self._transformer()
        if name in transformer.inputs:
            transformer.inputs[name] = self.blobs[name].shape
        return transformer

    def _order_scale(self, name: str) -> None:
        """Let the input scale come before the mean if that is of a file, and no raw scale comes before it."""
        transformer = self._transformer()
        self._scale_after_mean(name)
        known = name in transformer.input_scale and name not in transformer.raw_scale
        if known and name in self._means_of_files:
            transformer.raw_scale[name] = transformer.input_scale.pop(name)
            self._scaled_first = self._scaled_first | {name}

    def _scale_after_mean(self, name: str) -> None:
        """Let the input scale come after the mean."""
        transformer = self._transformer()
        if name in self._scaled_first:
            self._scaled_first = self._scaled_first - {name}
            transformer.input_scale.setdefault(name, transformer.raw_scale.pop(name))

    def _transformer(self) -> Transformer:
        """The net's Transformer; made at the first call for a net that is no Classifier or Detector."""
        from dragon.pycaffe.io import Transformer

        found = getattr(self, "transformer", None)
        if isinstance(found, Transformer):
            return found
        made: Transformer | None = self.__dict__.get("_made_transformer")
        if made is None:
            made = Transformer({name: self.blobs[name].shape for name in self.inputs})
            for name in self.inputs:
                if self.blobs[name].ndim == 4:
                    made.set_transpose(name, (2, 0, 1))
            self._made_transformer = made
            self._show_settings(made)
        return made

    def _show_settings(self, transformer: Transformer) -> None:
        """Let scripts read `net.mean["data"]` and the other settings by input."""
        self.mean, self.channel_swap = transformer.mean, transformer.channel_swap
        self.input_scale, self.raw_scale = transformer.input_scale, transformer.raw_scale
