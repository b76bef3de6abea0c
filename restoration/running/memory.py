"""How much memory a network needs, and which errors say that there was too little."""

from __future__ import annotations

from typing import Any

import torch

from .restorer_traits import dtype_of

# values per pixel of the output's side, once and per face, and bytes per value beside the activations':
# above what the fast engine holds at 256 to 2048 px on an accelerator, by a margin for the convolutions' own needs
_FIXED, _PER_FACE, _FLOAT32_SHARE = 272_000, 75_000, 0.3
_SAID = (
    "out of memory",
    "can't allocate memory",
    "failed to allocate memory",
    "cannot allocate memory",
    "status_alloc_failed",  # cuBLAS, cuDNN, hipBLAS
    "not enough gpu video memory",  # DirectML
)
# of frames in flight; on a GPU an eighth of its memory
_FRAMES_ON_CPU, _FRAMES_SHARE = 400 << 20, 8
_MOST_FRAMES = 64


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of PyTorch, ONNX Runtime or Python says that memory ran out, on whatever device."""
    # the class moved from torch.cuda to torch in 2.5
    kinds = tuple(home.OutOfMemoryError for home in (torch, torch.cuda) if hasattr(home, "OutOfMemoryError"))
    if isinstance(error, (*kinds, MemoryError)):
        return True
    text = str(error).casefold()
    return any(words in text for words in _SAID)


def working_bytes(restorer: Any, faces: int = 1) -> int:
    """Memory that so many faces need on the restorer's device beside the weights, estimated from the output's size."""
    value = dtype_of(restorer).itemsize + _FLOAT32_SHARE
    return int(value * restorer.config.out_size * (_FIXED + _PER_FACE * faces))


def frames_in_flight(frame_bytes: int, device: torch.device) -> int:
    """How many frames may wait for their faces at once, 1 to 64: it follows from their size and from the memory.

    Args:
        frame_bytes: what one frame holds while it waits: pixels, result and mask.
        device: where it waits.
    """
    budget = _FRAMES_ON_CPU
    if device.type == "cuda":
        budget = torch.cuda.get_device_properties(device).total_memory // _FRAMES_SHARE
    return max(1, min(_MOST_FRAMES, budget // max(1, frame_bytes)))
