"""NVRTC through its C interface, from the package nvidia-cuda-nvrtc: compiles for a GPU without a driver."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

from numpy.typing import DTypeLike

from dragon.engines.cuda.device.precision import defines
from dragon.engines.cuda.kernels import sources
from tests.engines.cuda.kept import key, once, version

CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")  # that CuPy adds to a program's own
FASTEST = "--Ofast-compile=max"


def options(dtype: DTypeLike, architecture: str) -> list[str]:
    """What a kernel file is compiled with for activations of `dtype` and a GPU's architecture, such as sm_90."""
    return [*sources.OPTIONS, *defines(dtype), *CUPY_OPTIONS, f"-arch={architecture}"]


def find() -> Path | None:
    """The library of the package, for whichever CUDA it belongs to."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec else ():
        for pattern in ("cu*/lib/libnvrtc.so.*", "cuda_nvrtc/lib/libnvrtc.so.*"):
            for path in sorted(Path(folder).glob(pattern), reverse=True):
                return path
    return None


class Nvrtc:
    def __init__(self, path: Path) -> None:
        self.path = path
        for helper in path.parent.glob("libnvrtc-builtins.so*"):
            ctypes.CDLL(str(helper))
        self._lib = ctypes.CDLL(str(path))

    def compile(self, source: str, name: str, options: list[str]) -> tuple[bytes, str]:
        """The machine code and the compiler's log; RuntimeError with the log when it does not compile."""
        lib, program = self._lib, ctypes.c_void_p()
        self._check(lib.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None))
        try:
            texts = [option.encode() for option in options]
            status = lib.nvrtcCompileProgram(program, len(texts), (ctypes.c_char_p * len(texts))(*texts))
            size = ctypes.c_size_t()
            self._check(lib.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
            log = ctypes.create_string_buffer(size.value)
            self._check(lib.nvrtcGetProgramLog(program, log))
            text = log.value.decode(errors="replace").strip()
            if status:
                raise RuntimeError(text)
            self._check(lib.nvrtcGetCUBINSize(program, ctypes.byref(size)))
            code = ctypes.create_string_buffer(size.value)
            self._check(lib.nvrtcGetCUBIN(program, code))
            return code.raw, text
        finally:
            lib.nvrtcDestroyProgram(ctypes.byref(program))

    def fastest(self) -> list[str]:
        """The option to optimise little, where this version knows it: for code that is compiled and does not run."""
        try:
            self.compile("", "empty.cu", [FASTEST])
        except RuntimeError:
            return []
        return [FASTEST]

    def compile_once(self, source: str, name: str, options: list[str]) -> tuple[bytes, str]:
        """The same, from the cache where this compiler has done it before."""

        def work() -> bytes:
            code, log = self.compile(source, name, options)
            return log.encode() + b"\0" + code

        helpers = sorted(self.path.parent.glob("lib*.so*"))
        kept = once(key(source, name, *options, *map(version, helpers)), work)
        log, _, code = kept.partition(b"\0")
        return code, log.decode()

    def _check(self, status: int) -> None:
        if status:
            self._lib.nvrtcGetErrorString.restype = ctypes.c_char_p
            raise RuntimeError(self._lib.nvrtcGetErrorString(status).decode())


def open_or_skip() -> Nvrtc:
    """The compiler; a test that needs it is skipped where the package is not installed."""
    import pytest  # here, since a benchmark uses the rest of this module

    path = find()
    if path is None:
        pytest.skip("the package nvidia-cuda-nvrtc is not installed: kernels were not compiled for a GPU")
    return Nvrtc(path)
