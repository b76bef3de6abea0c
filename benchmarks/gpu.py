"""Speed and memory on a GPU in one run of under eight minutes: ``python benchmarks/gpu.py --json gpu.json``.

Builds the published 2048 px shape with random weights, checks the engine against the reference on the same device,
then measures time and memory. Needs no download and no weights; rows that cannot be measured say why. ``--device cpu
--size 64 --narrow 0.1`` runs the same code without a GPU, as a test; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from engine_worker import export_onnx, picture, random_network
from gpu_bench import Bench, without_tf32
from pack import pack
from torch.nn import functional as F

DTYPES = {"fp32": torch.float32, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
# 2-norm, relative to the reference in fp32 without TF32, on random weights
TOLERANCE = {"fp32": 1e-4, "tf32": 5e-3, "bf16": 3e-2, "fp16": 5e-3}


def check_engine(bench: Bench) -> None:
    """Check the engine against the reference: small shapes in every precision, then the large one."""
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
    """Time the readable network."""
    net = bench.network().to(bench.device)
    bench.time("reference fp32", lambda: net(x), repeats=10)
    with without_tf32():
        bench.time("reference fp32 without TF32", lambda: net(x), repeats=10)


def time_engine(bench: Bench) -> None:
    """Time reference and engine, plain and as a graph, one face and eight, and both ways of resampling."""
    fast, resampling = pack("gpen_arch.fast"), pack("gpen_arch.fast.resampling")
    state = {key: value.clone() for key, value in bench.network().state_dict().items()}
    x = picture(bench.size).to(bench.device)
    time_reference(bench, x)
    bench.free()
    for precision, dtype in DTYPES.items():
        engine = fast.build_engine(state, dtype=dtype).to(bench.device)
        bench.time(f"fast {precision}", lambda engine=engine: engine(x))
        original = resampling.merges_blurs
        try:
            merged = original(bench.device)
            resampling.merges_blurs = lambda device, merged=merged: not merged
            how = "separate" if merged else "merged"
            bench.time(f"fast {precision}, blurs {how} (the other way)", lambda engine=engine: engine(x), repeats=5)
        finally:
            resampling.merges_blurs = original
        eight = picture(bench.size, 8).to(bench.device)  # only now, as it would count in the memory of the rows above
        bench.time(f"fast {precision}, batch of 8", lambda engine=engine, x=eight: engine(x), faces=8, repeats=5)
        del eight
        bench.free()
        graphs = fast.CudaGraphs(engine)
        if (reason := graphs.why_not(x)) is not None:
            bench.row(f"fast {precision} as a CUDA graph", note=f"not measured: {reason}")
        else:
            bench.time(f"fast {precision} as a CUDA graph", lambda graphs=graphs: graphs(x))
        del engine, graphs
        bench.free()


def time_onnxruntime(bench: Bench) -> None:
    """Time the same network as ONNX on the same GPU."""
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
        bench.time("onnxruntime fp32 (with both copies)", lambda: session.run(None, {"input": x}))


def portrait(height: int, width: int) -> torch.Tensor:
    """A frame [1,height,width,3] with one face if scikit-image is installed, else noise."""
    try:
        from skimage.data import astronaut
    except ImportError:
        return torch.rand(1, height, width, 3)
    photo = torch.from_numpy(astronaut()).permute(2, 0, 1)[None] / 255
    photo = F.interpolate(photo, (height, height), mode="bilinear")
    return F.pad(photo, (0, width - height, 0, 0), mode="replicate").permute(0, 2, 3, 1).contiguous()


def time_stages(bench: Bench) -> None:
    """Time what surrounds the network: detect and crop one large face, paste it, paste ten small ones."""
    faces_module = pack("faces")
    height, width = (2160, 3840) if bench.size >= 1024 else (270, 480)
    frame = portrait(height, width).to(bench.device)
    template = faces_module.TEMPLATES["gpen"]
    side = height * 0.9
    one = faces_module.Faces.from_landmarks((template * side + 0.05 * height)[None], [0], (height, width))
    restored = torch.rand(1, bench.size, bench.size, 3, device=bench.device)
    crops, pasted = faces_module.crop_faces(frame, one, bench.size), faces_module.paste_faces(frame, one, restored)
    stays = {tensor.device.type for tensor in (crops, *pasted)} == {bench.device.type}
    if not stays:
        bench.failures.append("crops and pasted frames left the device")
    bench.row("frames stay on the device", met=stays)
    bench.time("crop one face", lambda: faces_module.crop_faces(frame, one, bench.size))
    bench.time("paste one face", lambda: faces_module.paste_faces(frame, one, restored))
    place = height * 400 / 2160
    corners = torch.tensor([[0.2 + 1.2 * (i % 5), 0.5 + 1.5 * (i // 5)] for i in range(10)], dtype=torch.float64)
    points = template[None] * place + corners[:, None] * place
    ten = faces_module.Faces.from_landmarks(points, [0] * 10, (height, width))
    bench.time("paste ten faces", lambda: faces_module.paste_faces(frame, ten, restored.expand(10, -1, -1, -1)))
    detectors = pack("detectors")
    try:
        detector = detectors.load_detector("auto")
    except (ValueError, ImportError) as error:
        bench.row("detect", note=f"not measured: {error}")
        return
    found = len(detectors.detect_faces(frame, detector))
    bench.row("detector", note=f"{detector.name} ({detector.provider}), faces found: {found}")
    bench.time("detect", lambda: detectors.detect_faces(frame, detector), repeats=5)


def judge(bench: Bench) -> None:
    """Judge every bar for a GPU by the rows above."""
    reference = bench.figure("reference fp32", "median_ms")
    for precision in DTYPES:
        plain, graph = f"fast {precision}", f"fast {precision} as a CUDA graph"
        memory = bench.figure(plain, "allocated_gb")
        bench.bar(f"{plain}: GB of GPU memory", memory, most=3 if precision in ("fp32", "tf32") else 1.5)
        for name in (plain, graph) if precision not in ("fp32", "tf32") else ():
            ms = bench.figure(name, "median_ms")
            bench.bar(f"{name}: ms", ms, most=8)
            bench.bar(f"{name}: times the reference's speed", reference / ms if reference and ms else None, least=4)
        rates = [bench.figure(name, "faces_per_s") for name in (f"{plain}, batch of 8", plain)]
        bench.bar(f"{plain}, batch of 8: times the faces per second", _ratio(*rates), least=1.3)
    stages = [bench.figure(name, "median_ms") for name in ("detect", "crop one face", "paste one face")]
    network = min((ms for p in DTYPES if (ms := bench.figure(f"fast {p}", "median_ms"))), default=None)
    bench.bar("crop and paste: share of the fastest network", _ratio(_total(stages[1:]), network), most=0.3)
    bench.bar("detection, crop and paste: share of the fastest network", _ratio(_total(stages), network), most=0.3)


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None


def _total(figures: list[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) if len(known) == len(figures) else None


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
        print("no CUDA device here: nothing was measured (--help shows how to run the code on the CPU)")
        return 2
    bench = Bench(options)
    for part in (check_engine, time_engine, time_stages, time_onnxruntime, judge):
        part(bench)
    for failure in bench.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
