"""What the kernels of each layer read and write: found without a GPU, and complete."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.engines.cuda.device.counting import CountingDevice
from dragon.engines.cuda.plan.lifetimes import shares_in_training
from dragon.engines.cuda.plan.plan import Plan
from dragon.engines.cuda.plan.touched import touched_by
from tests.engines.cuda.running import compare, copy_weights, fill, make
from tests.engines.cuda.test_catalogue import behind_the_gpu
from tests.engines.cuda.training import (
    arena,
    executor_of,
    share,
)
from tests.layers.catalogue import CASES

needs_gpu = pytest.mark.usefixtures("cuda")


@needs_gpu
@pytest.mark.parametrize("name", CASES)
def test_every_layer_beside_numpy_in_memory_that_holds_rubbish(name: str) -> None:
    """Whatever a layer does not write, and whatever it reads that is not said to live, would be NaN."""
    case = CASES[name]
    nets = [make(behind_the_gpu(case), engine, dtype=np.float64) for engine in ("numpy", "cuda")]
    copy_weights(*nets)
    share(nets[1], True)
    executor = executor_of(nets[1])
    for number in range(2):
        given = {key.replace("x", "h"): value for key, value in case.values(number).items()}
        for net in nets:
            fill(net, given)
            net.clear_param_diffs()
            random = np.random.default_rng(number)
            if number == 0:
                net.reshape()
                for output in net.outputs:
                    i = next(i for i in range(len(net.layers)) if output in net.top_names_of(i))
                    if not any(net.layers[i].loss_weights):
                        net.blobs[output].diff[...] = random.standard_normal(net.blobs[output].shape)
        with executor.gpu.active():
            executor.sharing.enter_training()
            for array in arena(nets[1]).values():
                array[...] = np.nan
        for net in nets:
            net.forward_backward()
        if not shares_in_training(executor.plan.groups):
            assert not arena(nets[1])
            return
    compare(nets[1], nets[0], "after", 1e-9)


@pytest.mark.parametrize("name", CASES)
def test_what_every_layer_touches_is_found_without_a_gpu(name: str) -> None:
    net = make(CASES[name].text(), "numpy")
    plan = Plan(net, CountingDevice(), True)
    before = [node.layer.rng.draws for node in net.nodes]
    group = plan.groups[-1]
    if group.on_host or group.runs_array_code:
        return
    found = touched_by(group, plan.types)
    tops = {top.data_storage for top in group.tops}
    assert group.lowering is not None
    shared = group.lowering.shares or bool(tops & {bottom.data_storage for bottom in group.bottoms})
    assert shared or tops <= found.forward
    assert [node.layer.rng.draws for node in net.nodes] == before
    assert net.context.space.view is None
