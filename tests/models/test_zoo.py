"""Every model builds in both phases and is what its readme says.

Small nets run with the reference engine, those for large images (LARGE) once with the fast one, one image at a time and
where the net allows it a smaller one (SIDES); their counts are taken at full size, without drawing weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon import TEST, TRAIN, Net
from dragon.errors import UsageError
from dragon.models.facts import read_facts, without_fillers
from dragon.models.facts import without_data as with_noise
from dragon.models.generate import MODELS, counts_of, write_all
from dragon.models.nets.maps import Fitted, Labelling
from dragon.models.nets.model import Finding, Model, Regression
from dragon.models.recipes import FILE, read_recipe
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_net, read_solver
from dragon.solver.rate import check_policy
from dragon.tools.zoo.training_table import FILE as TABLE

ROOT = Path(__file__).parents[2] / "models"
TRAINED = [name for name, model in MODELS.items() if isinstance(model, Model)]
REGRESSIONS = [name for name, model in MODELS.items() if isinstance(model, Regression)]
# the width of the images of each classifier; test_other_tasks.py runs the other nets
WIDTHS = {
    name: model.data.shape[-1]
    for name, model in MODELS.items()
    if isinstance(model, Model) and not isinstance(model, Regression | Labelling | Fitted | Finding)
}
CLASSIFIERS = list(WIDTHS)
LARGE = [name for name in CLASSIFIERS if WIDTHS[name] > 200]
ALWAYS = ("googlenet", "mobilenet_v2", "resnet50", "squeezenet_v1.1")  # large ones that `make test` runs too
SMALL = [name for name in (*CLASSIFIERS, *REGRESSIONS) if name not in LARGE]
# the side of the image with which a large net is run, where it is not that of its data
SIDES: dict[str, int] = {
    "alexnet": 99, "caffenet": 99, "rcnn_ilsvrc13": 99, "flickr_style": 99, "inception_v4": 107,
    "inception_resnet_v2": 107, "xception": 107, "vgg16": 64, "vgg19": 64, "vgg16_bn": 64, "vgg19_bn": 64,
    **dict.fromkeys(
        ("densenet121", "efficientnet_b0", "mobilenet_v1", "mobilenet_v2", "mobilenet_v2_shicai", "mobilenet_v3",
         "mobilenet_v3_small", "resnext50", "shufflenet_v1", "shufflenet_v2", "squeezenet_v1.0", "squeezenet_v1.1"), 64,
    ),
}  # fmt: skip
_GOOGLENET = {f"loss{k}/{what}" for k in (1, 2, 3) for what in ("loss3" if k == 3 else "loss1", "top-1", "top-5")}
# the outputs in phase TEST, where they are not just accuracy and loss
OUTPUTS: dict[str, set[str]] = {
    "googlenet": _GOOGLENET,
    "bn_inception": _GOOGLENET,
    "inception_v3": {"accuracy", "aux_loss", "loss"},
}
SCORES = {"rcnn_ilsvrc13": "fc-rcnn"}  # the output of deployed classifiers that end without Softmax
TASKS = {
    "captioning", "classification", "detection", "edges", "embedding", "face-detection", "generation", "pose",
    "reconstruction", "regression", "segmentation", "super-resolution", "text-recognition",
}  # fmt: skip
DATASETS = {
    "bsds", "camvid", "cells", "cifar10", "cityscapes", "coco", "faces", "flickr_style", "ilsvrc13", "imagenet",
    "mnist", "mnist_lines", "mnist_scenes", "patches", "pictures", "shapes", "synth90k", "voc",
}  # fmt: skip
LICENSES = {"BSD-2-Clause"}


def without_data(path: Path, shape: tuple[int, ...]) -> pb.NetParameter:
    """The net with its Data layers replaced by noise, so that no data set is needed."""
    batch = 1 if shape[-1] > 200 else 50 if shape[-1] < 32 else 2  # forty BN layers need some
    return with_noise(read_net(path), {"data": (batch, *shape), "label": (batch,)}, labels=0)


def learned(net: Net) -> int:
    return sum(p.blob.count for p in net.learnable)


def test_every_folder_is_described() -> None:
    folders = {p.parent.name for p in ROOT.glob("*/*.prototxt")}
    assert folders == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_holds_what_is_generated_and_a_readme(name: str) -> None:
    recipe = read_recipe(name)
    trained = set() if recipe is None else {FILE, *([recipe.file] if recipe.file and recipe.url is None else [])}
    found = {p.name for p in (ROOT / name).iterdir()}
    assert found - {TABLE} == {*MODELS[name].files(name), "readme.md", *trained}
    assert TABLE not in found or trained  # the log of a training, of those that were trained since there are such


def test_an_unknown_name_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'has a model "lenett" \(did you mean "lenet"'):
        write_all(tmp_path, ["cifar10_quick", "lenett"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_has_nets_for_training_and_for_use_a_solver_and_a_readme(name: str) -> None:
    needed = {"train_val.prototxt", "deploy.prototxt", "solver.prototxt", "readme.md"}
    assert needed <= {path.name for path in (ROOT / name).iterdir()}


def test_well_known_nets_are_there() -> None:
    """Those of which the project says that `dragon zoo run NAME` works."""
    names = """
        lenet mnist_autoencoder mnist_siamese mnist_sigmoid_3x100 mnist_sigmoid_3x100_bn cifar10_quick
        cifar10_full nin_cifar10 vgg_a_cifar10 vgg_a_cifar10_bn vgg_a_cifar10_noisy resnet20_cifar10
        resnet32_cifar10 resnet44_cifar10 resnet56_cifar10 resnet110_cifar10 densenet40_cifar10
        mobilenet_cifar10 deep_linear alexnet caffenet caffenet128 caffenet128_bn rcnn_ilsvrc13 flickr_style
        nin_imagenet googlenet bn_inception inception_v3 inception_v4 inception_resnet_v2 xception vgg16
        vgg16_bn vgg19 vgg19_bn resnet18 resnet34 resnet50 resnet101 resnet152 resnext50 se_resnet50
        squeezenet_v1.0 squeezenet_v1.1 mobilenet_v1 mobilenet_v2 mobilenet_v3 shufflenet_v1 shufflenet_v2
        densenet121 efficientnet_b0 fcn32s fcn16s fcn8s segnet unet enet ssd300_vgg mobilenet_ssd
        faster_rcnn_vgg16 yolo_v2 yolo_v3 mtcnn_pnet mtcnn_rnet mtcnn_onet openpose hed srcnn vdsr fsrcnn
        dcgan_generator dcgan_discriminator lrcn crnn
    """
    assert set(names.split()) <= set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_files_are_those_of_the_generator(name: str) -> None:
    for file, text in MODELS[name].files(name).items():
        assert (ROOT / name / file).read_text(encoding="utf-8") == text, f"run models/generate.py: {name}/{file}"


@pytest.mark.parametrize("name", MODELS)
def test_front_matter(name: str) -> None:
    facts = read_facts(name)
    assert facts.name == name
    assert facts.task in TASKS
    assert facts.license in LICENSES
    assert facts.dataset in ({"none"} if name in REGRESSIONS else DATASETS)
    accuracy = facts.reference_accuracy
    assert accuracy is None or 0 < accuracy < 1
    assert facts.reference_source  # also where there is no figure: why
    for weights in facts.weights:
        assert weights.url.startswith(("http://", "https://"))
        assert weights.what
        for checksum, digits in ((weights.sha256, 64), (weights.sha1, 40), (weights.md5, 32)):
            assert checksum is None or (len(checksum) == digits and int(checksum, 16))


@pytest.mark.parametrize("name", MODELS)
def test_counts_are_those_of_the_readme(name: str) -> None:
    facts = read_facts(name)
    counts = counts_of(name, ROOT)
    assert counts.get("deployed_params") == facts.deployed_params
    assert counts["params"] == facts.params
    assert counts["statistics"] == facts.statistics
    assert counts["multiply_adds"] == facts.multiply_adds


@pytest.mark.parametrize("name", SMALL)
def test_small_net_runs_in_both_phases_and_deploys(name: str, tmp_path: Path) -> None:
    facts = read_facts(name)
    definition = without_data(ROOT / name / "train_val.prototxt", tuple(facts.input[1:]))
    train = Net(definition, phase=TRAIN, engine="numpy", seed=1)
    assert learned(train) == facts.params
    assert sum(blob.count for blob, owner in train.owned if owner is None) == facts.statistics
    runs_in_both_phases(name, train, definition, "numpy")
    if name in CLASSIFIERS:
        deploy = read_net(ROOT / name / "deploy.prototxt")
        deploy_takes_the_weights_of(name, train, deploy, facts.input, tmp_path, "numpy")


def runs_in_both_phases(name: str, train: Net, definition: pb.NetParameter, engine: str) -> None:
    assert np.isfinite(train.forward_backward())
    assert all(np.isfinite(p.blob.peek_diff()).all() for p in train.learnable)
    test = Net(without_fillers(definition), phase=TEST, engine=engine, seed=1)
    test.share_with(train)
    assert set(test.outputs) == OUTPUTS.get(name, {"loss"} if name in REGRESSIONS else {"accuracy", "loss"})
    test.run_forward()


def deploy_takes_the_weights_of(
    name: str, train: Net, definition: pb.NetParameter, shape: list[int], folder: Path, engine: str
) -> None:
    train.save(folder / "w.caffemodel")
    deploy = Net(definition, TEST, weights=folder / "w.caffemodel", engine=engine, seed=3)
    (folder / "w.caffemodel").unlink()
    assert list(deploy.blobs["data"].shape) == shape
    assert set(train.params) - set(deploy.params) == {n for n in train.params if n in MODELS[name].body().training}
    for key in deploy.params:
        for mine, theirs in zip(deploy.params[key], train.params[key], strict=True):
            np.testing.assert_array_equal(mine.peek(), theirs.peek())
    found = deploy.forward(data=np.zeros(shape, np.float32))
    assert set(found) == {SCORES.get(name, "prob")}
    (scores,) = found.values()
    assert np.isfinite(scores).all()
    assert name in SCORES or scores.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.heavy] * (name not in ALWAYS)) for name in LARGE]
)
def test_large_net_runs_in_both_phases_and_deploys(name: str, tmp_path: Path) -> None:
    side = SIDES.get(name, WIDTHS[name])
    shape = [1, 3, side, side]
    definition = without_data(ROOT / name / "train_val.prototxt", (3, 256, 256))
    for layer in definition.layer:
        for blob in layer.dummy_data_param.shape[:1]:
            blob.dim[2:] = shape[2:]
    train = Net(definition, phase=TRAIN, engine="onednn", seed=1)
    runs_in_both_phases(name, train, definition, "onednn")
    deploy = read_net(ROOT / name / "deploy.prototxt")
    assert list(deploy.layer[0].input_param.shape[0].dim) == read_facts(name).input
    deploy.layer[0].input_param.shape[0].dim[:] = shape
    deploy_takes_the_weights_of(name, train, deploy, shape, tmp_path, "onednn")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("license: BSD-2-Clause\n", "", "lacks license"),
        ("task:", "tsk:", "unknown field 'tsk'"),
        ("weights: []", "weights: none", "weights: expected a list, got 'none'"),
        ("weights: []", "weights: [{url: 'https://a', what: b}]", "weights: lacks sha256"),
        ("weights: []", "weights: [a]", "weights: expected fields and their values, got 'a'"),
        ("name: lenet", "name: [", "its front matter is not YAML"),
        ("---\n", "", "expected a front matter"),
    ],
)
def test_a_readme_without_its_facts_is_refused(before: str, after: str, message: str, tmp_path: Path) -> None:
    text = (ROOT / "lenet" / "readme.md").read_text(encoding="utf-8")
    assert before in text
    (tmp_path / "lenet").mkdir()
    (tmp_path / "lenet" / "readme.md").write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        read_facts("lenet", tmp_path)
    assert "readme.md: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", TRAINED)
def test_solver(name: str) -> None:
    param = read_solver(ROOT / name / "solver.prototxt")
    check_policy(param)
    assert param.net == f"models/{name}/train_val.prototxt"
    assert param.max_iter % param.test_interval == 0


@pytest.mark.parametrize("ending", ["", "_fc", "_caffe_init"])
def test_split_and_merged_start_equal(ending: str) -> None:
    nets = [
        Net(
            without_data(ROOT / f"cifar10_quick_bn_{form}{ending}" / "train_val.prototxt", (3, 32, 32)),
            phase=TRAIN,
            engine="numpy",
            seed=5,
        )
        for form in ("split", "merged")
    ]
    shared = [k for k in nets[0].params if not k.startswith(("bn", "scale"))]
    assert shared == ["conv1", "conv2", "conv3", "ip1", "ip2"]
    for key in shared:
        assert nets[0].params[key][0].peek().any()
        for a, b in zip(nets[0].params[key], nets[1].params[key], strict=True):
            np.testing.assert_array_equal(a.peek(), b.peek())


@pytest.mark.parametrize("name", REGRESSIONS)
def test_a_deployed_regression_gives_what_the_trained_net_gives(name: str, tmp_path: Path) -> None:
    train = Net(ROOT / name / "train_val.prototxt", phase=TRAIN, engine="numpy", seed=2)
    train.run_forward()
    train.save(tmp_path / "w.caffemodel")
    test = Net(ROOT / name / "train_val.prototxt", TEST, weights=tmp_path / "w.caffemodel", engine="numpy", seed=3)
    deploy = Net(ROOT / name / "deploy.prototxt", TEST, weights=tmp_path / "w.caffemodel", engine="numpy", seed=3)
    test.run_forward()
    sample = test.blobs["data"].peek()[:1]
    (found,) = deploy.forward(data=sample).values()
    np.testing.assert_allclose(found[0], test.blobs["ip25"].peek()[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_samples_stay_the_same_and_the_seed_decides_them(name: str) -> None:
    nets = [Net(ROOT / name / "train_val.prototxt", TRAIN, engine="numpy", seed=seed) for seed in (1, 1, 2)]
    for net in nets:
        net.forward_backward()
    data = [net.blobs["data"].peek().copy() for net in nets]
    np.testing.assert_array_equal(data[0], data[1])
    assert (data[0] != data[2]).any()
    nets[0].forward_backward()
    np.testing.assert_array_equal(nets[0].blobs["data"].peek(), data[0])
    learned_params = [p for p in nets[0].learnable if p.blob.peek_diff().any()]
    assert sum(p.blob.count for p in learned_params) == nets[0].blobs["ip25"].shape[1] * 10 * 25 + (
        24 * 20 if name.endswith("_bn") else 0
    )
    x, target = data[0], nets[0].blobs["target"].peek()
    np.testing.assert_allclose(target, x @ nets[0].params["target"][0].peek().T, rtol=1e-3, atol=1e-4)
    difference = nets[0].blobs["ip25"].peek() - target
    assert nets[0].forward_backward() == pytest.approx(float((difference.astype(float) ** 2).sum()), rel=1e-4)


@pytest.mark.parametrize(("name", "growth"), [("deep_relu", 1.0), ("deep_relu_bn", np.pi / (np.pi - 1))])
def test_growth_of_the_squared_gradient(name: str, growth: float) -> None:
    net_definition = without_data(ROOT / name / "train_val.prototxt", (1, 28, 28))
    for shape in net_definition.layer[0].dummy_data_param.shape:
        shape.dim[0] = 1000
    net = Net(net_definition, TRAIN, engine="numpy", seed=1)
    net.forward_backward()
    squares = [float((net.blobs[f"ip{k}"].diff ** 2).sum()) for k in range(5, 36)]
    assert (squares[0] / squares[-1]) ** (1 / 30) == pytest.approx(growth, rel=0.05)  # the width is finite


@pytest.mark.parametrize("name", ["vgg_a_cifar10", "vgg_a_cifar10_bn"])
def test_vgg_starts_from_glorot(name: str) -> None:
    net = Net(without_data(ROOT / name / "train_val.prototxt", (3, 32, 32)), TRAIN, engine="numpy", seed=1)
    for key, fan_in, fan_out in (("conv3_1", 128 * 9, 256 * 9), ("ip3", 512, 10)):
        assert net.params[key][0].peek().var() == pytest.approx(2 / (fan_in + fan_out), rel=0.03)
