"""ONNX files that are damaged, or that ask for all memory or time: one kind of error, soon, in little memory."""

from __future__ import annotations

import itertools
import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.models import ModelFileError, inspect_model, load_gpen
from gpen_pack.models.onnx.graph import read_onnx_graph
from gpen_pack.models.onnx.weights import recover_gpen
from gpen_pack.tests.models.onnx.onnx_spellings import draw, export

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own
make_node, from_array, FLOAT = onnx.helper.make_node, onnx.numpy_helper.from_array, onnx.TensorProto.FLOAT
BIG, MANY = 1 << 31, 1 << 26


def save(path: Path, nodes: list, constants: dict[str, list | np.ndarray] | None = None) -> Path:
    """A graph from x to y, both [1,3,64,64]; whole numbers are int64."""
    tensors = [
        from_array(np.array(v, np.float32 if np.array(v).dtype.kind == "f" else None), k)
        for k, v in (constants or {}).items()
    ]
    x, y = (onnx.helper.make_tensor_value_info(name, FLOAT, [1, 3, 64, 64]) for name in "xy")
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], tensors)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def summed(name: str) -> list:
    return [make_node("ReduceSum", [name], ["s"], keepdims=0), make_node("Add", ["x", "s"], ["y"])]


def doubled(op: str, count: int, first: str, **options: int) -> list:
    names = [first, *(f"v{i}" for i in range(1, count)), "last"]
    return [make_node(op, [a, a], [b], **options) for a, b in itertools.pairwise(names)]


def loop() -> list:
    kinds = {"i": onnx.TensorProto.INT64, "c": onnx.TensorProto.BOOL, "d": onnx.TensorProto.BOOL}
    i, c, d = (onnx.helper.make_tensor_value_info(name, kind, []) for name, kind in kinds.items())
    v, w = (onnx.helper.make_tensor_value_info(name, FLOAT, [1, 3, 64, 64]) for name in "vw")
    nodes = [make_node("Identity", ["c"], ["d"]), make_node("Add", ["v", "v"], ["w"])]
    return [make_node("Loop", ["", "true", "x"], ["y"], body=onnx.helper.make_graph(nodes, "b", [i, c, v], [d, w]))]


HOSTILE: dict[str, tuple[list, dict, str]] = {
    "expand": ([make_node("Expand", ["one", "n"], ["c"]), *summed("c")], {"one": [1.0], "n": [BIG]}, "Expand c"),
    "concat": (
        [make_node("Expand", ["one", "n"], ["e"]), make_node("Concat", ["e"] * 40, ["c"], axis=0), *summed("c")],
        {"one": [1.0], "n": [1 << 21]}, "Concat c",
    ),
    "gather": (
        [make_node("Expand", ["zero", "n"], ["i"]), make_node("Gather", ["one", "i"], ["c"]), *summed("c")],
        {"one": [1.0], "zero": [0], "n": [MANY]}, "Expand i",
    ),
    "tile": ([make_node("Tile", ["one", "n"], ["c"]), *summed("c")], {"one": [1.0], "n": [BIG]}, "Tile c"),
    "range": ([make_node("Range", ["a", "b", "d"], ["c"]), *summed("c")], {"a": 0, "b": 1 << 60, "d": 1}, "Range c"),
    "matmul": (
        [make_node("ConstantOfShape", ["ab"], ["a"]), make_node("ConstantOfShape", ["ba"], ["b"]),
         make_node("MatMul", ["a", "b"], ["c"]), *summed("c")],
        {"ab": [60_000, 1], "ba": [1, 60_000]}, "MatMul c",
    ),
    "broadcast": (
        [make_node("Add", ["a", "b"], ["c"]), *summed("c")],
        {"a": np.ones((5000, 1)), "b": np.ones((1, 5000))}, "Add c",
    ),
    "doubling": ([*doubled("Concat", 36, "one", axis=0), *summed("last")], {"one": [1.0]}, "Concat v"),
    "slow": (
        [make_node("Expand", ["one", "n"], ["e"]), *[make_node("ReduceSum", ["e"], [f"r{i}"]) for i in range(2000)],
         make_node("Concat", [f"r{i}" for i in range(2000)], ["c"], axis=0), *summed("c")],
        {"one": [1.0], "n": [7_000_000]}, "more than any GPEN",
    ),
    "terms": (
        [*doubled("Concat", 40, "x", axis=1), make_node("Slice", ["last", "zero", "three", "one"], ["y"])],
        {"zero": [0], "one": [1], "three": [3]}, "Concat v",
    ),
    "chain": ([*doubled("Add", 20_000, "x"), make_node("Identity", ["last"], ["y"])], {}, "larger than that of any"),
    "unknown": ([make_node("NonZero", ["one"], ["c"]), *summed("c")], {"one": [1.0]}, "unknown size"),
    "loop": (loop(), {"true": True}, "control flow"),
    "range 0": ([make_node("Range", ["a", "b", "a"], ["c"]), *summed("c")], {"a": 0.0, "b": 1.0}, "damaged: Range"),
    "negative": (
        [make_node("ConstantOfShape", ["n"], ["c"]), *summed("c")], {"n": [-5]}, "damaged: ConstantOfShape",
    ),
    "circle": ([make_node("Add", ["x", "b"], ["a"]), make_node("Neg", ["a"], ["b"]), *summed("b")], {}, "from itself"),
    "nothing": ([make_node("Add", ["x", "lost"], ["y"])], {}, "'lost', which nothing gives"),
}  # fmt: skip


