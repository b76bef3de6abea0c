"""The flat state dict inside whatever a checkpoint wraps around its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from .recognition import GPEN_ANCHORS
from .tensor_records import DamagedError

Leaf = TypeVar("Leaf")

# names that training programs give to the generator, the averaged weights first
_WRAPPERS = (
    "g_ema", "params_ema", "ema", "generator_ema", "netG_ema",
    "params", "g", "generator", "netG", "net_g", "state_dict", "model_state_dict", "model", "module", "_orig_mod",
)  # fmt: skip
_AVERAGED = ("ema", "g_ema", "params_ema", "generator_ema", "netG_ema", "model_ema")
_MAX_DEPTH = 8
_MOST_VALUES = 400_000  # one dict may stand in many places


def flatten(value: object, leaf: type[Leaf]) -> dict[str, Leaf]:
    """All values of one type in nested dicts, under dotted names; the rest (step counts, options) is left out.

    Raises:
        DamagedError: the dicts refer to one another so often that there is no end of names.
    """
    flat: dict[str, Leaf] = {}
    waiting = [("", value, 0)]
    seen = 0
    while waiting:
        name, inner, depth = waiting.pop()
        if isinstance(inner, leaf):
            flat[name] = inner
        elif isinstance(inner, dict) and depth < _MAX_DEPTH:
            seen += len(inner)
            if seen > _MOST_VALUES:
                raise DamagedError(f"its dicts hold more than {_MOST_VALUES:,} values")
            inside = [(f"{name}.{key}" if name else str(key), inner[key], depth + 1) for key in inner]
            waiting += reversed(inside)
    return flat


def unwrap(flat: Mapping[str, Leaf]) -> dict[str, Leaf]:
    """Keep the network that matters and take its prefixes off.

    A GPEN is found by its own keys behind any prefix (`g_ema.`, `params_ema.`, `state_dict.module.`, …); averaged
    weights are preferred over plain ones, and what else the checkpoint holds (discriminator, optimisers) is dropped.
    Any other network loses the known wrappers one by one.

    Args:
        flat: values under dotted names, as `flatten` gives them.
    """
    prefix = _gpen_prefix(flat)
    if prefix is not None:
        return {key[len(prefix) :]: value for key, value in flat.items() if key.startswith(prefix)}
    state = dict(flat)
    for _ in range(_MAX_DEPTH):
        inner = next((w for w in _WRAPPERS if _wraps(w, state)), None)
        if inner is None:
            break
        state = {key[len(inner) + 1 :]: value for key, value in state.items() if key.startswith(f"{inner}.")}
    return state


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
