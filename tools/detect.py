"""`dragon detect`: scores windows in images."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import click
import numpy as np

from dragon.files.atomic import write_atomically
from dragon.models import zoo
from dragon.proto.assign import Assignment
from dragon.pycaffe.detector import Box, Detection, Detector, read_windows
from dragon.pycaffe.region_nets import with_boxes
from dragon.tools.common.box_pictures import write_pictures
from dragon.tools.common.engine_options import EngineChoice, engine_options
from dragon.tools.common.images import ImageChoice, check_labels, class_text, image_options, read_labels, scored_class
from dragon.tools.common.json_output import json_option
from dragon.tools.common.models import DEPLOY, model_and_weights
from dragon.tools.common.numbers import Count, Real
from dragon.tools.common.outputs import OutputFile, OutputFolder, refuse_input
from dragon.tools.common.profile import profile_option
from dragon.tools.common.progress import progress_bar
from dragon.tools.common.python_layers import allow_python
from dragon.tools.common.set_option import read_changed_net, set_net_option

__all__ = ["command"]


@click.command("detect")
@click.argument("windows", type=click.Path(dir_okay=False), nargs=-1, required=True)
@model_and_weights(DEPLOY, "The deploy prototxt, one input, class scores as output; or a net of the zoo.")
@click.option("--labels", metavar="FILE", help="Names of the classes, one a line, or a label map of SSD.")
@click.option("--context-pad", type=Count(0), default=0, help="Pixels of the input for the surroundings.")
@click.option("--out", type=OutputFile(), help="Write every window with its scores as CSV.")
@click.option("--min-score", type=Real(), help="Leave out boxes with a lower score.")
@click.option(
    "--pictures", type=OutputFolder(), metavar="FOLDER",
    help="Draw the boxes into copies of the images there.",
)  # fmt: skip
@image_options
@set_net_option
@profile_option
@allow_python
@engine_options
@json_option
def command(
    windows: tuple[str, ...],
    model: str,
    weights: str,
    labels: str | None,
    context_pad: int,
    out: str | None,
    min_score: float | None,
    pictures: str | None,
    images: ImageChoice,
    assignments: tuple[Assignment, ...],
    profile: str | None,
    choice: EngineChoice,
) -> dict[str, Any]:
    """Score WINDOWS, a CSV file with the columns filename,ymin,xmin,ymax,xmax, by a net; print the best class of each.

    A net that ends with DetectionOutput, as SSD does, RCNNDetectionOutput or a YOLO's output finds boxes itself; they
    are printed in the same order, with score and class, and drawn with --pictures. WINDOWS may also be images then.
    Nets that read the size of the image, im_info, get it with its sides in proportion.

    \b
    Example:
    dragon detect windows.csv --model cifar10_quick_bn_merged --context-pad 4 --out scores.csv
    dragon detect a.jpg b.jpg --model ssd_shapes --min-score 0.5 --pictures found
    dragon detect a.jpg --model VGG16/faster_rcnn_end2end/test.prototxt --weights FILE
    """
    known = zoo.name_of(model)
    names = read_labels(labels, known)
    engine, options = choice.resolve()
    definition = with_boxes(read_changed_net(model, assignments, profile=profile))
    net = Detector(definition, weights, engine=engine, options=options)
    images.of_zoo(known).apply(net, model)
    net.configure_crop(context_pad)
    if net.finds_boxes:
        return _print_boxes(net, windows, names, min_score or 0.0, out, pictures)
    for flag, value in (("--min-score", min_score), ("--pictures", pictures)):
        if value is not None:
            raise click.UsageError(f"{flag} is for nets that find boxes, with a DetectionOutput")
    listed = [image for file in windows for image in read_windows(file)]
    check_labels(labels, names, net)
    found = []
    with progress_bar() as progress:
        for i, image in enumerate(listed):
            found += net.detect_windows([image])
            progress("images", i + 1, len(listed))
    best = [_document(entry, names, int(np.argmax(entry["prediction"]))) for entry in found]
    for one in best:
        corners = ",".join(f"{v:g}" for v in one["window"])
        click.echo(f"{one['file']} {corners}  {one['score']:.4f}  {class_text(one)}")
    if out:
        count = len(found[0]["prediction"]) if found else 0
        classes = [names[k] if k < len(names) else f"class{k}" for k in range(count)]
        rows = ([e["filename"], *e["window"], *(f"{v:.6g}" for v in e["prediction"])] for e in found)
        _write_table(out, classes, rows)
    return {"windows": best}


def _document(entry: Detection, names: Sequence[str], winner: int) -> dict[str, Any]:
    score = entry["prediction"][winner]
    return {"file": entry["filename"], "window": entry["window"], **scored_class(names, winner, score)}


def _write_table(out: str, columns: Iterable[str], rows: Iterable[list[Any]]) -> None:
    """Write a CSV file of windows. columns: behind the file's name and the four corners."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["filename", "ymin", "xmin", "ymax", "xmax", *columns])
    table.writerows(rows)
    refuse_input(out)
    write_atomically(out, text.getvalue().encode())


def _print_boxes(
    net: Detector, windows: Sequence[str], names: Sequence[str], least: float, out: str | None, pictures: str | None
) -> dict[str, Any]:
    """Print the boxes that the net finds in images, or in the windows of CSV files; write them to `out` and pictures.

    least: the lowest score.
    """
    listed: list[tuple[str, list[list[float]] | None]] = []
    for file in windows:
        listed += read_windows(file) if file.lower().endswith(".csv") else [(file, None)]
    found: list[Box] = []
    with progress_bar() as progress:
        for i, image in enumerate(listed):
            found += [box for box in net.find_boxes([image]) if box["score"] >= least]
            progress("images", i + 1, len(listed))
    boxes = [
        {"file": box["filename"], "window": box["window"], **scored_class(names, box["label"], box["score"])}
        for box in found
    ]
    for one in boxes:
        corners = ",".join(f"{v:.1f}" for v in one["window"])
        click.echo(f"{one['file']} {corners}  {one['score']:.4f}  {class_text(one)}")
    if not found:
        click.echo("no boxes found")
    if out:
        rows = ([b["filename"], *(f"{v:.6g}" for v in b["window"]), b["label"], f"{b['score']:.6g}"] for b in found)
        _write_table(out, ["label", "score"], rows)
    written = write_pictures(pictures, [file for file, _ in listed], boxes) if pictures else []
    for path in written:
        click.echo(f"written: {path}")
    return {"boxes": boxes, "pictures": written}
