"""The fast engine: folded weights, strips of rows, one body for CPU and CUDA."""

from .cancel import CheckCancel, never_cancelled
from .engine import FastGPEN, ReferenceEngine, build_engine
from .graphs import CudaGraphs

__all__ = ["CheckCancel", "CudaGraphs", "FastGPEN", "ReferenceEngine", "build_engine", "never_cancelled"]
