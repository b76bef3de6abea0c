"""Cancelling a long computation: a callable that is called between its parts and raises to stop it."""

from __future__ import annotations

from collections.abc import Callable

CheckCancel = Callable[[], None]
"""Raises the host's own exception when the user cancelled, else returns. Called often, so it must be cheap."""


def never_cancelled() -> None:
    """The default: never raises."""
