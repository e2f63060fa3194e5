"""Writes the prototxt files of the zoo: `python models/generate.py [FOLDER]`.

One description per net gives train_val and deploy, so that the two cannot disagree. Nets that are meant to be
compared use the same layer names, and with them the same weights for the same seed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dragon.files.atomic import write_atomically
from dragon.models.nets import cifar10, imagenet, linear, mnist
from dragon.models.nets.model import Model

__all__ = ["MODELS", "write_all"]

_FAMILIES = (cifar10, imagenet, linear, mnist)
MODELS: dict[str, Model] = {name: model for family in _FAMILIES for name, model in family.MODELS.items()}


def write_all(folder: Path) -> list[Path]:
    """Write the prototxt files of every model under `folder`; their paths."""
    written = []
    for name, model in MODELS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file, text in model.files(name).items():
            write_atomically(folder / name / file, text.encode())
            written.append(folder / name / file)
    return written


if __name__ == "__main__":
    print(f"{len(write_all(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)))} files written")
