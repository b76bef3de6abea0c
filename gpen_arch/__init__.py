"""The network: configuration from weights, the readable reference, the fast engine. Imports torch and nothing else."""

from .config import ConfigError, GPENConfig
from .fast import CheckCancel, FastGPEN, build_engine, never_cancelled
from .gpen import GPEN, level_noise

__all__ = [
    "GPEN",
    "CheckCancel",
    "ConfigError",
    "FastGPEN",
    "GPENConfig",
    "build_engine",
    "level_noise",
    "never_cancelled",
]
