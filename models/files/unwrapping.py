"""From whatever a checkpoint wraps around its weights to one flat state dict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from .recognition import GPEN_ANCHORS

# what training programs call the part that matters, the averaged weights first
_WRAPPERS = (
    "g_ema", "params_ema", "ema", "generator_ema", "netG_ema",
    "params", "g", "generator", "netG", "net_g", "state_dict", "model_state_dict", "model", "module", "_orig_mod",
)  # fmt: skip
_AVERAGED = ("ema", "g_ema", "params_ema", "generator_ema", "netG_ema", "model_ema")
_MAX_DEPTH = 8


def flatten(value: object, prefix: str = "", depth: int = 0) -> dict[str, torch.Tensor]:
    """All tensors of nested dicts under dotted names; everything else (step counts, options) is left out."""
    if isinstance(value, torch.Tensor):
        return {prefix: value}
    flat: dict[str, torch.Tensor] = {}
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        for key, inner in value.items():
            flat.update(flatten(inner, f"{prefix}.{key}" if prefix else str(key), depth + 1))
    return flat


def unwrap(flat: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Keep the network that matters and take its prefixes off.

    A GPEN is found by its own keys behind any prefix (`g_ema.`, `params_ema.`, `state_dict.module.`, …); averaged
    weights are preferred over plain ones, and what else the checkpoint holds (discriminator, optimisers) is dropped.
    Any other network loses the known wrappers one by one.

    Args:
        flat: tensors under dotted names, as `flatten` gives them.
    """
    prefix = _gpen_prefix(flat)
    if prefix is not None:
        return {key[len(prefix) :]: value for key, value in flat.items() if key.startswith(prefix)}
    state = dict(flat)
    while True:
        inner = next((w for w in _WRAPPERS if _wraps(w, state)), None)
        if inner is None:
            return state
        state = {key[len(inner) + 1 :]: value for key, value in state.items() if key.startswith(f"{inner}.")}


def _gpen_prefix(keys: Iterable[str]) -> str | None:
    counts: dict[str, int] = {}
    for key in keys:
        for anchor in GPEN_ANCHORS:
            if key == anchor or key.endswith("." + anchor):
                prefix = key[: -len(anchor)]
                counts[prefix] = counts.get(prefix, 0) + 1
    if not counts:
        return None

    def preference(prefix: str) -> tuple[int, bool, int]:
        averaged = any(part in _AVERAGED for part in prefix.split("."))
        return counts[prefix], averaged, -len(prefix)

    return max(counts, key=preference)


def _wraps(name: str, keys: Iterable[str]) -> bool:
    """Whether the keys under `name` look like a network's own rather than like one layer called so."""
    inside = [key for key in keys if key.startswith(f"{name}.")]
    if not inside:
        return False
    if name in ("model", "g", "generator"):  # layers are called so, too: only where siblings show that it is a wrapper
        return all(key.startswith(f"{name}.") for key in keys) and not any(k.split(".")[1].isdecimal() for k in inside)
    return True
