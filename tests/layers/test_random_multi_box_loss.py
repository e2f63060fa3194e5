"""MultiBoxLoss with random settings, against the model in test_multi_box_loss.

BOX_LOSSES=N tries N settings; BOX_LOSSES_START=S begins with seed S.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from tests.layers.test_multi_box_loss import C, bottoms, case, expected, one

COUNT = int(os.environ.get("BOX_LOSSES", "40"))
START = int(os.environ.get("BOX_LOSSES_START", "0"))
SWITCHES = (
    "encode_variance_in_target: true", "use_prior_for_matching: false", "ignore_cross_boundary_bbox: true",
    "bp_inside: true", "use_difficult_gt: false", "match_type: BIPARTITE", "use_prior_for_nms: true",
    "loc_loss_type: L2", "conf_loss_type: LOGISTIC",
)  # fmt: skip


def settings(rng: np.random.Generator, background: int) -> str:
    """What stands in multibox_loss_param besides num_classes."""
    own = rng.random() < 0.2
    mining = [
        "", "mining_type: NONE", f"mining_type: HARD_EXAMPLE sample_size: {rng.integers(1, 25)}",
        f"neg_pos_ratio: {rng.choice([0, 0.5, 1, 2.3, 1000])}",
    ]  # fmt: skip
    found = ["share_location: false mining_type: NONE" if own else str(rng.choice(mining))]
    found.append(str(rng.choice(["", "code_type: CENTER_SIZE", "code_type: CORNER_SIZE"])))
    found += [switch for switch in SWITCHES if rng.random() < 0.3]
    if rng.random() < 0.4:
        found.append(f"overlap_threshold: {rng.choice([0, 0.1, 0.2, 0.35, 0.9])}")
    if rng.random() < 0.3:
        found.append(f"neg_overlap: {rng.choice([0.1, 0.3, 0.6])}")
    if rng.random() < 0.3 and not own:
        limit = f"top_k: {rng.integers(20)}" if rng.random() < 0.5 else ""
        found.append(f"nms_param {{ nms_threshold: {rng.choice([0.2, 0.5, 0.8])} {limit} }}")
    if background:
        found.append(f"background_label_id: {background}")
    elif rng.random() < 0.1 and not own:
        found.append("map_object_to_agnostic: true")
    return " ".join(found)


@pytest.mark.parametrize("seed", range(START, START + COUNT))
def test_losses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    background = int(rng.choice([0, 0, *range(1, C)]))
    setting = settings(rng, background)
    values: tuple[Any, Any, Any, Any] = case(seed, int(rng.integers(12)), bool(rng.random() < 0.3))
    labels = values[3][:, 1]
    labels[(labels == background) & (values[3][:, 0] != -1)] = (background + 1) % C
    assert float(one(setting, values).forward()) == pytest.approx(expected(setting, *bottoms(setting, values)))