def refusal(call: Callable, path: Path, *, most_seconds: float = 1, most_bytes: int = 100 << 20) -> str:
    """The sentence of the ModelFileError, which must come soon and in little memory."""
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(ModelFileError) as caught:
            call(path)
        seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seconds < most_seconds * 4, "four times, for the measurement of memory slows it down"
    assert peak < most_bytes
    text = str(caught.value)
    assert path.name in text and "\n" not in text and len(text) < 500
    return text


@pytest.fixture(scope="module", autouse=True)
def evaluator_is_loaded() -> None:
    """What the package imports at its first use is not part of any measurement."""
    from onnx.reference import ops

    ops.load_op("", "Add", 17)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_of_a_few_bytes_does_not_take_all(tmp_path: Path, kind: str) -> None:
    nodes, constants, said = HOSTILE[kind]
    path = save(tmp_path / "x.onnx", nodes, constants)
    for call in (inspect_model, load_gpen):
        assert said in refusal(call, path)


@pytest.mark.parametrize("behind", ["Expand", "Loop"])
def test_what_lies_behind_an_unknown_node_is_bounded_too(tmp_path: Path, behind: str) -> None:
    """ONNX Runtime would fold it when the session is made."""
    bomb = [make_node("Expand", ["one", "n"], ["c"]), *summed("c")] if behind == "Expand" else loop()
    nodes = [make_node("Sin", ["x"], ["z"]), *bomb, make_node("Add", ["z", "y"], ["end"])]
    path = save(tmp_path / "x.onnx", nodes, {"one": [1.0], "n": [BIG], "true": True})
    model = onnx.load(path)
    model.graph.output[0].name = "end"
    onnx.save(model, path)
    assert "Expand c" in (text := refusal(load_gpen, path)) or "control flow" in text


def test_shapes_that_do_not_fit_their_values(tmp_path: Path) -> None:
    for dims in ([-1], [1 << 32, 1 << 32], [2], [0], [1 << 62] * 4):
        for op in ("initializer", "Constant"):
            tensor = onnx.TensorProto(name="w", data_type=FLOAT, dims=dims, raw_data=bytes(4))
            made = [make_node("Constant", [], ["w"], value=tensor)] if op == "Constant" else []
            path = save(tmp_path / "x.onnx", [*made, make_node("Add", ["x", "w"], ["y"])])
            if not made:
                model = onnx.load(path)
                model.graph.initializer.append(tensor)
                path.write_bytes(model.SerializeToString())
            assert "does not fit its values" in refusal(inspect_model, path)


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    """Whatever the other file is called; what the newer exporter writes by itself, too, with the way out."""
    for location in ("x.data", "../x.data", "/etc/passwd", ""):
        tensor = onnx.TensorProto(name="w", data_type=FLOAT, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=location)
        path = save(tmp_path / "x.onnx", [make_node("Constant", [], ["w"], value=tensor), *summed("w")])
        (tmp_path / "x.data").write_bytes(bytes(4))
        for call in (inspect_model, load_gpen):
            assert "external_data=False" in refusal(call, path)


