"""A GPEN's weights from the graph of an ONNX file: every spelling, no names needed, and never a wrong understanding."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig, gpen
from gpen_pack.models import ModelFileError, inspect_model, load_gpen
from gpen_pack.models.errors import GraphNotUnderstoodError
from gpen_pack.models.loading import read_gpen
from gpen_pack.models.onnx.graph import read_onnx_graph
from gpen_pack.models.onnx.weights import recover_gpen
from gpen_pack.tests.models.onnx.onnx_spellings import SPELLINGS, draw, equal_up_to, export

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own


def tiny(size: int = 16, **options: Any) -> GPEN:
    settings = {"narrow": 1 / 32, "style_dim": 32, "mapping_layers": 2} | options
    return draw(GPEN(GPENConfig.standard(size, **settings)))


def recovered(path: Path) -> GPEN:
    weights, config = recover_gpen(path, read_onnx_graph(path))
    net = GPEN(config).eval()
    net.load_state_dict(dict(weights))
    return net


def compare(path: Path, net: GPEN, most: float = 1e-5) -> None:
    """The weights one by one, and what they compute."""
    own = recovered(path)
    assert own.config == net.config
    for key, value in net.state_dict().items():
        assert equal_up_to(own.state_dict()[key], value) < most, key
    x = torch.rand(2, 3, net.config.in_size, net.config.in_size) * 2 - 1
    assert equal_up_to(own(x), net(x)) < most


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("opset", [10, 17])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_gives_the_same_weights(tmp_path: Path, spelling: str, opset: int, folded: bool) -> None:
    if spelling == "authors, traced" and opset != 10:
        pytest.skip("the exporter of newer opsets loses the shapes")
    net = tiny(32)
    compare(export(net, tmp_path / "x.onnx", spelling, opset_version=opset, do_constant_folding=folded), net)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_newer_exporter(tmp_path: Path, spelling: str) -> None:
    pytest.importorskip("onnxscript")
    net = tiny()
    options: dict[str, Any] = {"dynamo": True, "opset_version": 18}
    for optimize in (True, False):
        compare(export(net, tmp_path / "x.onnx", spelling, optimize=optimize, external_data=False, **options), net)
    path = export(net, tmp_path / "y.onnx", spelling, **options)  # weights in a file beside the graph
    assert (tmp_path / "y.onnx.data").exists()
    with pytest.raises(ModelFileError, match="external_data=False"):
        recovered(path)


@pytest.mark.parametrize(
    "options",
    [{"concat": False}, {"mapping_layers": 0}, {"mapping_layers": 5}, {"size": 64, "channel_multiplier": 1},
     {"narrow": 3 / 64, "style_dim": 24}],
)  # fmt: skip
def test_other_networks_of_the_family(tmp_path: Path, options: dict[str, Any]) -> None:
    net = tiny(**options)
    compare(export(net, tmp_path / "x.onnx"), net)


def test_an_open_batch(tmp_path: Path) -> None:
    net = tiny()
    compare(export(net, tmp_path / "x.onnx", dynamic_axes={"input": {0: "n"}, "output": {0: "n"}}), net)


def test_noise_above_the_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SR variant: noise drawn by the graph is ours, as with a .pth; noise built in must be ours."""
    net = tiny(16, out_size=32)
    known = {(16, 32): gpen.level_noise(16, 32)}
    with monkeypatch.context() as patched:
        patched.setattr(gpen, "level_noise", lambda c, s: known[c, s])
        export(net, tmp_path / "ours.onnx")
        patched.setattr(gpen, "level_noise", lambda c, s: torch.randn(1, c, s, s))
        export(net, tmp_path / "drawn.onnx")
        patched.setattr(gpen, "level_noise", lambda c, s: known[c, s].flip(-1))
        export(net, tmp_path / "other.onnx")
    compare(tmp_path / "ours.onnx", net)
    compare(tmp_path / "drawn.onnx", net)
    with pytest.raises(GraphNotUnderstoodError, match="noise of its own"):
        recovered(tmp_path / "other.onnx")
    restorer = load_gpen(tmp_path / "ours.onnx")
    assert (restorer.config.in_size, restorer.config.out_size) == (16, 32)


