"""A net that compares fixed detections with fixed labels, for tests of what testing prints."""

from __future__ import annotations

__all__ = ["detection_net"]


def _constant(name: str, rows: list[list[float]]) -> str:
    """A blob `name` (1, 1, rows, values) of constants, joined from one DummyData."""
    values = [value for row in rows for value in row]
    tops = " ".join(f'top: "{name}{i}"' for i in range(len(values)))
    fillers = " ".join(f"data_filler {{ value: {value} }}" for value in values)
    bottoms = " ".join(f'bottom: "{name}{i}"' for i in range(len(values)))
    return f"""
layer {{ name: "{name}s" type: "DummyData" {tops} include {{ phase: TEST }}
  dummy_data_param {{ shape {{ dim: 1 dim: 1 dim: 1 dim: 1 }} {fillers} }} }}
layer {{ name: "{name}_row" type: "Concat" {bottoms} top: "{name}_row" include {{ phase: TEST }}
  concat_param {{ axis: 3 }} }}
layer {{ name: "{name}" type: "Reshape" bottom: "{name}_row" top: "{name}" include {{ phase: TEST }}
  reshape_param {{ shape {{ dim: 1 dim: 1 dim: {len(rows)} dim: {len(rows[0])} }} }} }}
"""


def detection_net(more: str = "") -> str:
    """A net with a learned layer and a DetectionEvaluate: class 1 has two boxes, class 2 has none.

    The detection of one box has the highest score, a false one follows, then that of the other box.
    """
    found = [[0, 1, 0.9, 0.1, 0.1, 0.4, 0.4], [0, 1, 0.8, 0, 0.7, 0.2, 0.9], [0, 1, 0.7, 0.5, 0.5, 0.9, 0.9]]
    labels = [[0, 1, 0, 0.1, 0.1, 0.4, 0.4, 0], [0, 1, 0, 0.5, 0.5, 0.9, 0.9, 0]]
    return f"""
layer {{ name: "data" type: "DummyData" top: "data" top: "goal"
  dummy_data_param {{ shape {{ dim: 2 dim: 3 }} data_filler {{ value: 1 }}
                      shape {{ dim: 2 dim: 1 }} data_filler {{}} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param {{ num_output: 1 }} }}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "goal" top: "loss" }}
{_constant("found", found)}{_constant("truth", labels)}
layer {{ name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "truth" top: "eval" include {{ phase: TEST }}
  detection_evaluate_param {{ num_classes: 3 {more} }} }}
"""