def test_functions_and_sparse_weights_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.onnx", [make_node("Identity", ["x"], ["y"])])
    model = onnx.load(path)
    opsets = [onnx.helper.make_opsetid("", 17)]
    function = onnx.helper.make_function("own", "f", ["a"], ["b"], [make_node("Neg", ["a"], ["b"])], opsets)
    model.functions.append(function)
    path.write_bytes(model.SerializeToString())
    assert "inline" in refusal(inspect_model, path)
    del model.functions[:]
    values, indices = from_array(np.ones(1, np.float32), "w"), from_array(np.zeros(1, np.int64), "i")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [4]))
    path.write_bytes(model.SerializeToString())
    assert "sparse" in refusal(inspect_model, path)


def test_a_file_beyond_protobufs_limit(tmp_path: Path) -> None:
    path = save(tmp_path / "x.onnx", [make_node("Identity", ["x"], ["y"])])
    doc_string = b"\x32" + b"\x80\x80\x80\x80\x0c"  # field 6, of 3 GB
    size = path.stat().st_size + len(doc_string) + (3 << 30)
    with path.open("ab") as stream:
        stream.write(doc_string)
        stream.truncate(size)  # sparse: no such bytes on the disk
    assert "2 GB" in refusal(inspect_model, path)


def test_cancelling_is_asked_per_node(tmp_path: Path) -> None:
    net = draw(GPEN(GPENConfig.standard(16, narrow=1 / 32, style_dim=32, mapping_layers=2)))
    path = export(net, tmp_path / "x.onnx")
    asked = 0

    class CancelledError(Exception):
        pass

    def cancel() -> None:
        nonlocal asked
        asked += 1
        if asked == 100:
            raise CancelledError

    with pytest.raises(CancelledError):
        recover_gpen(path, read_onnx_graph(path), cancel)


def mutations(whole: bytes, seed: int, count: int) -> list[bytes]:
    """Flipped, overwritten, removed and doubled bytes, mostly outside of the weights."""
    rng, found = random.Random(seed), []
    for _ in range(count):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(len(data))
            kind = rng.randrange(5)
            if kind == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                data[at : at + 4] = rng.randbytes(4)
            elif kind == 2:
                del data[at : at + rng.randrange(1, 40)]
            elif kind == 3:
                data[at:at] = data[at : at + rng.randrange(1, 200)]
            else:
                data[at : at + 8] = rng.choice((b"\xff" * 8, b"\0" * 8, b"\x80" * 7 + b"\x01"))
        found.append(bytes(data))
    return found


def test_mutated_graphs_raise_one_kind_of_error(tmp_path: Path) -> None:
    net = draw(GPEN(GPENConfig.standard(8, narrow=1 / 64, style_dim=8, mapping_layers=1)))
    path = tmp_path / "x.onnx"
    whole = export(net, path, "ours").read_bytes()
    refused = 0
    for i, data in enumerate(mutations(whole, seed=9, count=500)):
        path.write_bytes(data)
        start = time.process_time()
        try:
            inspect_model(path)
        except ModelFileError as error:
            refused += 1
            assert "\n" not in str(error), i
        assert time.process_time() - start < 1, i
    assert 100 < refused < 500


def test_the_files_that_failed(shared: Path) -> None:
    paths = sorted((shared / "cases" / "models").glob("*.onnx"))
    assert paths
    for path in paths:
        for call in (inspect_model, load_gpen):
            refusal(call, path)
