"""A 2048 px face in a card of 4 GB: what the network holds at once, counted on the meta device.

The meta device takes the accelerators' path and computes nothing, so the published shape can be walked through in
seconds. What cuDNN takes for its own work is not in it: more than a third of the card is left for that.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig, build_engine
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """The most bytes of meta tensors that were alive together, among those made while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and tensor.device.type == "meta":
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                self._alive[reference.cdata] = (reference, storage.nbytes())
        self._alive = {key: entry for key, entry in self._alive.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize(("size", "faces"), [(512, 4), (2048, 1)])
def test_the_estimate_covers_the_network_and_fits_into_four_gigabytes(
    size: int, faces: int, dtype: torch.dtype
) -> None:
    from gpen_pack.restoration.running.fallback import working_bytes

    config = GPENConfig.standard(size)
    engine = build_engine(GPEN(config).state_dict(), config, dtype)
    assert engine.declined is None
    weights = sum(tensor.nbytes for tensor in (*engine.parameters(), *engine.buffers()))
    engine.to("meta")
    with LiveBytes() as live:
        y = engine(torch.empty(faces, 3, size, size, device="meta"))
    assert y.shape == (faces, 3, size, size)
    restorer: Any = SimpleNamespace(config=config, dtype=dtype)
    asked = working_bytes(restorer, faces)
    assert weights + live.peak < 2.4e9, f"{weights / 1e9:.2f} GB of weights, {live.peak / 1e9:.2f} GB at work"
    assert live.peak < asked, "ComfyUI is asked for less room than the network takes"
    assert asked + weights < 3.5e9, "more is asked for than a card of 4 GB can give"
