"""Pattern matching that GPEN's encoder and generator share: factors, linear layers, blurs, and the weights so far."""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass

import numpy as np
import torch

from ...gpen_arch.ops import SQRT2, fir_kernel
from .terms import Fir, LeakyRelu, Linear, Power, Sum, Term, Times, Total, expect, parts_of, require

_EPSILON = 2e-7  # 1e-8 in the published network; what float16 makes of it is between 0 and 1e-7
_SLOPE = 0.2


@dataclass
class Scaled:
    """A tensor of the file times a factor."""

    array: np.ndarray
    factor: float = 1.0

    def tensor(self) -> torch.Tensor:
        """On the CPU: the file's own values where the factor is one, else float32."""
        array = self.array
        if abs(self.factor - 1) < 1e-6:
            return torch.from_numpy(array if array.flags.aligned and array.flags.writeable else array.copy())
        # memory that goes back to the system with the tensor: the heap would keep holes of the size of a weight
        result = np.frombuffer(mmap.mmap(-1, array.size * 4), np.float32).reshape(array.shape)
        np.multiply(array, np.float32(self.factor), out=result, casting="same_kind")
        return torch.from_numpy(result)


class FoundWeights(dict[str, Scaled]):
    """The weights so far, by their published keys."""

    def add(self, key: str, array: np.ndarray, factor: float = 1.0) -> None:
        require(key not in self and array.size, f"{key} is there twice, or empty")
        self[key] = Scaled(array, factor)

    def add_bias(self, key: str, bias: np.ndarray | None, shape: tuple[int, ...], factor: float = 1.0) -> None:
        """What is added per channel; None is zero."""
        values = np.zeros(shape) if bias is None else np.broadcast_to(bias, math.prod(shape)) * factor
        self.add(key, values.astype(np.float32).reshape(shape))

    def add_linear(self, key: str, term: Term, *, lr_mul: float = 1.0) -> Term:
        """An equalised linear layer; returns what it takes, which may be scaled in the graph."""
        ((factor, only),), bias = parts_of(term)
        linear = expect(only, Linear, key)
        outputs, inputs = linear.weight.shape
        self.add(f"{key}.weight", linear.weight, factor * unit(linear.x) * math.sqrt(inputs) / lr_mul)
        self.add_bias(f"{key}.bias", bias, (outputs,), 1 / lr_mul)
        return linear.x

    def add_conv(self, key: str, weight: np.ndarray, factor: float) -> None:
        """An equalised convolution, [O,I,K,K] or [1,O,I,K,K]."""
        self.add(key, weight, factor * math.sqrt(math.prod(weight.shape[-3:])))

    def add_kernel(self, key: str, term: Term, gain: float, pads: tuple[int, ...], up: int = 1) -> Term:
        """The published buffer of a blur, [K,K] summing to `gain`; returns what it filters."""
        fir = expect(term, Fir, key)
        require(fir.up == (up, up) and fir.pads == pads, f"{key}: padded by {fir.pads}, GPEN's blur by {pads}")
        assert fir.kernel is not None, f"{key} is no blur"
        kernel, published = (fir.kernel[::-1, ::-1] * gain).astype(np.float32), fir_kernel(gain).numpy()
        same = kernel.shape == published.shape and np.allclose(kernel, published, rtol=1e-3)
        self.add(key, published if same else kernel)
        return fir.x


def unit(term: Term) -> float:
    """How large a term is in the graph where the published network's value is 1."""
    if isinstance(term, LeakyRelu):
        return 1 / SQRT2
    if not isinstance(term, Times) or not isinstance(term.factor, Power):
        return 1.0
    # z·rsqrt(q·sum(z²) + eps) over n channels, where the published network has q = 1/n
    ((q, total),), epsilon = parts_of(term.factor.x)
    square, gain = expect(total, Total, "the norm").x, q * term.x.axes[0].size
    plain = isinstance(square, Power) and (square.exponent, square.x) == (2, term.x) and not total.axes
    plain = plain and term.axis is None and term.factor.exponent == -0.5 and is_small(epsilon, gain)
    require(plain, "its styles are normalised in another way than GPEN's")
    return 1 / math.sqrt(gain)


def is_small(epsilon: np.ndarray | None, gain: float) -> bool:
    """Whether what keeps a division from zero is at most the published network's, as far as float16 can tell."""
    return gain > 0 and 0 <= float(0 if epsilon is None else epsilon) <= _EPSILON * gain


def activated(term: Term, what: str) -> Sum:
    """What a leaky ReLU of slope 0.2 takes."""
    activation = expect(term, LeakyRelu, what)
    require(abs(activation.slope / _SLOPE - 1) < 1e-3, f"{what} has no leaky ReLU of {_SLOPE}")
    return Sum(term.axes, *parts_of(activation.x))


def is_close(number: float, to: float, weights: np.ndarray | None = None) -> bool:
    """Equal but for the rounding of the graph's own constants, which is coarser beside float16 weights."""
    return abs(number / to - 1) < tolerance(weights, 2e-5)


def tolerance(weights: np.ndarray | None, exact: float) -> float:
    """`exact`, or what float16 allows."""
    return 3e-3 if weights is None or weights.dtype == np.float16 else exact
