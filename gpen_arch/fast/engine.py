"""The fast engine: what the readable :class:`GPEN` computes, at the speed of the hardware and in little memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import nn

from ..cancel import CheckCancel, never_cancelled
from ..config import GPENConfig
from ..gpen import GPEN, level_noise
from .encoder import Encoder, Features
from .folding import Folder, why_not
from .rows import whole_elements
from .synthesis import Synthesis

log = logging.getLogger(__name__)


class FastGPEN(nn.Module):
    """GPEN from folded weights: [N,3,in,in] in [-1, 1] -> [N,3,out,out] float32, not clamped.

    Holds nothing but parameters and buffers (``.to(device)`` moves all of it) and keeps nothing between calls, so
    threads may share it. The mapping, the modulations and the picture are float32 whatever the dtype of the
    activations. Build one with :func:`build_engine`.

    Attributes:
        config: what the weights say.
        declined: why the reference runs instead; None here.
    """

    declined: str | None = None

    def __init__(self, folder: Folder, config: GPENConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(folder, config, dtype)
        self.synthesis = Synthesis(folder, config, dtype)
        self.requires_grad_(False)
        self.eval()

    @property
    def dtype(self) -> torch.dtype:
        """Of the activations; ``.float()`` widens the whole engine."""
        return self.synthesis.constant.dtype

    @torch.no_grad()
    def forward(self, x: torch.Tensor, check_cancel: CheckCancel = never_cancelled) -> torch.Tensor:
        """Restore aligned faces; ``x`` may be of any floating dtype.

        Args:
            check_cancel: asked between levels and strips of rows, so about thirty times in a 2048 px face. What it
                raises passes through, and the engine can be called again as if nothing had been. On CUDA it sees how
                far the work has been handed out, which runs ahead of the device by a fraction of a second.

        Raises:
            ValueError: ``x`` is of another shape.
        """
        _check(x, self.config)
        if len(x) == 0:
            return x.new_empty(0, 3, self.config.out_size, self.config.out_size, dtype=torch.float32)
        group = max(1, 4 * whole_elements(x.device) // self._activations()) if x.device.type == "cpu" else len(x)
        if len(x) <= group:
            return self._run(x, check_cancel)
        return torch.cat([self._run(part, check_cancel) for part in x.split(group)])

    def _run(self, x: torch.Tensor, check_cancel: CheckCancel) -> torch.Tensor:
        z, features = self.encoder(x, check_cancel)
        for above in self.config.levels[len(features) :]:
            noise = level_noise(self.config.channels_at(above), above).to(x.device, self.dtype)
            features.append(Features(noise.permute(0, 2, 3, 1).contiguous()))
        return self.synthesis(z, features, check_cancel).float()

    def _activations(self) -> int:
        """Activations of the largest map of one face."""
        return max(2 * c * s * s for c, s in zip(self.config.channels, self.config.levels, strict=True))


class ReferenceEngine(nn.Module):
    """The readable GPEN behind the engine's signature, for weights that the fast engine declines.

    Attributes:
        declined: why.
    """

    def __init__(self, net: GPEN, dtype: torch.dtype, declined: str) -> None:
        super().__init__()
        self.net = net.to(dtype).requires_grad_(False).eval()
        self.config = net.config
        self.dtype = dtype
        self.declined: str | None = declined

    @torch.no_grad()
    def forward(self, x: torch.Tensor, check_cancel: CheckCancel = never_cancelled) -> torch.Tensor:
        """[N,3,in,in] -> [N,3,out,out] float32. The reference is asked to stop before it starts, not inside."""
        check_cancel()
        return self.net(x.to(self.dtype)).float()


def build_engine(
    state_dict: Mapping[str, torch.Tensor], config: GPENConfig | None = None, dtype: torch.dtype = torch.float32
) -> FastGPEN | ReferenceEngine:
    """Fold a published state dict into an engine, on the CPU; move it with ``.to(device)``.

    The tensors are copied, never aliased, and made outside of inference mode, whatever mode the caller is in.

    Args:
        state_dict: the published keys, any floating dtype.
        config: its config, where the caller has read it already.
        dtype: of the activations: float32, bfloat16 or float16.

    Returns:
        A module with ``config``, ``dtype`` and ``declined`` (None, or why it is the slow reference that runs).

    Raises:
        ConfigError: the tensors are not those of a GPEN.
        ValueError: ``dtype`` is another one.
    """
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"dtype: expected float32, bfloat16 or float16, got {dtype}")
    config = config or GPENConfig.from_state_dict(state_dict)
    with torch.inference_mode(False), torch.no_grad():
        declined = why_not(state_dict)
        if declined is None:
            return FastGPEN(Folder(state_dict), config, dtype)
        log.warning("GPEN runs without the fast engine: %s", declined)
        with torch.device("cpu"):
            net = GPEN(config)
        net.load_state_dict({key: value.clone() for key, value in state_dict.items()})
        return ReferenceEngine(net, dtype, declined)


def _check(x: torch.Tensor, config: GPENConfig) -> None:
    size = config.in_size
    if x.dim() != 4 or tuple(x.shape[1:]) != (3, size, size):
        raise ValueError(f"x: expected [N,3,{size},{size}], got {list(x.shape)}")
