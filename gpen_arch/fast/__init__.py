"""The fast engine: folded weights, strips of rows, one implementation for CPU and CUDA."""

from .engine import FastGPEN, ReferenceEngine, build_engine
from .graphs import CudaGraphs

__all__ = ["CudaGraphs", "FastGPEN", "ReferenceEngine", "build_engine"]