def anonymous(path: Path) -> Path:
    """Other names, initialisers in another order, some as Constant nodes and some as typed fields."""
    model = onnx.load(path)
    graph, names = model.graph, {}
    rng = random.Random(0)

    def rename(name: str) -> str:
        return names.setdefault(name, f"v{len(names) * 7919 % 10007}") if name else ""

    weights = list(graph.initializer)
    rng.shuffle(weights)
    del graph.initializer[:]
    nodes = list(graph.node)
    for i, tensor in enumerate(weights):
        if i % 3 == 0 and tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor)
            tensor = onnx.helper.make_tensor(tensor.name, tensor.data_type, values.shape, values.ravel().tolist())
        if i % 2 == 0:
            nodes.insert(0, onnx.helper.make_node("Constant", [], [tensor.name], value=tensor))
        else:
            graph.initializer.append(tensor)
    rng.shuffle(nodes)  # against the standard, yet some tools write it and ONNX Runtime runs it
    del graph.node[:]
    graph.node.extend(nodes)
    for i, node in enumerate(graph.node):
        node.name = f"n{i}"
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
    for value in (*graph.initializer, *graph.input, *graph.output):
        value.name = rename(value.name)
    del graph.value_info[:]
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("spelling", ["authors", "ours"])
def test_names_and_order_say_nothing(tmp_path: Path, spelling: str) -> None:
    net = tiny()
    path = anonymous(export(net, tmp_path / "x.onnx", spelling))
    compare(path, net)
    assert load_gpen(path).warnings == ()


def test_halves(tmp_path: Path) -> None:
    net = tiny()
    half = GPEN(net.config).eval().requires_grad_(False)
    half.load_state_dict(net.state_dict())
    path = export(half.half(), tmp_path / "x.onnx")
    compare(path, half.float(), most=3e-3)  # an export multiplies learning rates in, and rounds
    assert "float16" in str(inspect_model(path))
    crops = torch.rand(1, 16, 16, 3)
    expected = load_gpen(path, onnxruntime=True).restore(crops)
    assert (load_gpen(path).restore(crops) - expected).abs().max() < 0.02


@pytest.mark.parametrize("keep_io_types", [True, False])
@pytest.mark.parametrize("spelling", ["authors", "tensorrt", "ours"])
def test_the_graph_that_a_float16_converter_leaves(tmp_path: Path, spelling: str, keep_io_types: bool) -> None:
    """Casts at both ends and around what it leaves in float32; constants clipped to what float16 can hold."""
    converter = pytest.importorskip("onnxruntime.transformers.float16")
    net = tiny()
    model = onnx.load(export(net, tmp_path / "x.onnx", spelling))
    onnx.save(converter.convert_float_to_float16(model, keep_io_types=keep_io_types), tmp_path / "half.onnx")
    path = tmp_path / "half.onnx"
    assert any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in onnx.load(path).graph.initializer)
    compare(path, net, most=3e-3)
    assert load_gpen(path).warnings == ()


def test_the_graph_that_another_optimiser_leaves(tmp_path: Path) -> None:
    net = tiny()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(str(export(net, tmp_path / "x.onnx")), options, providers=["CPUExecutionProvider"])
    compare(tmp_path / "optimised.onnx", net)
    # beyond the basic level convolutions and their activations become operators of its own
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    ort.InferenceSession(str(tmp_path / "x.onnx"), options, providers=["CPUExecutionProvider"])
    restorer = load_gpen(tmp_path / "fused.onnx")
    assert restorer.provider == "onnxruntime CPUExecutionProvider"
    assert "com.microsoft" in restorer.warnings[0]
    crops = torch.rand(1, 16, 16, 3)
    assert (restorer.restore(crops) - load_gpen(tmp_path / "x.onnx").restore(crops)).abs().max() < 1e-4


@pytest.mark.parametrize("spelling", ["authors", "tensorrt", "ours"])
def test_the_graph_that_a_version_converter_leaves(tmp_path: Path, spelling: str) -> None:
    net = tiny()
    model = onnx.load(export(net, tmp_path / "x.onnx", spelling))
    onnx.save(onnx.version_converter.convert_version(model, 18), tmp_path / "newer.onnx")
    compare(tmp_path / "newer.onnx", net)


def test_the_published_channels_run_in_the_engine(tmp_path: Path) -> None:
    """256 px with the table, the width of styles and the depth of GPEN-BFR-256, narrower."""
    net = draw(GPEN(GPENConfig.standard(256, channel_multiplier=1, narrow=0.125)))
    path = export(net, tmp_path / "GPEN-BFR-256.onnx")
    torch.save(net.state_dict(), tmp_path / "plain.pth")
    restorer, plain = load_gpen(path), load_gpen(tmp_path / "plain.pth")
    assert restorer.module is not None and restorer.provider == "torch cpu" and restorer.warnings == ()
    crops = torch.rand(2, 256, 256, 3)
    expected = plain.restore(crops)
    assert equal_up_to(restorer.restore(crops), expected) < 1e-5
    assert equal_up_to(load_gpen(path, onnxruntime=True).restore(crops), expected) < 1e-5
    assert load_gpen(path, dtype=torch.bfloat16).dtype == torch.bfloat16
    info = inspect_model(path)
    assert info.parameters == sum(p.numel() for p in net.parameters())
    assert info.format == "onnx"


