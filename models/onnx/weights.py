"""A GPEN's published weights from an ONNX file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from ...gpen_arch import CheckCancel, ConfigError, GPENConfig, never_cancelled
from ..errors import GraphNotUnderstoodError, ModelFileError
from .encoder import match_encoder
from .generator import Generator
from .graph import OnnxGraph
from .interpretation import interpret
from .matching import FoundWeights, Scaled


class RecoveredWeights(Mapping[str, torch.Tensor]):
    """The published keys; each tensor is made when it is asked for, and is a view of the file where it can be.

    So a file of 285 MB is never in memory a second time: what reads the weights copies one tensor after the other.
    """

    def __init__(self, found: Mapping[str, Scaled]) -> None:
        self._found = found
        self._last: tuple[str, torch.Tensor] | None = None

    def __getitem__(self, key: str) -> torch.Tensor:
        last = self._last
        if last is None or last[0] != key:  # the engine asks for a weight twice in a row
            last = self._last = (key, self._found[key].tensor())
        return last[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def stored(self) -> RecoveredWeights:
        """The tensors as they lie in the file, without the factors that make them the published ones."""
        return RecoveredWeights({key: Scaled(scaled.array) for key, scaled in self._found.items()})

    def shapes(self) -> dict[str, torch.Tensor]:
        """The keys with tensors that have a shape and no values."""
        return {key: torch.empty(scaled.array.shape, device="meta") for key, scaled in self._found.items()}


def recover_gpen(
    path: Path, graph: OnnxGraph, check_cancel: CheckCancel = never_cancelled
) -> tuple[RecoveredWeights, GPENConfig]:
    """Read a GPEN's weights from an ONNX file; the package's page explains how.

    Args:
        path: the file.
        graph: its graph, as `read_onnx_graph` gives it.
        check_cancel: asked per node; what it raises goes through.

    Raises:
        GraphNotUnderstoodError: the graph is not that of a GPEN in all of its parts; the node or part is named.
        ModelFileError: the graph is damaged, or asks for more memory than any GPEN.
    """
    output = interpret(graph, check_cancel)
    found = FoundWeights()
    try:
        features, z = Generator(found).match(output)
        match_encoder(features, z, found)
    except (LookupError, ArithmeticError, AttributeError, AssertionError, ValueError) as error:
        if isinstance(error, (GraphNotUnderstoodError, ModelFileError)):
            raise
        raise GraphNotUnderstoodError(f"it is built in another way ({type(error).__name__}: {error})") from error
    weights = RecoveredWeights(found)
    try:
        config = GPENConfig.from_state_dict(weights.shapes())
    except ConfigError as error:
        raise GraphNotUnderstoodError(str(error)) from error
    side = graph.inputs[0].shape[-1]
    if (config.in_size, config.out_size) != (side, graph.outputs[0].shape[-1:][0] or config.out_size):
        what = f"its weights are of a GPEN {config.in_size} -> {config.out_size} px, its input and output of another"
        raise GraphNotUnderstoodError(what)
    return weights, config
