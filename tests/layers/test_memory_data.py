from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import DataError, PrototxtError
from dragon.layers.memory_data import MemoryData
from tests.layers.helpers import One

TEXT = 'type: "MemoryData" memory_data_param { batch_size: 2 channels: 1 height: 2 width: 3 }'
X = np.random.default_rng(1).standard_normal((4, 1, 2, 3)).astype(np.float32)


def make(text: str = TEXT) -> tuple[One, MemoryData]:
    one = One(text, n_top=2)
    assert isinstance(one.layer, MemoryData)
    return one, one.layer


def test_round_and_round() -> None:
    one, layer = make()
    layer.set_arrays(X, np.arange(4).reshape(4, 1, 1, 1))
    for start in (0, 2, 0):
        np.testing.assert_array_equal(one.forward(), X[start : start + 2])
        assert one.top[1].data.tolist() == [start, start + 1]


def test_resume() -> None:
    one, layer = make()
    layer.set_arrays(X, np.arange(4))
    one.forward()
    other, second = make()
    second.set_arrays(X, np.arange(4))
    second.load_state(layer.state())
    np.testing.assert_array_equal(other.forward(), X[2:])


def test_images_are_transformed() -> None:
    one, layer = make(TEXT + " transform_param { scale: 2 mean_value: 1 }")
    layer.add_images(X, np.arange(4))
    np.testing.assert_allclose(one.forward(), (X[:2] - 1) * 2)


def test_messages() -> None:
    one, layer = make()
    with pytest.raises(DataError, match=r"has no data yet; call net\.set_input_arrays"):
        one.forward()
    with pytest.raises(DataError, match=r"data of shape \(4, 2, 3\), expected \(N, 1, 2, 3\)"):
        layer.set_arrays(X[:, 0], np.arange(4))
    with pytest.raises(DataError, match="3 labels for 4 items"):
        layer.set_arrays(X, np.arange(3))
    with pytest.raises(DataError, match="3 items, no multiple of batch_size 2"):
        layer.set_arrays(X[:3], np.arange(3))
    with pytest.raises(DataError, match="0 items, no multiple of batch_size 2"):
        layer.add_images(X[:0], [])
    layer.set_arrays(X, np.arange(4))
    with pytest.raises(DataError, match="the snapshot is at item 3, no multiple of batch_size 2"):
        layer.load_state({"position": 3})
    with pytest.raises(DataError, match="the snapshot is at item 4, there are 4"):
        layer.load_state({"position": 4})
    with pytest.raises(DataError, match="the snapshot holds no position"):
        layer.load_state({})
    with pytest.raises(PrototxtError, match="each at least 1"):
        One('type: "MemoryData" memory_data_param { batch_size: 2 channels: 1 height: 2 }', n_top=2)


def transformed(setting: str, phase: int) -> None:
    size = "batch_size: 2 channels: 1 height: 4 width: 4"
    text = f'type: "MemoryData" memory_data_param {{ {size} }} transform_param {{ {setting} }}'
    layer = One(text, phase=phase, n_top=2).layer
    assert isinstance(layer, MemoryData)
    layer.add_images(np.zeros((2, 1, 4, 4), np.uint8), [0, 1])


def test_images_are_padded_and_changed_at_random() -> None:
    text = (
        'name: "m" type: "MemoryData" memory_data_param { batch_size: 9 channels: 1 height: 4 width: 4 } '
        "transform_param { crop_size: 4 zero_pad: 2 cutout: 2 brightness: 0.5 }"
    )
    layers = [One(text, phase=TRAIN, n_top=2) for _ in range(2)]
    for one in layers:
        assert isinstance(one.layer, MemoryData)
        one.layer.add_images(np.full((9, 1, 4, 4), 100, np.uint8), range(9))
    data = layers[0].forward()
    np.testing.assert_array_equal(layers[1].forward(), data)
    assert len({image.max() for image in data}) == 9, "each image has a brightness of its own"
    assert len({(image == 0).tobytes() for image in data}) > 4


@pytest.mark.parametrize("setting", ["resize_param { height: 3 width: 3 }", "crop_h: 2"])
def test_settings_of_ssd_that_change_shapes_are_refused(setting: str) -> None:
    for phase in (TRAIN, TEST):
        with pytest.raises(PrototxtError, match=rf"\(MemoryData\): transform_param has {setting[:6]}.*, of SSD's"):
            transformed(setting, phase)


@pytest.mark.parametrize("name", ["noise_param", "emit_constraint", "distort_param", "expand_param"])
def test_augmentation_of_ssd_is_refused_in_train_and_told_in_test(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PrototxtError, match=f"transform_param has {name}, of SSD's"):
        transformed(name + " { }", TRAIN)
    transformed(name + " { }", TEST)
    message = f'layer "one" (MemoryData): transform_param has {name}, of SSD\'s data layers: ignored in TEST'
    assert caplog.messages == [message]
