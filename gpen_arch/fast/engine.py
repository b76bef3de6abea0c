"""The fast engine: what the readable :class:`GPEN` computes, faster and in less memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import nn

from ..autocast import no_autocast
from ..cancel import CheckCancel, never_cancelled
from ..config import GPENConfig
from ..gpen import GPEN, level_noise
from ..tf32 import FixedTF32
from .encoder import Encoder, Features
from .folding import FoldedWeights, why_declined
from .rows import whole_elements
from .synthesis import Synthesis

log = logging.getLogger(__name__)


class FastGPEN(nn.Module):
    """GPEN from folded weights: [N,3,in,in] in [-1, 1] -> [N,3,out,out] float32, not clamped.

    Has no state except parameters and buffers (``.to(device)`` moves all of it) and keeps nothing between calls, so
    threads may share it. Mapping, modulation and RGB are float32 whatever the dtype of the activations, and never
    TF32. The caller's autocast has no effect. Build one with :func:`build_engine`.

    Attributes:
        config: read from the weights.
        tf32: whether convolutions in float32 may run in TF32.
        declined: why the reference runs instead; None here.
    """

    declined: str | None = None

    def __init__(self, weights: FoldedWeights, config: GPENConfig, dtype: torch.dtype, tf32: bool) -> None:
        super().__init__()
        self.config = config
        self.tf32 = tf32
        self.encoder = Encoder(weights, config, dtype, tf32)
        self.synthesis = Synthesis(weights, config, dtype, tf32)
        self.requires_grad_(False)
        self.eval()

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the activations; ``.float()`` widens the whole engine."""
        return self.synthesis.constant.dtype

    @torch.no_grad()
    def forward(self, x: torch.Tensor, check_cancel: CheckCancel = never_cancelled) -> torch.Tensor:
        """Restored faces, for aligned faces in any floating dtype.

        Args:
            check_cancel: called between levels and strips of rows, about thirty times per 2048 px face. What it raises
                passes through and leaves the engine usable. On CUDA it runs a fraction of a second ahead of the device.

        Raises:
            ValueError: ``x`` has another shape.
        """
        size = self.config.in_size
        if x.dim() != 4 or tuple(x.shape[1:]) != (3, size, size):
            raise ValueError(f"x: expected [N,3,{size},{size}], got {list(x.shape)}")
        if len(x) == 0:
            return x.new_empty(0, 3, self.config.out_size, self.config.out_size, dtype=torch.float32)
        group = max(1, 4 * whole_elements(x.device) // self._activations()) if x.device.type == "cpu" else len(x)
        with no_autocast(x.device):
            if len(x) <= group:
                return self._run(x, check_cancel)
            return torch.cat([self._run(part, check_cancel) for part in x.split(group)])

    def _run(self, x: torch.Tensor, check_cancel: CheckCancel) -> torch.Tensor:
        z, features = self.encoder(x, check_cancel)
        for above in self.config.levels[len(features) :]:
            noise = level_noise(self.config.channels_at(above), above).to(self.dtype)
            noise = noise.to(x.device, non_blocking=x.device.type == "cuda")  # CUDA copies it before it returns
            features.append(Features(noise.permute(0, 2, 3, 1).contiguous()))
        return self.synthesis(z, features, check_cancel).float()

    def _activations(self) -> int:
        """Number of activations in the largest map of one face."""
        return max(2 * c * s * s for c, s in zip(self.config.channels, self.config.levels, strict=True))


class ReferenceEngine(nn.Module):
    """The readable GPEN with the interface of :class:`FastGPEN`, for weights that the fast engine declines.

    Attributes:
        tf32: whether convolutions in float32 may run in TF32.
        declined: why.
    """

    def __init__(self, net: GPEN, dtype: torch.dtype, tf32: bool, declined: str) -> None:
        super().__init__()
        self.net = net.to(dtype).requires_grad_(False).eval()
        self.config = net.config
        self.dtype = dtype
        self.tf32 = tf32
        self.declined: str | None = declined

    @torch.no_grad()
    def forward(self, x: torch.Tensor, check_cancel: CheckCancel = never_cancelled) -> torch.Tensor:
        """[N,3,in,in] -> [N,3,out,out] float32; ``check_cancel`` is called before every convolution."""
        with no_autocast(x.device), FixedTF32(self.tf32, check_cancel):
            return self.net(x.to(self.dtype)).float()


def build_engine(
    state_dict: Mapping[str, torch.Tensor], config: GPENConfig | None = None, dtype: torch.dtype | None = None
) -> FastGPEN | ReferenceEngine:
    """An engine with the weights of a published state dict, on the CPU; move it with ``.to(device)``.

    The tensors are copied, never aliased, and created outside of inference mode, whatever mode the caller is in.

    Args:
        state_dict: the published keys, any floating dtype.
        config: its configuration, if the caller has read it already.
        dtype: of the activations: float32, bfloat16 or float16. float32 is true float32 on every device; None is
            float32 whose convolutions may run in TF32, as PyTorch's do by default.

    Returns:
        A module with ``config``, ``dtype``, ``tf32`` and ``declined`` (None, or why the slow reference runs).

    Raises:
        ConfigError: the tensors are not those of a GPEN.
        ValueError: another ``dtype``.
    """
    if dtype not in (None, torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"dtype: expected float32, bfloat16 or float16, got {dtype}")
    tf32, dtype = dtype is None, dtype or torch.float32
    config = config or GPENConfig.from_state_dict(state_dict)
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"), no_autocast():
        declined = why_declined(state_dict)
        if declined is None:
            return FastGPEN(FoldedWeights(state_dict), config, dtype, tf32)
        log.warning("GPEN runs without the fast engine: %s", declined)
        net = GPEN(config)
        net.load_state_dict({key: value.clone() for key, value in state_dict.items()})
        return ReferenceEngine(net, dtype, tf32, declined)
