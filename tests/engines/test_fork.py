"""Nets in forked processes: what was built or run before the fork, what is built after it, and reading threads."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from dragon.data import encode_datum, write_lmdb
from dragon.engines.onednn.library import threads
from dragon.errors import EngineError

# What the scripts share: a net on two threads, and a child that is killed if it hangs.
PRELUDE = """
    import multiprocessing, os, signal, sys, threading, warnings
    import numpy as np
    import dragon
    from dragon.engines import Options
    from dragon.proto import dragon_pb2 as pb
    from dragon.proto.text import parse_text

    warnings.simplefilter("ignore")  # newer Pythons warn of any fork beside threads
    REST = '''
    layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
            convolution_param { num_output: 16 kernel_size: 3 weight_filler { type: "msra" } } }
    layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
    layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
            inner_product_param { num_output: 10 weight_filler { type: "msra" } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
    '''
    SOURCE = '''layer { name: "x" type: "Input" top: "x" top: "label"
                        input_param { shape { dim: [8, 3, 16, 16] } shape { dim: 8 } } }'''
    X, LABEL = np.random.default_rng(0).standard_normal((8, 3, 16, 16)), np.arange(8)

    def made(source=SOURCE):
        definition = parse_text(source + REST, pb.NetParameter())
        return dragon.Net(definition, phase=dragon.TRAIN, engine=ENGINE, seed=1, options=Options(threads=2))

    def result(net):
        if net.inputs:
            net.blobs["x"].data[...], net.blobs["label"].data[...] = X, LABEL
        net.clear_param_diffs()
        loss = net.forward_backward()
        return loss, net.params["conv"][0].diff.copy()

    def same(one, other):
        assert one[0] == other[0]
        np.testing.assert_array_equal(one[1], other[1])

    def forked(work):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            code = 1
            try:
                work()
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        return pid

    def ended(*pids):
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * len(pids)
"""

SCRIPTS = {
    "run before, built before": """
        net = made(); expected = result(net)
        ended(forked(lambda: same(result(net), expected)))
        same(result(net), expected)
    """,
    "run before, built after": """
        expected = result(made())
        ended(forked(lambda: same(result(made()), expected)))
    """,
    "built before, first run after": """
        expected = result(made()); net = made()
        ended(forked(lambda: same(result(net), expected)))
        same(result(net), expected)
    """,
    "nothing before": """
        pid = forked(lambda: result(made()))
        expected = result(made())
        ended(pid, forked(lambda: same(result(made()), expected)))
    """,
    "a child of a child": """
        net = made(); expected = result(net)
        def child():
            same(result(net), expected)
            ended(forked(lambda: same(result(net), expected)))
            same(result(net), expected)
        ended(forked(child))
    """,
    "a server that forks its workers first": """
        net = made(); expected = result(net)
        def serve():
            for _ in range(10):
                same(result(net), expected)
        workers = [forked(serve) for _ in range(3)]
        serve()
        workers.append(forked(serve))
        ended(*workers)
    """,
    "a fork by another thread": """
        net = made(); expected = result(net)
        def other():
            ended(forked(lambda: same(result(net), expected)))
        thread = threading.Thread(target=other)
        thread.start(); thread.join(30)
        same(result(net), expected)
    """,
    "while another thread runs a net": """
        net, own = made(), made(); expected = result(net)
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                result(own)
        thread = threading.Thread(target=busy)
        thread.start()
        ended(*[forked(lambda: same(result(net), expected)) for _ in range(5)])
        stop.set(); thread.join()
    """,
    "training in the child": """
        def solver():
            param = pb.SolverParameter(base_lr=0.01, lr_policy="fixed", momentum=0.9)
            param.net_param.CopyFrom(parse_text(SOURCE + REST, pb.NetParameter()))
            made = dragon.get_solver(param, engine=ENGINE, seed=1)
            made.net.blobs["x"].data[...] = X
            return made
        one = solver(); one.step(3)
        def child():
            two = solver(); two.step(3); one.step(2); two.step(2)
            np.testing.assert_array_equal(one.net.params["ip"][0].data, two.net.params["ip"][0].data)
        ended(forked(child))
    """,
    "a pool": """
        net = made(); expected = result(net)
        def job(i):
            same(result(net), expected)
            return i
        globals()["job"] = job
        signal.alarm(60)
        with multiprocessing.get_context("fork").Pool(3) as pool:
            assert pool.map(job, range(12)) == list(range(12))
        same(result(net), expected)
    """,
}


def run(script: str, engine: str, prelude: str = PRELUDE) -> None:
    code = f"ENGINE = {engine!r}\n" + textwrap.dedent(prelude) + textwrap.dedent(script) + "\nprint('done')\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=100
    )
    assert (done.stdout, done.stderr) == ("done\n", "")
    assert done.returncode == 0


@pytest.mark.parametrize("case", SCRIPTS)
def test_a_net_in_a_forked_child(case: str) -> None:
    run(SCRIPTS[case], "onednn")


@pytest.mark.parametrize("case", ["run before, built before", "a pool"])
def test_a_net_in_a_forked_child_on_numpy(case: str) -> None:
    run(SCRIPTS[case], "numpy")


DATA = {
    "the thread starts in the child": """
        expected = result(made(SOURCE)); net = made(SOURCE)
        ended(forked(lambda: same(result(net), expected)))
        same(result(net), expected)
    """,
    "a net of the child's own": """
        net = made(SOURCE); expected = result(net)
        ended(forked(lambda: same(result(made(SOURCE)), expected)))
        result(net)
    """,
    "the thread was left behind": """
        net = made(SOURCE); result(net)
        def child():
            try:
                result(net)
            except dragon.DataError as error:
                assert str(error).endswith("a data layer was carried across a fork: build the net in the child process")
            else:
                raise AssertionError("no error")
            net.close()
        ended(forked(child))
        result(net)
        net.close()
    """,
}


@pytest.mark.parametrize("case", DATA)
@pytest.mark.parametrize("shuffle", ["", "shuffle: true"])
def test_a_reading_layer_in_a_forked_child(case: str, shuffle: str, tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (20, 3, 16, 16), np.uint8)
    write_lmdb(tmp_path / "lmdb", ((b"%03d" % i, encode_datum(image, i % 10)) for i, image in enumerate(images)))
    source = (
        f'layer {{ name: "x" type: "Data" top: "x" top: "label" transform_param {{ scale: 0.01 }} '
        f'data_param {{ source: "{tmp_path}/lmdb" backend: LMDB batch_size: 8 {shuffle} }} }}'
    )
    run(DATA[case].replace("SOURCE", repr(source)), "onednn")


def test_workers_that_cannot_be_ended_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    threads.set_threads(1)
    monkeypatch.setattr(threads, "_owner", 1)  # as in a child of a process whose OpenMP cannot pause
    with pytest.raises(EngineError, match=r'get_context\("spawn"\)') as caught:
        threads.set_threads(2)
    assert "\n" not in str(caught.value)
