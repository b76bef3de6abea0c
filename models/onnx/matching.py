"""What the matchers of GPEN's parts share: factors, sums, styles, kernels, and what has been found."""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass, field

import numpy as np
import torch

from ...gpen_arch.ops import SQRT2, fir_kernel
from ..errors import GraphNotUnderstoodError
from .terms import Conv, Fir, LeakyRelu, Linear, Noise, Power, Source, Sum, Term, Times, Total

_EPSILON = 2e-7  # 1e-8 in the published network; what halves make of it is between 0 and 1e-7
SLOPE = 0.2


@dataclass
class Scaled:
    """A tensor of the file times a factor."""

    array: np.ndarray
    factor: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def tensor(self) -> torch.Tensor:
        """On the CPU: the file's own values where the factor is one, else float32."""
        array = self.array
        if abs(self.factor - 1) < 1e-6:
            return torch.from_numpy(array if array.flags.aligned and array.flags.writeable else array.copy())
        # memory that goes back to the system with the tensor: the heap would keep holes of the size of a weight
        result = np.frombuffer(mmap.mmap(-1, array.size * 4), np.float32).reshape(array.shape)
        np.multiply(array, np.float32(self.factor), out=result, casting="same_kind")
        return torch.from_numpy(result)


@dataclass
class Found:
    """The weights so far, by their published keys."""

    weights: dict[str, Scaled] = field(default_factory=dict)

    def add(self, key: str, array: np.ndarray, factor: float = 1.0) -> None:
        if key in self.weights:
            raise GraphNotUnderstoodError(f"it has {key} twice")
        self.weights[key] = Scaled(array, factor)

    def bias(
        self, key: str, bias: np.ndarray | None, channels: int, factor: float = 1.0, shape: tuple[int, ...] = (-1,)
    ) -> None:
        """What is added to the channels; nothing is zero."""
        values = np.zeros(channels) if bias is None else np.broadcast_to(bias, (channels,)) * factor
        self.add(key, np.array(values, dtype=np.float32).reshape(shape))

    def linear(self, key: str, value: tuple[float, Linear], bias: np.ndarray | None, lr_mul: float = 1.0) -> None:
        """An equalised linear layer; what it takes may be scaled in the graph."""
        factor, term = value
        outputs, inputs = term.weight.shape
        scale = lr_mul / math.sqrt(inputs)
        self.add(f"{key}.weight", term.weight, factor * unit(term.x) / scale)
        self.bias(f"{key}.bias", bias, outputs, 1 / lr_mul)


def unit(term: Term) -> float:
    """How large a term is where the published network's value is 1."""
    if isinstance(term, LeakyRelu):
        return 1 / SQRT2
    if isinstance(term, Times) and isinstance(term.factor, Power):
        return 1 / math.sqrt(pixel_norm_gain(term))
    return 1.0


def pixel_norm_gain(term: Times) -> float:
    """q·n of z·rsqrt(q·sum(z²) + eps) over n channels: 1 where the mean is taken of the very z that is multiplied."""
    norm = term.factor
    assert isinstance(norm, Power)
    parts, epsilon = sum_of(norm.x)
    inner = parts[0][1]
    count = term.x.axes[0].size
    plain = (
        len(parts) == 1 and norm.exponent == -0.5 and isinstance(inner, Total) and not inner.axes
        and isinstance(inner.x, Power) and inner.x.exponent == 2 and inner.x.x is term.x
    )  # fmt: skip
    gain = parts[0][0] * count
    if not plain or term.axis is not None or not small(epsilon, gain):
        raise GraphNotUnderstoodError("its styles are not normalised as GPEN's")
    return gain


def small(epsilon: np.ndarray | None, gain: float) -> bool:
    """Whether what keeps a division from zero is as in the published network, or less than anything."""
    return gain > 0 and 0 <= float(0 if epsilon is None else epsilon) <= _EPSILON * gain


def sum_of(term: Term) -> tuple[tuple[tuple[float, Term], ...], np.ndarray | None]:
    """The parts of a sum, and what is added."""
    return (term.parts, term.bias) if isinstance(term, Sum) else (((1.0, term),), None)


def close(number: float, to: float, exact: bool) -> bool:
    """Equal but for rounding in the graph's own constants."""
    return abs(number / to - 1) < (2e-5 if exact else 3e-3)


def is_exact(array: np.ndarray) -> bool:
    """Whether weights are no halves, whose constants are rounded, too."""
    return array.dtype != np.float16


def affine(term: Term, what: str) -> tuple[float, Linear, np.ndarray | None]:
    """A factor, a matrix product and its bias."""
    parts, bias = sum_of(term)
    factor, inner = parts[0]
    if len(parts) != 1 or not isinstance(inner, Linear):
        raise GraphNotUnderstoodError(f"{what} is no linear layer but {name_of(inner)}")
    return factor, inner, bias


def activation(term: Term, what: str) -> tuple[tuple[tuple[float, Term], ...], np.ndarray | None]:
    """What lies under a leaky ReLU of slope 0.2."""
    if not isinstance(term, LeakyRelu) or abs(term.slope - SLOPE) > 1e-3 * SLOPE:
        raise GraphNotUnderstoodError(f"{what} is no leaky ReLU of {SLOPE} but {name_of(term)}")
    return sum_of(term.x)


def kernel_of(fir: Fir, gain: float, pads: tuple[int, int, int, int], up: int, what: str) -> np.ndarray:
    """The published buffer of a blur, [K,K] summing to `gain`."""
    if fir.kernel is None or fir.up != up or fir.pads != pads:
        raise GraphNotUnderstoodError(f"{what} is padded by {fir.pads} where GPEN has {pads}")
    kernel = (fir.kernel[::-1, ::-1] * gain).astype(np.float32)
    published = fir_kernel(gain).numpy()
    return published if kernel.shape == published.shape and np.allclose(kernel, published, rtol=1e-3) else kernel


def equaliser(weight: np.ndarray) -> float:
    """What the published network multiplies a convolution's weight by."""
    return 1 / math.sqrt(weight[0].size)


def name_of(term: Term) -> str:
    """A term in words, for the sentence that refuses it."""
    words = {Conv: "a convolution", Fir: "a blur", Linear: "a linear layer", LeakyRelu: "a leaky ReLU",
             Noise: "noise", Source: "the picture", Sum: "a sum", Times: "a product"}  # fmt: skip
    size = "×".join(str(axis.size) for axis in term.axes)
    return f"{words.get(type(term), type(term).__name__)} of {size or 'one number'}"
