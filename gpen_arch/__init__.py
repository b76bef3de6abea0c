"""The network: configuration from weights, the readable reference, the fast engine. Imports torch and nothing else."""

from .config import ConfigError, GPENConfig
from .fast import build_engine
from .gpen import GPEN, level_noise

__all__ = ["GPEN", "ConfigError", "GPENConfig", "build_engine", "level_noise"]
