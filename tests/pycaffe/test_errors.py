"""What a script for pycaffe catches catches our errors too."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon as caffe
from dragon import layers as L
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

NET = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }"""


def net() -> Any:
    return caffe.Net(parse_text(NET, pb.NetParameter()), phase=caffe.TEST, engine="numpy")


def solver() -> caffe.Solver:
    return caffe.Solver(pb.SolverParameter(base_lr=1, lr_policy="fixed", net_param=parse_text(NET, pb.NetParameter())))


def wrong_count() -> pb.BlobProto:
    return pb.BlobProto(num=1, channels=2, height=3, width=4, data=[1, 2])


CASES: dict[str, tuple[type[Exception], Callable[[], Any]]] = {
    "unknown blob": (KeyError, lambda: net().blobs["nope"]),
    "unknown params": (KeyError, lambda: net().params["nope"]),
    "unknown blob in forward": (KeyError, lambda: net().forward(blobs=["nope"])),
    "unknown start": (ValueError, lambda: net().forward(start="nope")),
    "unknown end": (ValueError, lambda: net().forward(end="nope")),
    "unknown layer": (KeyError, lambda: net().layer_dict["nope"]),
    "start out of range": (IndexError, lambda: net().forward(start=2)),
    "end out of range": (IndexError, lambda: net().forward(end=2)),
    "start from the end": (IndexError, lambda: net().backward(start=-1)),
    "end of backward out of range": (IndexError, lambda: net().backward(end=np.int64(2))),
    "a number between layers": (TypeError, lambda: net().forward(start=0.5)),
    "layers of the compiled part": (IndexError, lambda: net()._forward(0, 2)),
    "layers of its backward": (IndexError, lambda: net()._backward(2, 0)),
    "a test net out of range": (IndexError, lambda: solver().test(1)),
    "half an iteration": (TypeError, lambda: solver().step(0.5)),  # type: ignore[arg-type]
    "iterations in words": (TypeError, lambda: solver().step("3")),  # type: ignore[arg-type]
    "a pickled net": (TypeError, lambda: pickle.dumps(net())),
    "a copied net": (TypeError, lambda: copy.copy(net())),
    "a deep copy of a net": (TypeError, lambda: copy.deepcopy(net())),
    "a copied solver": (TypeError, lambda: copy.deepcopy(solver())),
    "rows of different lengths": (ValueError, lambda: net().forward(data=[[1, 2, 3], [1]])),
    "layer out of range": (IndexError, lambda: net().layers[99]),
    "other inputs": (Exception, lambda: net().forward(image=np.zeros((2, 3)))),
    "other batch": (Exception, lambda: net().forward(data=np.zeros((5, 3)))),
    "other row": (ValueError, lambda: net().forward(data=np.zeros((2, 4)))),
    "no MemoryData": (RuntimeError, lambda: net().set_input_arrays(np.zeros((2, 1, 1, 1)), np.zeros(2))),
    "missing model": (RuntimeError, lambda: caffe.Net("nope.prototxt", caffe.TEST)),
    "no model": (TypeError, lambda: caffe.Net()),
    "a model that is none": (TypeError, lambda: caffe.Net(b"net.prototxt", caffe.TEST)),  # type: ignore[arg-type]
    "a solver that is none": (TypeError, lambda: caffe.Solver(3)),  # type: ignore[arg-type]
    "a level that is none": (TypeError, lambda: caffe.Net(pb.NetParameter(), caffe.TEST, level="w.h5")),  # type: ignore[arg-type]
    "a level out of range": (caffe.UsageError, lambda: caffe.Net(pb.NetParameter(), caffe.TEST, level=1 << 40)),
    "a seed that is none": (TypeError, lambda: caffe.Net(pb.NetParameter(), caffe.TEST, seed="1")),  # type: ignore[arg-type]
    "a seed out of range": (caffe.UsageError, lambda: caffe.set_random_seed(1 << 63)),
    "a default seed that is none": (TypeError, lambda: caffe.set_random_seed(1.5)),  # type: ignore[arg-type]
    "a dtype of integers": (caffe.UsageError, lambda: caffe.Net(pb.NetParameter(), caffe.TEST, dtype=np.int32)),
    "a dtype that is none": (TypeError, lambda: caffe.Net(pb.NetParameter(), caffe.TEST, dtype="foo")),
    "text for an input": (ValueError, lambda: net().forward(data=np.full((2, 3), "1"))),
    "missing weights": (RuntimeError, lambda: net().copy_from("nope.caffemodel")),
    "unwritable weights": (caffe.WeightsError, lambda: net().save("no/such/folder.caffemodel")),
    "unwritable HDF5 weights": (caffe.WeightsError, lambda: net().save("no/such/folder.h5")),
    "unwritable HDF5 file": (caffe.WeightsError, lambda: net().save_hdf5("no/such/folder")),
    "missing image": (FileNotFoundError, lambda: caffe.io.load_image("nope.png")),
    "wrong count": (ValueError, lambda: caffe.io.blobproto_to_array(wrong_count())),
    "unknown setting": (AttributeError, lambda: caffe.to_proto(L.ReLU(L.Input(), relu_param={"nope": 1}))),
    "wrong setting": (TypeError, lambda: caffe.to_proto(L.InnerProduct(L.Input(), num_output="x"))),  # type: ignore[arg-type]
    "an attribute that the net keeps": (AttributeError, lambda: setattr(net(), "context", 3)),
    "no top": (KeyError, lambda: caffe.NetSpec().nope),
    "no top as attribute": (AttributeError, lambda: caffe.NetSpec().nope),
    "no Top": (TypeError, lambda: L.ReLU(1)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", CASES)
def test_the_same_except(what: str) -> None:
    kind, action = CASES[what]
    with pytest.raises(kind) as caught:
        action()
    if isinstance(caught.value, caffe.DragonError):
        assert not str(caught.value).startswith(("'", '"')), "as KeyError would quote it"


def test_messages_are_not_quoted() -> None:
    with pytest.raises(caffe.DragonError, match=r'^no blob "ipp" \(did you mean "ip"\?\)$'):
        net().forward(blobs=["ipp"])


def test_a_mistyped_layer_type_is_named_before_its_settings() -> None:
    spec = caffe.NetSpec()
    spec.d = L.Input(shape={"dim": [1, 3, 8, 8]})
    spec.c = getattr(L, "Convolutoin")(spec.d, num_output=3)  # noqa: B009
    with pytest.raises(
        caffe.PrototxtError, match=r'unknown layer type "Convolutoin" \(did you mean "Convolution"\?\)$'
    ):
        spec.to_proto()


def test_an_unreadable_image_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(OSError, match="cannot be read"):
        caffe.io.load_image(str(tmp_path / "x.png"))


def test_a_blobproto_of_float64_has_data_as_with_pycaffe() -> None:
    values = np.arange(6.0).reshape(2, 3) / 7
    blob = caffe.io.array_to_blobproto(values, -values)
    np.testing.assert_array_equal(np.array(blob.data, np.float32), values.ravel().astype(np.float32))
    np.testing.assert_array_equal(np.array(blob.diff, np.float32), -values.ravel().astype(np.float32))
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), values)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob, return_diff=True), -values)
