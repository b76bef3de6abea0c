"""The network: configuration from weights and the readable reference. Imports torch and the standard library."""

from .config import ConfigError, GPENConfig
from .gpen import GPEN, level_noise

__all__ = ["GPEN", "ConfigError", "GPENConfig", "level_noise"]
