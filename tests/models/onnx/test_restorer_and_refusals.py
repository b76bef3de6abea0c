"""ONNX: parity with PyTorch, sizes and types from the file, what really runs is said, other graphs are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.models import ModelFileError, RestoreError, Restorer, inspect_model, load_gpen
from gpen_pack.models.onnx.graph import read_onnx_graph
from gpen_pack.models.restorers import providers as providers_module
from gpen_pack.tests.models.onnx.onnx_spellings import export

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper, numpy_helper, FLOAT, HALF = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def save(path: Path, nodes: list, inputs: list, outputs: list, initializers: list = ()) -> Path:
    """Write a graph; inputs and outputs are (name, type, shape)."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs], list(initializers),
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    return path


def halves(
    path: Path, *, kind: int = FLOAT, batch: int | str = 1, size: int = 16, weight: str = "generator.conv1.conv.weight",
    names: tuple[str, str] = ("face", "restored"),
) -> Path:  # fmt: skip
    """A graph of GPEN's shape that multiplies by a half."""
    dtype = np.float16 if kind == HALF else np.float32
    half = numpy_helper.from_array(np.array([0.5], dtype), weight)
    shape = [batch, 3, size, size]
    node = helper.make_node("Mul", [names[0], weight], [names[1]])
    return save(path, [node], [(names[0], kind, shape)], [(names[1], kind, shape)], [half])


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_an_exported_gpen_equals_the_torch_one(tmp_path: Path) -> None:
    config = GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2, channel_multiplier=1)
    net = GPEN(config).eval()
    torch.save(net.state_dict(), tmp_path / "tiny.pth")
    export(net, tmp_path / "tiny.onnx")
    restorer, reference = load_gpen(tmp_path / "tiny.onnx", onnxruntime=True), load_gpen(tmp_path / "tiny.pth")
    assert isinstance(restorer, Restorer)
    assert restorer.provider.startswith("onnxruntime")
    assert restorer.warnings == ()
    assert restorer.module is None
    crops = torch.rand(3, 90, 70, 3)  # more than its static batch of one, and another size
    result, expected = restorer.restore(crops), reference.restore(crops)
    assert expected.std() > 0.05
    assert torch.allclose(result, expected, atol=1e-5)
    with pytest.raises(ModelFileError, match="no ONNX file"):
        load_gpen(tmp_path / "tiny.pth", onnxruntime=True)


@pytest.mark.parametrize("batch", [1, 2, "batch"])
@pytest.mark.parametrize("kind", [FLOAT, HALF])
def test_names_types_and_batches_come_from_the_session(tmp_path: Path, kind: int, batch: int | str) -> None:
    restorer = load_gpen(halves(tmp_path / "x.onnx", kind=kind, batch=batch))
    assert (restorer.config.in_size, restorer.config.out_size) == (16, 16)
    assert restorer.dtype == (torch.float16 if kind == HALF else torch.float32)
    assert restorer.provider == "onnxruntime CPUExecutionProvider"
    assert restorer.device == torch.device("cpu")
    crops = torch.rand(5, 16, 16, 3)
    result = restorer.restore(crops)
    assert result.dtype == torch.float32
    assert torch.allclose(result, (crops * 2 - 1) * 0.5 * 0.5 + 0.5, atol=2e-3 if kind == HALF else 1e-6)
    assert restorer.restore(crops[:0]).shape == (0, 16, 16, 3)
    with torch.inference_mode():
        restorer.restore(crops[:1])


def test_wrong_crops_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="alpha"):
        load_gpen(halves(tmp_path / "x.onnx")).restore(torch.rand(1, 16, 16, 4))


def test_a_face_that_is_not_finite_is_never_returned(tmp_path: Path) -> None:
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "generator.input.input")
    shape = [1, 3, 16, 16]
    path = save(tmp_path / "nan.onnx", [helper.make_node("Div", ["input", "generator.input.input"], ["output"])],
                [("input", FLOAT, shape)], [("output", FLOAT, shape)], [zero])  # fmt: skip
    with pytest.raises(RestoreError, match="not finite"):
        load_gpen(path).restore(torch.rand(1, 16, 16, 3))


