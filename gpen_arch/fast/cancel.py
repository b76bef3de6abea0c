"""The way out of a long computation: a callable that is asked between its parts, and raises where it is to stop."""

from __future__ import annotations

from collections.abc import Callable

CheckCancel = Callable[[], None]
"""Raises whatever its owner raises when the work is no longer wanted; cheap, for it is asked often."""


def never_cancelled() -> None:
    """Nobody cancels."""
