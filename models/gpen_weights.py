"""GPEN's weights and configuration from a file of any format."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..gpen_arch import ConfigError, GPENConfig
from .errors import ModelFileError
from .files.formats import Format, sniff
from .files.reading import WeightFile, check_weights_finite, open_weights
from .files.recognition import has_gpen_names, recognise_foreign
from .onnx.graph import read_onnx_graph
from .onnx.recognition import refuse_foreign
from .onnx.weights import recover_gpen

_log = logging.getLogger(__name__)
_GPEN_KEY = re.compile(r"(?:ecd\d+|final_linear|generator)\.")
_LONGEST_KEY = 100  # characters; GPEN's own have less than 50
_LONGEST_REASON = 600


@dataclass(frozen=True)
class GpenFile:
    """A GPEN that was read from a file.

    Args:
        format: of the file.
        weights: the published keys with tensors on the CPU in the stored dtype, perhaps views of the mapped file.
        config: its hyperparameters.
        metadata: the free text fields of a safetensors file.
    """

    format: Format
    weights: Mapping[str, torch.Tensor]
    config: GPENConfig
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_gpen_file(path: Path, file_format: Format | None = None) -> GpenFile:
    """Read a GPEN from a .pth, .pt, .safetensors or .onnx file.

    Tensors that are no part of the generator (a discriminator in the same checkpoint) are left out.

    Args:
        path: the file.
        file_format: what `sniff` said of it; None: it is asked.

    Raises:
        ModelFileError: damaged, not finite, another network (named), or not a complete GPEN (the keys are named).
        GraphNotUnderstoodError: an ONNX file whose graph is not that of a GPEN in all of its parts.
    """
    file_format = file_format or sniff(path)
    if file_format == "onnx":
        graph = read_onnx_graph(path)
        refuse_foreign(path, graph)
        recovered, config = recover_gpen(path, graph)
        check_weights_finite(path, recovered.stored())
        return GpenFile(file_format, recovered, config)
    file, config = open_gpen(path, file_format)
    weights = file.read()
    check_weights_finite(path, weights)
    return GpenFile(file_format, weights, config, file.metadata)


def read_gpen(path: Path) -> tuple[Mapping[str, torch.Tensor], GPENConfig]:
    """Weights and configuration of a GPEN file; see `read_gpen_file`."""
    file = read_gpen_file(path)
    return file.weights, file.config


def open_gpen(path: Path, file_format: Format | None = None) -> tuple[WeightFile, GPENConfig]:
    """A GPEN's tensors in a .pth, .pt or .safetensors file, by name, shape and place; no weight is read.

    Raises:
        ModelFileError: as `read_gpen_file`, but weights that are not finite go unnoticed.
    """
    file = open_weights(path, file_format)
    foreign = recognise_foreign(file.tensors)
    if foreign is not None:
        raise ModelFileError(path, f"it is {foreign.name}, not a GPEN model", foreign.remedy)
    own = {key: record for key, record in file.tensors.items() if _GPEN_KEY.match(key) and len(key) <= _LONGEST_KEY}
    if not has_gpen_names(own):
        some = ", ".join(key[:_LONGEST_KEY] for key in list(file.tensors)[:3])
        what = f"it holds the weights of an unknown network, not of GPEN ({len(file.tensors)} tensors: {some}, …)"
        raise ModelFileError(path, what, "give a GPEN-BFR file; `models list` shows those that are known")
    if len(own) < len(file.tensors):
        _log.info("%s: left out %d tensors that are not the generator's", path, len(file.tensors) - len(own))
    generator = WeightFile(file.path, file.format, own, file.metadata, file.data)
    try:
        return generator, GPENConfig.from_state_dict(generator.empty())
    except ConfigError as error:
        remedy = "the file is damaged or of a variant unknown here: download it again"
        raise ModelFileError(path, str(error)[:_LONGEST_REASON], remedy) from error