# ---------------------------------------------------------------- what really runs


def test_asked_for_cuda_and_got_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    path = halves(tmp_path / "x.onnx")
    both = ("onnxruntime 1.20.0", "onnxruntime-gpu 1.20.0")
    monkeypatch.setattr(providers_module, "installed_packages", lambda: both)
    restorer = load_gpen(path, device="cuda", onnxruntime=True)
    assert restorer.provider == "onnxruntime CPUExecutionProvider"
    assert restorer.device == torch.device("cpu")
    (warning,) = restorer.warnings
    assert "hides onnxruntime-gpu" in warning
    assert "pip uninstall" in warning
    monkeypatch.setattr(providers_module, "installed_packages", lambda: ("onnxruntime 1.20.0",))
    (warning,) = load_gpen(path, device="cuda", onnxruntime=True).warnings
    assert "pip install onnxruntime-gpu" in warning
    assert load_gpen(path, device="cpu", onnxruntime=True).warnings == ()


def test_a_provider_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider is compiled in, its libraries are not there: the session falls back and its own word counts."""
    import onnxruntime

    asked = []
    real = onnxruntime.InferenceSession

    def session(path: str, options: object, providers: list, **_: object) -> object:
        asked.append(providers)
        return real(path, options, providers=["CPUExecutionProvider"])

    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    restorer = load_gpen(halves(tmp_path / "x.onnx"), device="cuda:1", onnxruntime=True)
    (((name, options), behind),) = asked
    assert (name, options["device_id"], behind) == ("CUDAExecutionProvider", "1", "CPUExecutionProvider")
    assert restorer.provider == "onnxruntime CPUExecutionProvider"
    assert "did not start" in restorer.warnings[0]


def test_another_precision_is_said(tmp_path: Path) -> None:
    restorer = load_gpen(halves(tmp_path / "x.onnx"), dtype=torch.bfloat16, onnxruntime=True)
    assert restorer.dtype == torch.float32
    assert "not in bfloat16" in restorer.warnings[0]


def test_onnxruntime_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = halves(tmp_path / "x.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelFileError, match="pip install onnxruntime"):
        load_gpen(path)


# ---------------------------------------------------------------- other files


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        load_gpen(path)
    with pytest.raises(ModelFileError):
        inspect_model(path)
    text = str(caught.value)
    assert path.name in text
    assert "\n" not in text
    return text


def test_truncated_and_broken_graphs(tmp_path: Path) -> None:
    half = numpy_helper.from_array(np.ones([1, 3, 16, 16], np.float32), "generator.input.input")
    shape = [1, 3, 16, 16]
    path = save(tmp_path / "x.onnx", [helper.make_node("Mul", ["input", "generator.input.input"], ["output"])],
                [("input", FLOAT, shape)], [("output", FLOAT, shape)], [half])  # fmt: skip
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.95):
        path.write_bytes(whole[: int(len(whole) * share)])
        assert "truncated" in refusal(path)
    path.write_bytes(b"no onnx, but some bytes \xff\xfe\x00\x01")
    assert "not an ONNX file" in refusal(path)


def test_a_graph_that_onnxruntime_cannot_run(tmp_path: Path) -> None:
    shape = [1, 3, 16, 16]
    path = save(tmp_path / "x.onnx", [helper.make_node("NoSuchOperator", ["input"], ["output"])],
                [("input", FLOAT, shape)], [("output", FLOAT, shape)])  # fmt: skip
    with pytest.raises(ModelFileError, match=r"onnxruntime .* cannot run it"):
        load_gpen(path)


def identity(path: Path, inputs: list, outputs: list) -> Path:
    nodes = [helper.make_node("Identity", [inputs[0][0]], [name]) for name, _, _ in outputs]
    return save(path, nodes, inputs, outputs)


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ([("target", [1, 3, 128, 128]), ("source", [1, 512])], [("output", [1, 3, 128, 128])], "face swapper"),
        ([("x", [1, 3, 512, 512]), ("w", [])], [("y", [1, 3, 512, 512])], "CodeFormer"),
        ([("input.1", [1, 3, 640, 640])], [(f"o{i}", [12800, 1]) for i in range(9)], "detector"),
        ([("data", [1, 3, 112, 112])], [("fc1", [1, 512])], "face recognition"),
        ([("in", [1, 3, "h", "w"])], [("out", [1, 3, "h4", "w4"])], "upscaler"),
        ([("in", [1, 3, 512, 512])], [("out", [1, 19, 512, 512])], "another kind"),
        ([("in", [1, 1, 512, 512])], [("out", [1, 3, 512, 512])], "another kind"),
        ([("in", [1, 3, 512, 256])], [("out", [1, 3, 512, 256])], "another kind"),
        ([("in", [1, 3, 300, 300])], [("out", [1, 3, 300, 300])], "powers of two"),
        ([("in", [1, 3, 512, 512])], [("out", [1, 3, 256, 256])], "powers of two"),
    ],
)
def test_graphs_of_another_shape(tmp_path: Path, inputs: list, outputs: list, said: str) -> None:
    path = tmp_path / "GPEN-BFR-512.onnx"
    identity(path, [(name, FLOAT, shape) for name, shape in inputs], [(name, FLOAT, shape) for name, shape in outputs])
    text = refusal(path)
    assert said in text
    assert "give a GPEN file" in text


@pytest.mark.parametrize(
    ("weight", "said"),
    [("stylegan_decoder.style_mlp.1.weight", "GFPGAN"), ("stylegan_decoderdotto_rgb1.weight", "GFPGAN"),
     ("module.encoder.conv_in.weight|module.quantize.embedding.weight", "RestoreFormer")],
)  # fmt: skip
def test_graphs_of_gpens_shape_that_are_named_otherwise(tmp_path: Path, weight: str, said: str) -> None:
    path = tmp_path / "GPEN-BFR-16.onnx"
    names = weight.split("|")
    tensors = [numpy_helper.from_array(np.array([0.5], np.float32), name) for name in names]
    shape = [1, 3, 16, 16]
    save(path, [helper.make_node("Mul", ["input", names[0]], ["output"])],
         [("input", FLOAT, shape)], [("output", FLOAT, shape)], tensors)  # fmt: skip
    assert said in refusal(path)


def test_node_names_tell_a_network_too(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    shape = [1, 3, 16, 16]
    node = helper.make_node("Relu", ["input"], ["output"], name="/stylegan_decoder/style_conv1/Relu")
    save(path, [node], [("input", FLOAT, shape)], [("output", FLOAT, shape)])
    assert "GFPGAN" in refusal(path)


def test_an_unnamed_graph_is_taken_with_a_warning(tmp_path: Path) -> None:
    restorer = load_gpen(halves(tmp_path / "x.onnx", weight="onnx::Conv_123"))
    assert "graph is not understood" in restorer.warnings[0]
    assert "nothing in the graph tells" in restorer.warnings[1]


def test_the_size_comes_from_the_graph_not_from_the_name(tmp_path: Path) -> None:
    path = halves(tmp_path / "GPEN-BFR-2048.onnx")
    restorer = load_gpen(path)
    assert restorer.config.out_size == 16
    assert "name says 2048" in restorer.warnings[0]
    assert str(inspect_model(path)) == "GPEN 16 px, float32 (onnx)"


def test_the_graph_reader_agrees_with_the_onnx_package(shared: Path) -> None:
    for path in sorted((shared / "detectors").glob("*.onnx")):
        graph, model = read_onnx_graph(path), onnx.load(path).graph
        weights = {tensor.name for tensor in model.initializer}
        assert set(graph.initializers) == weights
        assert [value.name for value in graph.inputs] == [i.name for i in model.input if i.name not in weights]
        assert [value.name for value in graph.outputs] == [o.name for o in model.output]
        assert [node.name for node in graph.nodes] == [node.name for node in model.node]
        expected = [d.dim_value if d.HasField("dim_value") else None for d in model.input[0].type.tensor_type.shape.dim]
        assert list(graph.inputs[0].shape) == expected
        assert "another kind" in refusal(path)
