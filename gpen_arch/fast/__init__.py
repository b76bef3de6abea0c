"""The fast engine: folded weights, strips of rows, one body for CPU and CUDA."""

from .engine import FastGPEN, ReferenceEngine, build_engine

__all__ = ["FastGPEN", "ReferenceEngine", "build_engine"]
