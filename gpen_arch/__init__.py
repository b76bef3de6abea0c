"""The GPEN network: its configuration from weights, the readable reference, the fast engine."""

from .cancel import CheckCancel, never_cancelled
from .config import ConfigError, GPENConfig
from .fast import FastGPEN, build_engine
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
