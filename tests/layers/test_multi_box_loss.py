"""MultiBoxLoss against the loss of every box, computed one by one with matching by exhaustive search."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.gradient import check_gradient
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.layers.helpers import One
from tests.layers.test_detection_output import decoded, greedy, iou

_LOSS = "multibox_loss_param { num_classes: 3"
CATALOGUE = {
    "MultiBoxLoss": [
        (f"{_LOSS} code_type: CENTER_SIZE neg_pos_ratio: 3 }}", ((2, 12), (2, 9), "prior", "boxes")),
        (
            f"{_LOSS} mining_type: NONE share_location: false conf_loss_type: LOGISTIC loc_loss_type: L2 }}",
            ((2, 36), (2, 9), "prior", "boxes"),
        ),
        (
            f"{_LOSS} mining_type: HARD_EXAMPLE sample_size: 2 nms_param {{ nms_threshold: 0.7 }} }} loss_weight: 2",
            ((2, 12), (2, 9), "prior", "boxes"),
        ),
        (
            f"{_LOSS} code_type: CENTER_SIZE objectness_score: 0.5 }}",
            ((2, 12), (2, 9), "prior", "boxes", "objects", "offsets"),
        ),
    ]
}
N, P, C = 3, 20, 4
NONE = [-1.0] * 8


def case(seed: int, crowd: int = 4, ties: bool = False) -> tuple[Any, Any, Any, Any]:
    """Offsets, scores, default boxes and labels of three images: few boxes, none, and a crowd with difficult ones."""
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.integers(-2, 13, (P, 2, 2)), axis=1).astype(float) / 10
    corners[:, 1] += 0.1
    if ties:  # the same default boxes several times, and labels that are default boxes
        corners[P // 2 :] = corners[: P - P // 2]
    prior = np.stack([corners.reshape(P, 4), np.tile([0.1, 0.1, 0.2, 0.2], (P, 1))])
    rows = [NONE]
    for item, count in ((0, 2), (2, crowd)):
        for i in range(count):
            box = np.sort(rng.uniform(0, 1, (2, 2)), axis=0).ravel()
            if ties:
                box = prior[0, rng.integers(P)].clip(0, 1)
            rows.insert(0, [item, int(rng.integers(1, C)), i, *box, i % 2])
    offsets = rng.standard_normal((N, P, C, 4)) * 0.7
    return offsets, rng.standard_normal((N, P, C)), prior, np.array(rows)


def match(boxes: Any, truth: Any, threshold: float | None, inside: bool) -> tuple[list[int], list[float]]:
    """Pairs in falling order of overlap, among equal ones by box and label; then the best label of the others."""
    overlap = [[iou(b, t) for t in truth] for b in boxes]
    allowed = [not inside or all(0 <= v <= 1 for v in b) for b in boxes]
    got = [-1 if ok else -2 for ok in allowed]
    most = [
        max((o for o in row if o > 1e-6), default=0.0) if ok else 0.0 for row, ok in zip(overlap, allowed, strict=True)
    ]
    pairs = [(-overlap[i][j], i, j) for i in range(len(boxes)) for j in range(len(truth)) if allowed[i]]
    taken = set()
    for o, i, j in sorted(pairs):
        if -o > 1e-6 and got[i] == -1 and j not in taken:
            got[i], most[i] = j, -o
            taken.add(j)
    for i in range(len(boxes)):
        if got[i] == -1 and threshold is not None and most[i] > 0 and most[i] >= threshold:
            got[i] = overlap[i].index(most[i])
    return got, most


def encode(code: str, prior: Any, box: Any) -> list[float]:
    w, h = prior[2] - prior[0], prior[3] - prior[1]
    if code == "CENTER_SIZE":
        middle = [(box[k] + box[k + 2] - prior[k] - prior[k + 2]) / 2 / s for k, s in ((0, w), (1, h))]
        return [*middle, math.log((box[2] - box[0]) / w), math.log((box[3] - box[1]) / h)]
    sizes = (w, h, w, h) if code == "CORNER_SIZE" else (1, 1, 1, 1)
    return [(b - p) / s for b, p, s in zip(box, prior, sizes, strict=True)]


def expected(setting: str, offsets: Any, scores: Any, prior: Any, rows: Any) -> float:
    """The loss by its definition; `setting` is what stands in multibox_loss_param besides num_classes."""
    p = parse_text(f"layer {{ {_settings(setting)} }}", pb.NetParameter()).layer[0].multibox_loss_param
    code = pb.PriorBoxParameter.CodeType.Name(p.code_type)
    variance = [[1.0] * 4] * P if p.encode_variance_in_target else prior[1]
    threshold = p.overlap_threshold if p.match_type == p.PER_PREDICTION else None
    softmax, mining = p.conf_loss_type == p.SOFTMAX, p.MiningType.Name(p.mining_type)
    classes = scores.shape[-1]

    def class_loss(x: Any, wanted: set[int]) -> float:
        if softmax:
            return float(np.log(np.exp(x).sum()) - x[min(wanted)])
        s = 1 / (1 + np.exp(-x))
        return float(-sum(np.log(s[c] if c in wanted else 1 - s[c]) for c in range(classes)))

    def offset_loss(item: int, i: int, place: int, box: Any, predicted: Any) -> float:
        total = 0.0
        goal = encode(code, prior[0, i], box)
        for k in range(4):
            if p.bp_inside and not 0 <= (prior[0, i] if p.use_prior_for_matching else predicted)[k] <= 1:
                continue
            scale = prior[1, i, k]
            d = offsets[item, i, place, k] - goal[k] / variance[i][k]
            d = d / scale if p.encode_variance_in_target else d
            small = p.loc_loss_type == p.L2 or abs(d) < 1
            total += d * d / 2 if small else abs(d) - 0.5
        return total

    total, count = 0.0, 0
    for item in range(N):
        truth = [r for r in rows if r[0] == item and (p.use_difficult_gt or not r[7])]
        labels = [1 if p.map_object_to_agnostic else int(r[1]) for r in truth]
        boxes = [list(r[3:7]) for r in truth]
        places = [0] if p.share_location else [c for c in range(classes) if c != p.background_label_id]
        wanted = [{p.background_label_id} for _ in range(P)]
        if not truth:
            if mining == "NONE":
                total += sum(class_loss(scores[item, i], wanted[i]) for i in range(P))
            continue
        found: list[tuple[int, int, int]] = []  # box, place, label
        for c in places:
            predicted = [decoded(code, prior[0, i], variance[i], offsets[item, i, c]) for i in range(P)]
            if p.use_prior_for_matching:
                got, most = match(prior[0], boxes, threshold, p.ignore_cross_boundary_bbox)
                got = got if p.share_location else [g if g >= 0 and labels[g] == c else -1 for g in got]
            else:
                own = [j for j in range(len(boxes)) if p.share_location or labels[j] == c]
                got, most = match(predicted, [boxes[j] for j in own], threshold, p.ignore_cross_boundary_bbox)
                got = [own[g] if g >= 0 else g for g in got]
            found += [(i, c, g) for i, g in enumerate(got) if g >= 0]
        for i, _, g in found:
            wanted[i] = (wanted[i] - {p.background_label_id} if not softmax else set()) | {labels[g]}
        each = [class_loss(scores[item, i], wanted[i]) for i in range(P)]
        where = {i: (c, g) for i, c, g in found}
        nms = p.nms_param if p.HasField("nms_param") else None
        chosen = set(range(P))
        if mining == "MAX_NEGATIVE":
            may = [i for i in range(P) if got[i] == -1 and most[i] < p.neg_overlap]
            hard = hardest(
                may, each, int(len(found) * p.neg_pos_ratio), nms, prior[0] if p.use_prior_for_nms else predicted
            )
            chosen = set(hard) | set(where)
        elif mining == "HARD_EXAMPLE":
            both = [
                each[i] + (offset_loss(item, i, 0, boxes[where[i][1]], predicted[i]) if i in where else 0)
                for i in range(P)
            ]
            hard = hardest(range(P), both, p.sample_size, nms, prior[0] if p.use_prior_for_nms else predicted)
            found = [f for f in found if f[0] in hard]
            chosen = {i for i in hard if got[i] > -2}
        total += sum(each[i] for i in chosen)
        count += len(found)
        for i, c, g in found:
            box = decoded(code, prior[0, i], variance[i], offsets[item, i, c])
            total += p.loc_weight * offset_loss(item, i, c, boxes[g], box)
    return total / max(1, count)


def hardest(may: Any, loss: Any, count: int, nms: Any, boxes: Any) -> list[int]:
    order = sorted(may, key=lambda i: -loss[i])
    if nms is not None:
        order = order[: nms.top_k] if nms.HasField("top_k") else order
        order = [i for i in order if max(0, boxes[i][2] - boxes[i][0]) * max(0, boxes[i][3] - boxes[i][1]) >= 1e-5]
        kept = greedy(
            [boxes[i] for i in order], [-k for k in range(len(order))], nms.nms_threshold, -math.inf, len(order)
        )
        order = [order[k] for k in kept]
    return order[:count]


def _settings(setting: str) -> str:
    classes = 2 if "agnostic" in setting else C
    return f'type: "MultiBoxLoss" multibox_loss_param {{ num_classes: {classes} {setting} }}'


def bottoms(setting: str, values: tuple[Any, Any, Any, Any]) -> tuple[Any, Any, Any, Any]:
    offsets, scores, prior, rows = values
    scores = scores[..., :2] if "agnostic" in setting else scores
    offsets = offsets if "share_location: false" in setting else offsets[:, :, :1]
    return offsets, scores, prior, rows


def one(setting: str, values: tuple[Any, Any, Any, Any], more: str = "", **options: Any) -> One:
    offsets, scores, prior, rows = bottoms(setting, values)
    return One(
        f"{_settings(setting)} {more}",
        offsets.reshape(N, -1), scores.reshape(N, -1), prior.reshape(1, 2, -1), rows.reshape(1, 1, -1, 8),
        **{"dtype": np.float64} | options,
    )  # fmt: skip


CODES = ["", "code_type: CENTER_SIZE", "code_type: CORNER_SIZE encode_variance_in_target: true"]
SHARED = [
    "",
    "mining_type: NONE conf_loss_type: LOGISTIC loc_loss_type: L2 loc_weight: 2.5",
    "match_type: BIPARTITE neg_overlap: 0.3 neg_pos_ratio: 1.5",
    "overlap_threshold: 0.2 bp_inside: true conf_loss_type: LOGISTIC",
    "mining_type: HARD_EXAMPLE sample_size: 5",
    "mining_type: HARD_EXAMPLE sample_size: 7 nms_param { nms_threshold: 0.4 top_k: 9 } loc_loss_type: L2",
    "nms_param { nms_threshold: 0.3 } use_prior_for_nms: true",
    "ignore_cross_boundary_bbox: true mining_type: HARD_EXAMPLE sample_size: 12 overlap_threshold: 0.3",
    "ignore_cross_boundary_bbox: true",
    "map_object_to_agnostic: true use_difficult_gt: false",
    "background_label_id: 9 conf_loss_type: LOGISTIC mining_type: NONE",
]
OWN = [
    f"mining_type: NONE share_location: false {more}"
    for more in ("", "conf_loss_type: LOGISTIC", "ignore_cross_boundary_bbox: true")
]
SETTINGS = [
    f"{base} {code} {prior}"
    for base, code, prior in itertools.product(SHARED + OWN, CODES, ["", "use_prior_for_matching: false"])
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_values(setting: str) -> None:
    for seed, crowd, ties in ((1, 4, False), (2, 0, False), (3, 30, False), (4, 5, True)):
        values = case(seed, crowd, ties)
        assert float(one(setting, values).forward()) == pytest.approx(expected(setting, *bottoms(setting, values)))


# where the offsets decide what is inside the image the loss jumps, and has no gradient to compare with
@pytest.mark.parametrize("setting", [s for s in SETTINGS if not ("bp_inside" in s and "matching: false" in s)])
def test_gradient(setting: str) -> None:
    offsets, scores, prior, rows = bottoms(setting, case(5))
    values = [offsets.reshape(N, -1), scores.reshape(N, -1), prior.reshape(1, 2, -1), rows.reshape(1, 1, -1, 8)]
    check_gradient(_settings(setting), values, most=12)


def test_gradient_outside_the_image_is_zero() -> None:
    values = case(6)
    for setting in ("bp_inside: true overlap_threshold: 0.1", "bp_inside: true use_prior_for_matching: false"):
        layer = one(setting, values)
        layer.forward()
        dx = layer.backward(1).reshape(N, P, 4)
        boxes = values[2][0]
        if "false" in setting:
            boxes = np.array(
                [
                    [decoded("CORNER", b, v, o) for b, v, o in zip(*values[2], offsets[:, 0], strict=True)]
                    for offsets in values[0]
                ]
            )
        outside = np.broadcast_to((boxes < 0) | (boxes > 1), dx.shape)
        assert (dx[outside] == 0).all()
        assert (dx[~outside] != 0).any()


@pytest.mark.parametrize(
    ("mode", "divisor"), [("FULL", N * P), ("BATCH_SIZE", N), ("NONE", 1), ("PRE_FIXED pre_fixed_normalizer: 7", 7)]
)
def test_normalization(mode: str, divisor: int) -> None:
    values = case(1)
    sum_of_losses = float(one("", values, "loss_param { normalization: NONE }").forward())
    layer = one("", values, f"loss_param {{ normalization: {mode} }}")
    assert float(layer.forward()) == pytest.approx(sum_of_losses / divisor)
    plain = one("", values)
    plain.forward()
    matches = len(plain.layer.rows.item)  # type: ignore[attr-defined]
    assert matches > 1
    assert float(plain.forward()) == pytest.approx(sum_of_losses / matches)
    np.testing.assert_allclose(layer.backward(2) * divisor, plain.backward(2) * matches)


def test_a_part_whose_propagate_down_is_false_adds_nothing() -> None:
    values = case(1)
    both = float(one("loc_weight: 3", values).forward())
    stops = "propagate_down: {} propagate_down: {} propagate_down: false propagate_down: false"
    offsets = one("loc_weight: 3", values, stops.format("true", "false"))
    scores = one("loc_weight: 3", values, stops.format("false", "true"))
    assert float(offsets.forward()) + float(scores.forward()) == pytest.approx(both)
    assert float(scores.forward()) == pytest.approx(float(one("loc_weight: 0", values).forward()))
    scores.backward(1, propagate_down=[False, True, False, False])
    assert (scores.bottom[0].diff == 0).all()
    assert (scores.bottom[1].diff != 0).any()


def test_no_labels_at_all() -> None:
    values = (*case(1)[:3], np.array([NONE]))
    layer = one("", values)
    assert float(layer.forward()) == 0
    assert (layer.backward(1) == 0).all()
    assert (layer.bottom[1].diff == 0).all()


def test_float32_gives_the_same_choice() -> None:
    for seed in range(5):
        values = case(seed)
        exact, single = one("code_type: CENTER_SIZE", values), one("code_type: CENTER_SIZE", values, dtype=np.float32)
        assert float(single.forward()) == pytest.approx(float(exact.forward()), rel=1e-5)
        np.testing.assert_allclose(single.backward(1), exact.backward(1), atol=1e-4)
        np.testing.assert_allclose(single.bottom[1].diff, exact.bottom[1].diff, atol=1e-6)


def test_messages_of_settings() -> None:
    values = case(1)
    for setting, message in (
        ("share_location: false", "needs mining_type: NONE with share_location: false"),
        ("background_label_id: 4", "background_label_id 4 must lie below num_classes, 4"),
        ("map_object_to_agnostic: true background_label_id: 1", "needs num_classes: 2 and background_label_id: 0"),
        ("do_neg_mining: false mining_type: HARD_EXAMPLE", "contradicts mining_type: HARD_EXAMPLE"),
        ("mining_type: HARD_EXAMPLE sample_size: 0", "sample_size must be positive, got 0"),
        ("neg_pos_ratio: -1", "neg_pos_ratio must not be negative, got -1"),
        ("neg_pos_ratio: nan", "neg_pos_ratio must be a number, got nan"),
    ):
        with pytest.raises(PrototxtError, match=message):
            one(setting, values)
    with pytest.raises(PrototxtError, match="needs num_classes"):
        One('type: "MultiBoxLoss"', [[0]], [[0]], [[0]], [[0]])
    layer = one("", values)
    layer.forward()
    with pytest.raises(PrototxtError, match="bottom 2 holds default boxes and has no gradient"):
        layer.backward(1, propagate_down=[True, True, True, False])


def test_all_negatives_by_an_infinite_ratio() -> None:
    values = case(1)
    assert float(one("neg_pos_ratio: inf", values).forward()) == float(one("neg_pos_ratio: 99", values).forward())


def test_the_older_setting_of_mining() -> None:
    values = case(1)
    assert float(one("do_neg_mining: false", values).forward()) == float(one("mining_type: NONE", values).forward())
    assert float(one("do_neg_mining: true", values).forward()) == float(one("", values).forward())


def test_messages_of_data() -> None:
    offsets, scores, prior, rows = case(1)
    for column, value, message in (
        (0, 3, "item 3 of box 1: expected 0 to 2"),
        (1, 0, "label 0 of box 1: expected 0 to 3 without the background, 0"),
        (1, 4, "label 4 of box 1: expected 0 to 3 without"),
        (1, 1.5, "label 1.5 of box 1"),
        (1, math.nan, "label nan of box 1"),
    ):
        wrong = rows.copy()
        wrong[1, column] = value
        with pytest.raises(DataError, match=message):
            one("", (offsets, scores, prior, wrong)).forward()
    still = prior.copy()
    still[1, 3, 2] = 0
    with pytest.raises(DataError, match="variance 0 of a default box: it must be positive"):
        one("", (offsets, scores, still, rows)).forward()
    with pytest.raises(ShapeError, match=r"bottom 1: expected shape \(3, 80\) for 20 default boxes, got \(3, 60\)"):
        one("", (offsets, scores[..., :3], prior, rows))
    with pytest.raises(ShapeError, match=r"labels of AnnotatedData, of shape \(1, 1, G, 8\), got \(2, 2\)"):
        One(
            _settings(""), offsets[:, :, 0].reshape(N, -1), scores.reshape(N, -1), prior.reshape(1, 2, -1),
            np.zeros((2, 2)),
        )  # fmt: skip