def test_unfolded_weights_are_views_of_the_file(tmp_path: Path) -> None:
    path = export(tiny(), tmp_path / "x.onnx", do_constant_folding=False)
    graph = read_onnx_graph(path)
    arrays = [graph.array(tensor, name) for name, tensor in graph.initializers.items()]
    assert max(array.size for array in arrays if array is not None) > 1000
    assert all(array is not None and array.base is not None for array in arrays if array is None or array.size > 64)
    assert not any(len(tensor.raw_data) > 256 for tensor in graph.initializers.values()), "and are not parsed"
    weights, _ = read_gpen(path)
    same = weights["generator.conv1.conv.weight"].data_ptr() == weights["generator.conv1.conv.weight"].data_ptr()
    assert same, "asked for twice, it is the same memory"


def node_of(model: Any, op: str, index: int = 0) -> Any:
    return [node for node in model.graph.node if node.op_type == op][index]


def clip_at_the_end(model: Any) -> None:
    last = next(node for node in model.graph.node if "output" in node.output)
    last.output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Relu", ["before"], ["output"], name="the end"))


def other_slope(model: Any) -> None:
    node_of(model, "LeakyRelu", 3).attribute[0].f = 0.1


def other_padding(model: Any) -> None:
    conv = next(n for n in model.graph.node if n.op_type == "Conv" for a in n.attribute
                if a.name == "pads" and list(a.ints) == [1, 1, 1, 1])  # fmt: skip
    conv.domain = "com.example"


def unknown_setting(model: Any) -> None:
    node_of(model, "Conv").attribute.append(onnx.helper.make_attribute("winograd", 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [(clip_at_the_end, "the end"), (other_slope, "leaky ReLU"), (other_padding, "com.example"),
     (unknown_setting, "winograd")],
)  # fmt: skip
def test_what_is_not_understood_runs_in_onnx_runtime(tmp_path: Path, change: Callable, said: str) -> None:
    path = export(tiny(), tmp_path / "x.onnx")
    model = onnx.load(path)
    change(model)
    dims = model.graph.output[0].type.tensor_type.shape
    dims.CopyFrom(model.graph.input[0].type.tensor_type.shape)  # the exporter leaves some of them open
    onnx.save(model, path)
    with pytest.raises(GraphNotUnderstoodError, match=said):
        recovered(path)
    if said in ("com.example", "winograd"):  # not even ONNX Runtime knows these
        with pytest.raises(ModelFileError, match="cannot run it"):
            load_gpen(path)
        return
    restorer = load_gpen(path)
    assert restorer.provider == "onnxruntime CPUExecutionProvider"
    assert "its graph is not understood" in restorer.warnings[0] and said in restorer.warnings[0]
    assert inspect_model(path).parameters is None
    assert said in inspect_model(path).warnings[0]


@pytest.mark.parametrize("spelling", ["authors", "tensorrt", "ours"])
def test_a_changed_graph_is_refused_or_still_right(tmp_path: Path, spelling: str) -> None:
    """Whatever is changed in a graph: if it is understood, it computes what ONNX Runtime computes."""
    path = export(tiny(), tmp_path / "x.onnx", spelling)
    rng, x, understood = random.Random(torch.initial_seed()), np.random.default_rng(0), 0
    picture = x.uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    whole = path.read_bytes()
    for _ in range(25):
        model = onnx.ModelProto.FromString(whole)
        weights = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
        floats = [a.t for n in model.graph.node for a in n.attribute if a.t.data_type == onnx.TensorProto.FLOAT]
        tensor = rng.choice(weights if rng.random() < 0.4 or not floats else floats)
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.flat[rng.randrange(values.size)] += rng.choice([0.01, 1.0, -3.0])
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        if rng.random() < 0.2:
            node = rng.choice([n for n in model.graph.node if len(n.input) > 1])
            node.input[0], node.input[1] = node.input[1], node.input[0]
        path.write_bytes(model.SerializeToString())
        try:
            net = recovered(path)
        except (GraphNotUnderstoodError, ModelFileError):  # not GPEN's, or a graph that nobody could run
            continue
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        (expected,) = session.run(None, {"input": picture})
        assert equal_up_to(net(torch.from_numpy(picture)), torch.from_numpy(expected)) < 1e-4
        understood += 1
    assert understood > 4


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    net = tiny()
    net.generator.convs[0].conv.weight.data[0, 0, 0] = float("nan")
    with pytest.raises(ModelFileError, match=r"generator\.convs\.0\.conv\.weight .* NaN"):
        load_gpen(export(net, tmp_path / "x.onnx"))


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    path = export(tiny(), tmp_path / "x.onnx")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match="truncated"):
        load_gpen(path)
