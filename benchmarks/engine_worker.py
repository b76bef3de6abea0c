"""One contender of ``benchmarks/engine.py`` in a process of its own, so that its peak memory is its own.

Prints a line of JSON when it is ready, then one for every line that it reads, with the seconds that a face took. An
empty line ends it; it then prints its peak resident memory.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pack import pack
from peak import peak_bytes
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]
CONTENDERS = ("floor", "reference fp32", "onnxruntime fp32", "fast fp32", "fast bf16")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def random_network(size: int, config: Any = None) -> Any:
    """The reference of the published ``size`` (or of ``config``) with every tensor random, biases too."""
    arch = pack("gpen_arch")
    torch.manual_seed(0)
    net = arch.GPEN(config or arch.GPENConfig.standard(size)).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return net


def picture(size: int, batch: int = 1) -> torch.Tensor:
    """[N,3,size,size] in [-1, 1]: smooth, with some noise."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(batch, 3, 16, 16, generator=generator) * 2 - 1
    smooth = F.interpolate(coarse, (size, size), mode="bicubic")
    return (smooth + torch.randn(smooth.shape, generator=generator) * 0.05).clamp(-1, 1)


def export_onnx(net: Any, path: Path) -> None:
    """Write the reference as ONNX, with its resampling as (transposed) convolutions, which the exporter supports."""
    layers = pack("gpen_arch.layers")

    def upfirdn2d(x: torch.Tensor, kernel: torch.Tensor, *, up: int = 1, pad: tuple[int, int] = (0, 0)) -> torch.Tensor:
        weight = kernel.detach()[None, None].repeat(x.shape[1], 1, 1, 1)
        if up == 1:
            return F.conv2d(x, weight, padding=pad[0], groups=x.shape[1])  # all blurs pad alike on both sides
        return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=x.shape[1])  # pad (2, 1)

    original, layers.upfirdn2d = layers.upfirdn2d, upfirdn2d
    try:
        size = net.config.in_size
        x = torch.zeros(1, 3, size, size)
        torch.onnx.export(net, (x,), str(path), input_names=["input"], dynamo=False, opset_version=17)
    finally:
        layers.upfirdn2d = original


def contender(name: str, size: int, threads: int, weights: Path) -> Callable[[], Any]:
    """A function that restores one face and returns it."""
    x = picture(size)
    if name.startswith("onnxruntime"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
        return lambda: torch.from_numpy(session.run(None, {"input": x.numpy()})[0])
    state = torch.load(weights, weights_only=True, mmap=True)
    if name.startswith("reference"):
        arch = pack("gpen_arch")
        net = arch.GPEN(arch.GPENConfig.from_state_dict(state)).eval().requires_grad_(False)
        net.load_state_dict(state)
        return lambda: net(x)
    engine = pack("gpen_arch.fast").build_engine(state, dtype=DTYPES[name.split()[1]])
    del state
    return lambda: engine(x)


def rates(clock: Callable[[], float]) -> dict[str, float]:
    """GFLOP/s of this machine: a large matrix product, and a comfortable convolution."""

    def fastest(call: Callable[[], Any]) -> float:
        call()
        seconds = []
        for _ in range(7):
            start = clock()
            call()
            seconds.append(clock() - start)
        return min(seconds)  # the rate of the hardware, not of other programs

    found = {}
    for name, dtype in DTYPES.items():
        a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
        found[f"{name} matrix"] = 2 * 2048**3 / 1e9 / fastest(lambda a=a, b=b: a @ b)
        x = torch.randn(1, 256, 128, 128).to(dtype, memory_format=torch.channels_last)
        w = torch.randn(256, 256, 3, 3).to(dtype, memory_format=torch.channels_last)
        found[f"{name} convolution"] = 18 * 256**2 * 128**2 / 1e9 / fastest(lambda x=x, w=w: F.conv2d(x, w, padding=1))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--clock", choices=("wall", "cpu"), required=True)
    parser.add_argument("--result", type=Path, help="where the first result is written")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    start = time.perf_counter()
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    if options.name == "floor":
        call = functools.partial(rates, clock)
    else:
        call = contender(options.name, options.size, options.threads, options.weights)
    print(json.dumps({"ready": time.perf_counter() - start}), flush=True)
    for line in sys.stdin:
        if not line.strip():
            break
        start = clock()
        result = call()
        row: dict[str, Any] = {"seconds": clock() - start}
        if isinstance(result, dict):
            row["rates"] = result
        elif options.result and not options.result.exists():
            torch.save(result, options.result)
        print(json.dumps(row), flush=True)
    print(json.dumps({"peak_mb": peak_bytes() / 2**20}), flush=True)


if __name__ == "__main__":
    with torch.no_grad():
        main()
