"""The facts of a model of the zoo: what stands in front of its readme, and the counts there, taken from its nets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from dragon.bases.rcnn_settings import meant_type
from dragon.bases.registry import class_of
from dragon.errors import UsageError, nearest
from dragon.files.atomic import write_atomically
from dragon.graph.net import Net
from dragon.graph.node import multiply_adds
from dragon.proto import dragon_pb2 as pb

__all__ = [
    "ROOT", "Facts", "Weights", "count", "made", "parsed", "read_facts", "without_data", "without_fillers",
    "write_counts",
]  # fmt: skip

ROOT = Path(__file__).parent
_MEASURED = ("data", "image_features", "pair_data")  # blobs of real numbers
_READERS = ("Data", "ImageData", "DenseImageData", "HDF5Data", "AnnotatedData", "RoIData")
_COUNTS = ("params", "deployed_params", "statistics", "multiply_adds")


@dataclass(frozen=True)
class Weights:
    """A file of trained weights: where it can be had, what it is, and its checksums as far as they are published.

    member: the name of the file in the archive that lies at the address; the checksums are those of the archive then.
    """

    url: str
    what: str
    sha256: str | None
    sha1: str | None = None
    md5: str | None = None
    member: str | None = None
    license: str | None = None


@dataclass(frozen=True)
class Facts:
    """The front matter of a readme.

    input: the shape of the deployed net's input, one sample; a mapping from names to shapes for several inputs.
    license: of the files in the folder. params: learned (and fixed) values of the net for training, deployed_params:
    those of the deployed net where they are fewer. statistics: running averages. multiply_adds: of the deployed net for
    one sample, in layers that multiply by a weight. reference_accuracy: published by others, with its source.
    """

    name: str
    task: str
    input: Any
    dataset: str
    license: str
    params: int
    statistics: int
    multiply_adds: int
    weights: tuple[Weights, ...]
    reference_accuracy: float | None
    reference_source: str | None
    deployed_params: int | None = None

    @property
    def deployed(self) -> int:
        """Learned values of the deployed net."""
        return self.params if self.deployed_params is None else self.deployed_params


def read_facts(name: str, root: Path = ROOT) -> Facts:
    """The facts of the model `name`, a folder in `root`. Raises UsageError for a readme that does not state them."""
    path = root / name / "readme.md"
    parts = path.read_text(encoding="utf-8").split("---\n", 2)
    matter = parsed(parts[1], f"{path}: its front matter is") if len(parts) == 3 and not parts[0] else None
    if not isinstance(matter, dict):
        raise UsageError(f"{path}: expected a front matter between two lines of ---")
    weights = matter.get("weights")
    if not isinstance(weights, list):
        raise UsageError(f"{path}: weights: expected a list, got {weights!r}")
    public = tuple(made(Weights, entry, f"{path}: weights") for entry in weights)
    facts: Facts = made(Facts, matter | {"weights": public}, str(path))
    return facts


def parsed(text: str, where: str) -> Any:
    """The content of YAML. Raises UsageError for other text; its message is `where`, "not YAML" and the reason."""
    import yaml  # which takes 15 ms, and most commands do not need

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{where} not YAML: {' '.join(str(error).split())}") from None


def made(cls: type[Any], values: Any, where: str) -> Any:
    """An instance of the dataclass with these values. Raises UsageError for a field that is unknown or missing."""
    if not isinstance(values, dict):
        raise UsageError(f"{where}: expected fields and their values, got {values!r}")
    known = [field.name for field in fields(cls)]
    for key in values:
        if key not in known:
            raise UsageError(f"{where}: unknown field {key!r}{nearest(str(key), known)}")
    try:
        return cls(**values)
    except TypeError:
        missing = [f.name for f in fields(cls) if f.name not in values and f.default is MISSING]
        raise UsageError(f"{where}: lacks {', '.join(missing)}") from None


def without_data(net: pb.NetParameter, shapes: Mapping[str, tuple[int, ...]], labels: float = 1) -> pb.NetParameter:
    """A copy of the net whose data layers give Gaussian noise, so that no data set is needed.

    shapes: of the tops of its layers that read files, with the batch. labels: the value of labels, masks and words.
    """
    copy = pb.NetParameter()
    copy.CopyFrom(net)
    for layer in copy.layer:
        if meant_type(layer) not in _READERS:
            continue
        for settings in class_of(layer).settings:
            layer.ClearField(settings)
        layer.type = "DummyData"
        for top in layer.top:
            layer.dummy_data_param.shape.add(dim=shapes[top])
            if top in _MEASURED:
                layer.dummy_data_param.data_filler.add(type="gaussian")
            else:
                layer.dummy_data_param.data_filler.add(type="constant", value=labels)
    return copy


def count(train: pb.NetParameter | None, deploy: pb.NetParameter) -> dict[str, int]:
    """The counts of a model as its readme states them: of its net for training, without Data layers, and for use.

    deployed_params is among them where it differs from params. train: None if there is only a net for use.
    """
    with Net(without_fillers(deploy), phase=pb.TEST, engine="numpy", seed=1) as deployed:
        deployed_params, statistics = _learned(deployed), _statistics(deployed)
        work = sum(multiply_adds(node) for node in deployed.nodes)
    params = deployed_params
    if train is not None:
        with Net(without_fillers(train), phase=pb.TRAIN, engine="numpy", seed=1) as trained:
            params, statistics = _learned(trained), _statistics(trained)
    return {
        "params": params,
        **({} if params == deployed_params else {"deployed_params": deployed_params}),
        "statistics": statistics,
        "multiply_adds": work,
    }


def _learned(net: Net) -> int:
    return sum(p.blob.count for p in net.learnable)


def _statistics(net: Net) -> int:
    return sum(blob.count for blob, owner in net.owned if owner is None)


def without_fillers(net: pb.NetParameter) -> pb.NetParameter:
    """A copy whose weights start at zero: a large net is built at once."""
    copy = pb.NetParameter()
    copy.CopyFrom(net)
    for layer in copy.layer:
        for field, settings in layer.ListFields():
            if field.name.endswith("_param") and field.message_type is not None and not field.is_repeated:
                for filler in ("weight_filler", "bias_filler"):
                    if filler in settings.DESCRIPTOR.fields_by_name:
                        settings.ClearField(filler)
    return copy


def write_counts(name: str, counts: dict[str, int], root: Path = ROOT) -> Path:
    """Put the counts into the readme of a model, in place of those that stand there; its path."""
    path = root / name / "readme.md"
    start, matter, rest = path.read_text(encoding="utf-8").split("---\n", 2)
    lines = [line for line in matter.splitlines() if line.split(":")[0] not in _COUNTS]
    at = next((k for k, line in enumerate(lines) if line.startswith("weights:")), len(lines))
    lines[at:at] = [f"{key}: {value}" for key, value in counts.items()]
    write_atomically(path, "---\n".join((start, "".join(f"{line}\n" for line in lines), rest)).encode())
    return path
