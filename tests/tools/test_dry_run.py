"""`dragon time --engine cuda --dry-run`: counts from the plan, on any machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from dragon.errors import UsageError
from dragon.tools.time import command

NET = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: 8 dim: 3 dim: 8 dim: 8 } shape { dim: 8 }
                           data_filler { type: "gaussian" } data_filler { type: "constant" } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
""".replace(
    'layer { name: "loss"', 'layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" '
    'inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }\nlayer { name: "loss"'
)  # fmt: skip


def test_launches_and_bytes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    done = CliRunner().invoke(command, ["--engine", "cuda", "--dry-run", "--model", str(path)], catch_exceptions=False)
    assert done.exit_code == 0
    rows = {line.split()[0]: line.split()[1:] for line in done.output.splitlines() if line.strip()}
    assert rows["conv"][0] == "kernels"
    assert int(rows["iteration"][0]) == sum(int(rows[name][1]) for name in ("conv", "ip", "loss", "update"))
    assert "floor on an H200" in done.output
    sizes = [8 * 3 * 8 * 8, 8, 8 * 4 * 6 * 6, 8 * 4, 1]
    bus = next(line for line in done.output.splitlines() if line.startswith("over the bus"))
    assert float(bus.split()[3]) == pytest.approx(4 * (sizes[0] + sizes[1]) / 1e6, abs=5e-4)
    memory = next(line for line in done.output.splitlines() if line.startswith("memory of blobs"))
    apart, shared = float(memory.split()[3]), float(memory.split(" needs ")[1].split()[0])
    assert apart == pytest.approx(sum(-(-4 * size // 256) * 256 for size in sizes) / 1e6, abs=5e-4)
    assert shared <= apart


def test_it_counts_with_the_options_of_the_run(tmp_path: Path) -> None:
    """With the channels last the gradient of a pointwise convolution's weight needs no copies of its operands."""
    path = tmp_path / "net.prototxt"
    more = (
        'layer { name: "more" type: "Convolution" bottom: "conv" top: "more" '
        'convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }\n'
    )
    text = NET.replace("kernel_size: 3", "kernel_size: 1")
    text = text.replace('bottom: "conv" top: "ip"', 'bottom: "more" top: "ip"')
    at = text.index('layer { name: "ip"')
    path.write_text(text[:at] + more + text[at:])

    def launches(*flags: str) -> int:
        args = ["--engine", "cuda", "--dry-run", "--model", str(path), *flags]
        done = CliRunner().invoke(command, args, catch_exceptions=False)
        return sum(int(line.split()[2]) for line in done.output.splitlines() if line.startswith(("conv ", "more ")))

    assert launches("--tf32") < launches() == launches("--tf32", "--no-channels-last")


def test_it_counts_for_the_cuda_engine_only(tmp_path: Path) -> None:
    for args, message in (
        (["--model", str(tmp_path), "--engine", "numpy"], "--dry-run counts what --engine cuda would do"),
        (["--solver", str(tmp_path)], "--dry-run counts for a net: give --model in place of --solver"),
        ([], "give either --model or --solver"),
    ):
        with pytest.raises(UsageError, match=message):
            CliRunner().invoke(command, ["--dry-run", *args], catch_exceptions=False)
