"""Writes the table of accuracies of docs/zoo.md: `python -m tests.models.accuracies [NAME ...]`, where data/ is.

Each net whose weights ship runs over the whole test set, and so does OpenCV 4 with the same .caffemodel and the
deployed net. A merged BN, which OpenCV does not have, is split for it, as `dragon split` does.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dragon import TEST, Net
from dragon.files.atomic import write_atomically
from dragon.graph.means import OutputMeans, detection_tops
from dragon.graph.node import Node
from dragon.graph.outputs import batch_size
from dragon.models.facts import ROOT
from dragon.models.recipes import Recipe, read_recipe, recipes
from dragon.models.zoo import require_weights
from dragon.proto.text import format_text, read_net, read_solver
from dragon.surgery.merge import split
from dragon.surgery.model import read_model, write_model

PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"
HEAD = ("net", "seed", "test set", "recipe", "Dragon", "OpenCV")
BEGIN, END = "<!-- begin of the table of accuracies -->\n", "<!-- end of the table of accuracies -->\n"
NEAR = 0.00005  # half of the last digit of a recipe


def shipped() -> dict[str, Recipe]:
    """The recipes of the weights that come with Dragon, by net."""
    found = {name: read_recipe(name) for name in recipes()}
    return {name: one for name, one in found.items() if one is not None and (ROOT / name / str(one.file)).is_file()}


def opencv_net(name: str, cv2: Any, folder: Path) -> Any:
    """The deployed net with the weights that ship, read by OpenCV. Raises cv2.error if it lacks a layer."""
    model, weights = ROOT / name / "deploy.prototxt", require_weights(name)
    definition = read_net(model)
    if any(layer.type == "BN" for layer in definition.layer):
        whole = split(read_model(model, weights), caffe=True)[0]
        definition, weights = whole.net, folder / "net.caffemodel"
        write_model(whole, None, weights)
    tested = {layer.name: layer for layer in read_net(ROOT / name / "train_val.prototxt").layer}
    for layer in definition.layer:
        if layer.type == "DetectionOutput":  # a test counts boxes of lower scores than those that are shown
            layer.detection_output_param.CopyFrom(tested[layer.name].detection_output_param)
    model = folder / "net.prototxt"
    model.write_text(format_text(definition), encoding="utf-8")
    net = cv2.dnn.readNetFromCaffe(str(model), str(weights))
    net.setInput(np.zeros(list(definition.layer[0].input_param.shape[0].dim), np.float32))
    net.forward()  # layers are made here
    return net


def accuracies(name: str, cv2: Any) -> tuple[int, float, float | str]:
    """Images of the test set; accuracy or mean average precision of Dragon and of OpenCV, or why it has none."""
    solver = read_solver(ROOT / name / "solver.prototxt")
    with tempfile.TemporaryDirectory() as folder:
        try:
            theirs, why = opencv_net(name, cv2, Path(folder)), ""
        except cv2.error as error:
            theirs, why = None, f"none: {error.err}"
        definition = ROOT / name / "train_val.prototxt"
        with Net(definition, phase=TEST, weights=require_weights(name), engine="auto", seed=1) as net:
            top = next(name for name in ("accuracy", *detection_tops(net)) if name in net.outputs)
            scorer = next(node for node in net.nodes if top in node.top_names)
            version = solver.ap_version
            ours, others = OutputMeans(net, version), OutputMeans(net, version)
            for _ in range(solver.test_iter[0]):
                net.run_forward()
                ours.add(net.output_values())
                if theirs is not None:
                    theirs.setInput(net.blobs["data"].peek())
                    score(net, scorer, theirs.forward(), others)
            images = solver.test_iter[0] * (batch_size(net) or 1)
            mine = float(ours.means(solver.test_iter[0])[top])
            return images, mine, why or float(others.means(solver.test_iter[0])[top])


def score(net: Net, scorer: Node, values: Any, means: OutputMeans) -> None:
    """Let a net score what another program found for the batch that it has just seen."""
    scored = scorer.bottoms[0]
    if scorer.layer.scores_detections:  # without the empty rows that fill OpenCV's up to its most boxes
        values = values[:, :, values[0, 0, :, 2] > 0]
    else:  # probabilities, in the shape of the scores that they come from
        values = values.reshape(scored.shape)
    scored.reshape(values.shape)
    scored.data[...] = values
    net.run_forward(scorer.index, scorer.index)
    means.add({name: top.peek().copy() for name, top in zip(scorer.top_names, scorer.tops, strict=True)})


def table_of(text: str) -> dict[str, str]:
    """The rows of the page's table by net."""
    lines = text.partition(BEGIN)[2].partition(END)[0].splitlines()[2:]
    return {line.split("|")[1].strip(): line for line in lines}


def main(names: list[str]) -> int:
    """Write the rows of the nets named, or of all; 1 if an accuracy is not that of the recipe, 2 for a wrong name."""
    known = shipped()
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no weights ship for: {', '.join(unknown)}", file=sys.stderr)
        return 2
    text = PAGE.read_text(encoding="utf-8")
    rows, wrong = table_of(text), []
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)
    for name in names or list(known):
        recipe = known[name]
        images, mine, theirs = accuracies(name, cv2)
        found = theirs if isinstance(theirs, str) else f"{theirs:.4f}"
        rows[name] = f"| {name} | {recipe.seed} | {images:,} | {recipe.accuracy} | {mine:.4f} | {found} |"
        print(rows[name], flush=True)
        values = [value for value in (mine, theirs) if isinstance(value, float)]
        if any(abs(value - (recipe.accuracy or 0)) > NEAR for value in values):
            wrong.append(name)
    lines = [
        "| " + " | ".join(HEAD) + " |",
        "|---|--:|--:|--:|--:|--:|",
        *(rows[name] for name in known if name in rows),
    ]
    before, _, rest = text.partition(BEGIN)
    write_atomically(PAGE, (before + BEGIN + "\n".join(lines) + "\n" + END + rest.partition(END)[2]).encode())
    if wrong:
        print(f"not the accuracy of the recipe: {', '.join(wrong)}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
