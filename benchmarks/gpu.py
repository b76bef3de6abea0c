"""Everything about the GPU in one run of under eight minutes: ``python benchmarks/gpu.py --json gpu.json``.

Builds the published 2048 px shape with random weights, checks the engine against the reference on the same device,
then times and weighs. Needs no download and no weights; rows that cannot be measured say why. ``--device cpu --size
64 --narrow 0.1`` walks through the same code on a machine without a GPU, to see that it runs; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from engine_worker import export_onnx, pack, picture, random_network

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# 2-norm, relative to the reference in fp32 without TF32, on random weights
TOLERANCE = {"fp32": 1e-4, "bf16": 3e-2, "fp16": 5e-3}


class Bench:
    """Rows, the clock, and where they are measured."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device = torch.device(options.device)
        self.size: int = options.size
        self.narrow: float = options.narrow
        self.deadline = time.monotonic() + options.seconds
        self.json_path: Path | None = options.json
        self.rows: list[dict[str, Any]] = []
        self.failures: list[str] = []

    def time(self, name: str, call: Callable[[], Any], *, faces: int = 1, repeats: int = 20) -> float | None:
        """Median seconds of ``call``, warmed up and synchronised, and the peak of GPU memory over it."""
        if time.monotonic() > self.deadline:
            self.row(name, note="not measured: the time was up")
            return None
        try:
            for _ in range(3):
                call()
            self._synchronise()
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.device)
            seconds = []
            for _ in range(repeats):
                start = time.perf_counter()
                call()
                self._synchronise()
                seconds.append(time.perf_counter() - start)
        except torch.OutOfMemoryError as error:
            self.row(name, note=f"not measured: {error}".splitlines()[0])
            return None
        median = statistics.median(seconds)
        row: dict[str, Any] = {"median_ms": median * 1e3, "least_ms": min(seconds) * 1e3, "most_ms": max(seconds) * 1e3}
        row["faces_per_s"] = faces / median
        if self.device.type == "cuda":
            row["allocated_gb"] = torch.cuda.max_memory_allocated(self.device) / 1e9
            row["reserved_gb"] = torch.cuda.memory_reserved(self.device) / 1e9
        self.row(name, **row)
        return median

    def check(self, name: str, result: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
        """Relative error of ``result``; beyond ``tolerance`` the run fails in the end."""
        error = float((result.double() - expected.double()).norm() / expected.double().norm())
        if not error <= tolerance:  # NaN too
            self.failures.append(f"{name}: relative error {error:.1e}, tolerance {tolerance:.0e}")
        self.row(name, relative_error=error, tolerance=tolerance)

    def row(self, name: str, **values: Any) -> None:
        """Keep and show a row; what is written survives a crash of a later one."""
        self.rows.append({"what": name, **values})
        shown = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
        print(f"{name}: {shown}", flush=True)
        if self.json_path:
            found: dict[str, Any] = {"size": self.size, "narrow": self.narrow, "device": self.device_name()}
            found |= {"versions": versions(), "rows": self.rows}
            self.json_path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    def device_name(self) -> str:
        """As the driver calls it."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type

    def network(self) -> Any:
        """The reference with random weights, the same at every call."""
        config = pack("gpen_arch").GPENConfig.standard(self.size, narrow=self.narrow)
        return random_network(self.size, config)

    def free(self) -> None:
        """Give the cache back, so that the next contender's memory is its own."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """Full float32 products, so that the tolerance is the engine's and not the hardware's short cut."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def check_engine(bench: Bench) -> None:
    """Engine against reference: odd small shapes in every precision, then the large one."""
    arch, fast = pack("gpen_arch"), pack("gpen_arch.fast")
    small = {
        "concatenated": arch.GPENConfig.standard(64, narrow=1 / 16, style_dim=32, mapping_layers=2),
        "added": arch.GPENConfig.standard(64, narrow=1 / 16, style_dim=32, mapping_layers=2, concat=False),
        "SR": arch.GPENConfig.standard(32, out_size=128, narrow=1 / 16, style_dim=32, mapping_layers=2),
    }
    with without_tf32():
        for name, config in small.items():
            net = random_network(0, config)
            x = picture(config.in_size, 3)
            expected = net(x)  # on the CPU
            for precision, dtype in DTYPES.items():
                engine = fast.build_engine(net.state_dict(), dtype=dtype).to(bench.device)
                result = engine(x.to(bench.device)).cpu()
                bench.check(f"{name} {precision} against the CPU's reference", result, expected, TOLERANCE[precision])
                single = torch.cat([engine(x[i : i + 1].to(bench.device)) for i in range(3)]).cpu()
                bench.check(f"{name} {precision} batch against singles", result, single, TOLERANCE[precision])
        net = bench.network()
        state = net.state_dict()
        x = picture(bench.size).to(bench.device)
        net.to(bench.device)
        expected = net(x)
        net.cpu()
        for precision, dtype in DTYPES.items():
            engine = fast.build_engine(state, dtype=dtype).to(bench.device)
            bench.check(f"{bench.size} px {precision}", engine(x), expected, TOLERANCE[precision])
            graphs = fast.CudaGraphs(engine)
            result = graphs(x)
            if graphs.declined:
                bench.row(f"{bench.size} px {precision} as a CUDA graph", note=f"not measured: {graphs.declined}")
            else:
                bench.check(f"{bench.size} px {precision} as a CUDA graph", result, expected, TOLERANCE[precision])
            del engine, graphs
            bench.free()


def time_reference(bench: Bench, x: torch.Tensor) -> None:
    """The readable network as it is."""
    net = bench.network().to(bench.device)
    bench.time("reference fp32", lambda: net(x), repeats=10)
    with without_tf32():
        bench.time("reference fp32 without TF32", lambda: net(x), repeats=10)


def time_engine(bench: Bench) -> None:
    """Reference and engine, plain and as a graph, one face and eight; the two bodies of the resampling."""
    fast, kernels = pack("gpen_arch.fast"), pack("gpen_arch.fast.kernels")
    state = {key: value.clone() for key, value in bench.network().state_dict().items()}
    x, eight = picture(bench.size).to(bench.device), picture(bench.size, 8).to(bench.device)
    time_reference(bench, x)
    bench.free()
    for precision, dtype in DTYPES.items():
        engine = fast.build_engine(state, dtype=dtype).to(bench.device)
        bench.time(f"fast {precision}", lambda engine=engine: engine(x))
        original = kernels.merges_blurs
        try:
            merged = original(bench.device)
            kernels.merges_blurs = lambda device, merged=merged: not merged
            how = "separate" if merged else "merged"
            bench.time(f"fast {precision}, blurs {how} (the other way)", lambda engine=engine: engine(x), repeats=5)
        finally:
            kernels.merges_blurs = original
        bench.time(f"fast {precision}, batch of 8", lambda engine=engine: engine(eight), faces=8, repeats=5)
        graphs = fast.CudaGraphs(engine)
        if (reason := graphs.why_not(x)) is not None:
            bench.row(f"fast {precision} as a CUDA graph", note=f"not measured: {reason}")
        else:
            bench.time(f"fast {precision} as a CUDA graph", lambda graphs=graphs: graphs(x))
        del engine, graphs
        bench.free()


def time_onnxruntime(bench: Bench) -> None:
    """The same network as ONNX on the same GPU."""
    try:
        import onnxruntime
    except ImportError:
        bench.row("onnxruntime fp32", note="not measured: onnxruntime is not installed")
        return
    if bench.device.type == "cuda" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        bench.row("onnxruntime fp32", note="not measured: this onnxruntime has no CUDA provider")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gpen.onnx"
        try:
            export_onnx(bench.network(), path)
        except (ImportError, RuntimeError) as error:
            bench.row("onnxruntime fp32", note=f"not measured: the export failed ({error})")
            return
        provider = "CUDAExecutionProvider" if bench.device.type == "cuda" else "CPUExecutionProvider"
        session = onnxruntime.InferenceSession(str(path), providers=[provider])
        x = picture(bench.size).numpy()
        bench.time("onnxruntime fp32 (with the way to the GPU and back)", lambda: session.run(None, {"input": x}))


def time_stages(bench: Bench) -> None:
    """What stands around the network: crop one large face, paste one, paste ten small ones; frames stay there."""
    faces_module = pack("faces")
    height, width = (2160, 3840) if bench.size >= 1024 else (270, 480)
    frame = torch.rand(1, height, width, 3, device=bench.device)
    template = faces_module.TEMPLATES["gpen"]
    side = height * 0.9
    one = faces_module.Faces.from_landmarks((template * side + 0.05 * height)[None], [0], (height, width))
    restored = torch.rand(1, bench.size, bench.size, 3, device=bench.device)
    bench.time(f"crop one face to {bench.size} px", lambda: faces_module.crop_faces(frame, one, bench.size))
    bench.time("paste one face", lambda: faces_module.paste_faces(frame, one, restored))
    place = height * 400 / 2160
    corners = torch.tensor([[0.2 + 1.2 * (i % 5), 0.5 + 1.5 * (i // 5)] for i in range(10)], dtype=torch.float64)
    points = template[None] * place + corners[:, None] * place
    ten = faces_module.Faces.from_landmarks(points, [0] * 10, (height, width))
    bench.time("paste ten faces", lambda: faces_module.paste_faces(frame, ten, restored.expand(10, -1, -1, -1)))
    detection = pack("restoration")
    try:
        detector = detection.load_detector("auto")
    except (ValueError, ImportError) as error:
        bench.row("detect", note=f"not measured: {error}")
        return
    name = f"detect with {detector.name} ({detector.provider}; no face in the frame)"
    bench.time(name, lambda: faces_module.detect_faces(frame, detector), repeats=5)


def versions() -> dict[str, str]:
    """What the figures belong to."""
    cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None
    return {
        "python": platform.python_version(), "torch": torch.__version__, "cuda": str(torch.version.cuda),
        "cudnn": str(cudnn),
    }  # fmt: skip


@torch.no_grad()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--narrow", type=float, default=1, help="width of the layers, 1 as published")
    parser.add_argument("--seconds", type=float, default=420, help="after this no further row is begun")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if torch.device(options.device).type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: every GPU row stays 'not measured' (see --help for a walk through the code)")
        return 2
    bench = Bench(options)
    for part in (check_engine, time_engine, time_stages, time_onnxruntime):
        part(bench)
    for failure in bench.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
