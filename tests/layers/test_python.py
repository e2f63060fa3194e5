from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST, Context
from dragon.bases.user_code import failing_layer, user_code
from dragon.errors import DragonError, EngineError, PrototxtError
from tests.layers.helpers import One

MODULE = """
import dragon

class Twice(dragon.bases.layer.Layer):
    def setup(self, bottom, top):
        self.factor = float(self.param_str or 2)
        self.blobs.add_blob(3)

    def reshape(self, bottom, top):
        for b, t in zip(bottom, top):
            t.reshape(*b.shape)

    def forward(self, bottom, top):
        for b, t in zip(bottom, top):
            t.data[...] = self.factor * b.data

    def backward(self, top, propagate_down, bottom):
        for i, (b, t) in enumerate(zip(bottom, top)):
            if propagate_down[i]:
                b.diff[...] = self.factor * t.diff

class Single(Twice):
    bottoms = (1, 2)

class Lazy(dragon.bases.layer.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

class Shapeless(dragon.bases.layer.Layer):
    def forward(self, bottom, top):
        pass

class Fails(dragon.bases.layer.Layer):
    def setup(self, bottom, top):
        raise RuntimeError("mine")

class Forwards(Lazy):
    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data

class Wrong(Twice):
    def forward(self, bottom, top):
        raise KeyError("mine")

class OwnInit(Twice):
    def __init__(self, layer_param, more=None):
        self.rng = self.param = "mine"
        dragon.Layer.__init__(self, layer_param)
        self.known = (self.phase, self.name, more)

class AnyInit(Twice):
    def __init__(self, *args, **kwargs):
        self.count = len(args)
        super().__init__(*args, **kwargs)

class SilentInit(Twice):
    def __init__(self, param):
        pass

class NativeInit(Twice):
    def __init__(self, param, phase, context):
        super().__init__(param, phase, context)
        self.seed = context.seed

class NoArgument(Twice):
    def __init__(self):
        super().__init__()

class FailingInit(Twice):
    def __init__(self, *args):
        raise KeyError("mine")

class Other:
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "my_layers.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "unwritten.py").write_text("def")
    (tmp_path / "needy.py").write_text("import there_is_no_such_module")
    path = list(sys.path)
    yield tmp_path
    assert sys.path == path
    for name in ("my_layers", "broken", "needy"):
        sys.modules.pop(name, None)


def text(module: str = "my_layers", layer: str = "Twice", more: str = "") -> str:
    return f'type: "Python" python_param {{ module: "{module}" layer: "{layer}" {more} }}'


def test_module_beside_the_prototxt(folder: Path) -> None:
    context = Context(folder=folder)
    one = One(text(more='param_str: "3"'), [1.0, 2.0], [5.0], n_top=2, context=context)
    assert one.forward().tolist() == [3, 6]
    assert one.top[1].data.tolist() == [15]
    assert one.backward([1, 1], [1]).tolist() == [3, 3]
    assert one.layer.type == "Python"
    assert [blob.shape for blob in one.layer.blobs] == [(3,)]


def test_user_code_sees_host_arrays(folder: Path) -> None:
    """An engine's own arrays are out of sight while the user's code runs, and back afterwards."""
    context = Context(folder=folder)
    one = One(text(), [1.0], context=context)
    for blob in [*one.bottom, *one.top]:
        blob._space = context.space

    def engine_view(storage: object, shape: object) -> None:
        raise AssertionError("the engine's array was handed out")

    context.space.view = engine_view
    one.layer.forward(one.bottom, one.top)
    one.layer.backward(one.top, [True], one.bottom)
    assert context.space.view is engine_view
    assert one.top[0].peek().tolist() == [2]


def test_module_in_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert One(text(), [1.0]).forward().tolist() == [2]


def test_counts_that_the_class_states(folder: Path) -> None:
    with pytest.raises(PrototxtError, match="takes 1 to 2 bottom blobs, got 3"):
        One(text(layer="Single"), [1], [1], [1], context=Context(folder=folder))


def test_not_allowed(folder: Path) -> None:
    with pytest.raises(EngineError, match=r"my_layers; pass --allow-python"):
        One(text(), [1.0], context=Context(folder=folder, allow_python=False))
    assert "my_layers" not in sys.modules


@pytest.mark.parametrize(
    ("module", "layer", "message"),
    [
        ("nowhere", "Twice", "cannot import module nowhere: No module named 'nowhere'"),
        ("needy", "Twice", "cannot import module needy: No module named 'there_is_no_such_module'"),
        (
            "broken",
            "Twice",
            r"importing module broken failed: ZeroDivisionError: .* \(.*broken\.py, line 1\)",
        ),
        ("my_layers", "Twise", r'module my_layers has no class Twise \(did you mean "Twice"\?\)'),
        ("unwritten", "Twice", r"importing module unwritten failed: SyntaxError: [^(]* \(unwritten\.py, line 1\)$"),
        (
            "my_layers",
            "NoArgument",
            "class NoArgument of module my_layers has an __init__ of its own: .*; it is called with",
        ),
        ("my_layers", "Lazy", "class Lazy of module my_layers has no method forward"),
        ("my_layers", "Shapeless", "class Shapeless of module my_layers has no method reshape"),
        ("my_layers", "Other", "my_layers.Other is not a class that derives from dragon.Layer"),
        ("", "Twice", "needs python_param"),
    ],
)
def test_messages(folder: Path, module: str, layer: str, message: str) -> None:
    with pytest.raises(DragonError, match=rf'layer "one" \(Python\): {message}'):
        One(text(module, layer), np.ones(2), context=Context(folder=folder))


@pytest.mark.parametrize("layer", ["OwnInit", "AnyInit", "SilentInit", "NativeInit"])
def test_a_class_with_an_init_of_its_own(folder: Path, layer: str) -> None:
    """As pycaffe calls it, with the definition alone; what the base class has to know is there all the same."""
    context = Context(seed=7, folder=folder)
    one = One(text(layer=layer, more='param_str: "3"'), [1.0], phase=TEST, context=context)
    assert one.forward().tolist() == [3]
    made = vars(one.layer)
    assert (made["context"], one.layer.phase) == (context, TEST)
    assert made.get("known", (TEST, "one", None)) == (TEST, "one", None)
    assert made.get("count", 1) == 1
    assert made.get("seed", 7) == 7


def test_a_module_that_is_not_there_is_looked_for_once_in_each_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(DragonError) as caught:
        One(text("nowhere"), [1.0], context=Context(folder=Path()))
    assert str(caught.value).endswith(f"(looked on PYTHONPATH and in {folder})")


def test_a_missing_backward_is_named_when_it_is_wanted(folder: Path) -> None:
    one = One(text(layer="Forwards"), [1.0], context=Context(folder=folder))
    assert one.forward().tolist() == [1]
    with pytest.raises(PrototxtError, match=r"class Forwards of module my_layers has no method backward"):
        one.layer.backward(one.top, [True], one.bottom)


def test_an_exception_of_the_users_stays_what_it_is(folder: Path) -> None:
    """Scripts catch their own exceptions; what raised it is noted on it."""
    one = One(text(layer="Wrong"), [1.0], context=Context(folder=folder))
    with pytest.raises(KeyError, match="mine") as caught:
        one.forward()
    assert str(failing_layer(caught.value)) == 'layer "one" (Python)'


def test_an_exception_of_setup_comes_before_methods_that_are_missing(folder: Path) -> None:
    """As in Caffe, whose own test has such a layer."""
    with pytest.raises(RuntimeError, match="mine"):
        One(text(layer="Fails"), [1.0], context=Context(folder=folder))


def test_an_exception_of_its_init_is_the_users(folder: Path) -> None:
    with pytest.raises(KeyError, match="mine") as caught:
        One(text(layer="FailingInit"), [1.0], context=Context(folder=folder))
    assert str(failing_layer(caught.value)) == 'layer "one" (Python)'


def test_the_library_can_forbid_python_layers(folder: Path) -> None:
    with user_code(False), pytest.raises(EngineError, match=r"my_layers; pass --allow-python"):
        One(text(), [1.0], context=Context(folder=folder))
    assert One(text(), [1.0], context=Context(folder=folder)).forward().tolist() == [2]
