"""A GPEN's published weights from the graph of an ONNX file, by what the graph computes, not by the names in it.

The term that `meaning` gives is matched against GPEN from the picture backwards. Wherever an export multiplied a
learning rate, a root of two or a blur's gain into something else, the total along the path is what counts: the weights
that come out make our network compute what the graph does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from ...gpen_arch import ConfigError, GPENConfig
from ..errors import GraphNotUnderstoodError
from .encoder import match_encoder
from .generator import match_generator
from .graph import OnnxGraph
from .matching import Found, Scaled
from .meaning import meaning
from .program import read_program


class RecoveredWeights(Mapping[str, torch.Tensor]):
    """The published keys; every tensor is made when it is asked for, and is a view of the file where it can be.

    So a file of 285 MB is never in memory a second time: what reads the weights copies one tensor after the other.
    """

    def __init__(self, found: dict[str, Scaled]) -> None:
        self._found = found
        self._last: tuple[str, torch.Tensor] | None = None

    def __getitem__(self, key: str) -> torch.Tensor:
        last = self._last
        if last is None or last[0] != key:  # folding asks for a weight twice in a row
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
        """The keys with tensors that have a shape and nothing in it."""
        return {key: torch.empty(scaled.shape, device="meta") for key, scaled in self._found.items()}


def recover_gpen(path: Path, graph: OnnxGraph) -> tuple[RecoveredWeights, GPENConfig]:
    """Read a GPEN's weights from an ONNX file.

    Args:
        path: the file.
        graph: its outside; one input of (1 or open)×3×N×N, one output.

    Raises:
        GraphNotUnderstoodError: the graph is not that of a GPEN in all of its parts; the node or part is named.
        OSError: weights that lie in a file beside it cannot be read.
    """
    ends = ", ".join(map(str, (*graph.inputs, *graph.outputs)))[:200]
    shape = graph.inputs[0].shape if len(graph.inputs) == len(graph.outputs) == 1 else ()
    side = shape[-1] if len(shape) == 4 else None
    if side is None or shape[1:] != (3, side, side):
        raise GraphNotUnderstoodError(f"it does not take one square picture of a fixed size and give one ({ends})")
    output = meaning(read_program(path), graph.inputs[0].name, (1, 3, side, side))
    found = Found()
    try:
        features, z = match_generator(output, found)
        match_encoder(features, z, found)
    except (LookupError, AssertionError) as error:
        raise GraphNotUnderstoodError(f"it is built in another way ({type(error).__name__}: {error})") from error
    weights = RecoveredWeights(found.weights)
    try:
        config = GPENConfig.from_state_dict(weights.shapes())
    except ConfigError as error:
        raise GraphNotUnderstoodError(str(error)) from error
    sides = (config.in_size, config.out_size)
    if sides != (side, graph.outputs[0].shape[-1] or config.out_size):
        raise GraphNotUnderstoodError(f"its weights are of a GPEN {sides}, its input and output of another")
    return weights, config
