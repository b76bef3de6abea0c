"""GPEN's generator in the meaning of an ONNX graph: from the picture back to the style and the feature maps."""

from __future__ import annotations

import numpy as np

from ...gpen_arch import level_noise
from ..errors import GraphNotUnderstoodError
from .matching import (
    Found,
    activation,
    affine,
    close,
    equaliser,
    is_exact,
    kernel_of,
    name_of,
    small,
    sum_of,
    unit,
)
from .terms import Concat, Conv, Fir, Leaf, LeakyRelu, Linear, Noise, Power, Sum, Sym, Term, Times, Total

_Part = tuple[float, Term]


def match_generator(output: Sym, found: Found) -> tuple[list[Term], Term]:
    """Find the generator's weights.

    Args:
        output: what the graph gives, [1,3,S,S].

    Returns:
        The feature maps that the encoder must give, of 4, 8, … in_size px, and the vector that the mapping takes.

    Raises:
        GraphNotUnderstoodError: it is another generator.
    """
    return _Generator(found).match(output)


class _Generator:
    def __init__(self, found: Found) -> None:
        self._found = found
        self._style: Term | None = None

    def match(self, output: Sym) -> tuple[list[Term], Term]:
        rgbs = self._rgb_chain(output)
        features: list[Term] = []
        below: Term | None = None
        for i, (activated, size) in enumerate(rgbs):
            if i == 0:
                below = self._styled(activated, None, "generator.conv1", features)
            else:
                middle = self._styled(activated, None, f"generator.convs.{2 * i - 1}", features)
                assert middle is not None
                start = self._styled(middle, size, f"generator.convs.{2 * i - 2}", features[-1:])
                if start is not rgbs[i - 1][0]:
                    raise GraphNotUnderstoodError(f"the level of {size} px does not take the level below it")
        if below is not None or self._style is None:
            raise GraphNotUnderstoodError("it does not start from a constant")
        given: list[Term] = [feature for feature in features if isinstance(feature, LeakyRelu)]
        if not given or features[: len(given)] != given:
            raise GraphNotUnderstoodError("noise takes the place of a small feature map")
        return given, self._mapping(self._style)

    def _rgb_chain(self, output: Sym) -> list[tuple[Term, int]]:
        """The activations that become pictures, the smallest first, with their sides in pixels."""
        chain: list[tuple[Term, float, Conv, np.ndarray | None, Fir | None]] = []
        picture: Term | None = output.term
        if not close(output.factor, 1, exact=False) or len(output.term.axes) != 3:
            raise GraphNotUnderstoodError(f"its output is {name_of(output.term)} times {output.factor:g}")
        while picture is not None:
            parts, bias = sum_of(picture)
            convs = [(f, t) for f, t in parts if isinstance(t, Conv)]
            firs = [(f, t) for f, t in parts if isinstance(t, Fir)]
            if len(convs) != 1 or len(firs) + 1 != len(parts) or len(firs) > 1:
                raise GraphNotUnderstoodError(f"no picture is made there, but {name_of(picture)}")
            (factor, conv), fir = convs[0], firs[0][1] if firs else None
            if firs and not close(firs[0][0], 4, exact=is_exact(conv.weight)):
                raise GraphNotUnderstoodError("the picture of the level below is made brighter")
            chain.append((conv.x, factor, conv, bias, fir))
            picture = fir.x if fir else None
        chain.reverse()
        for i, (_, factor, conv, bias, fir) in enumerate(chain):
            key = "generator.to_rgb1" if i == 0 else f"generator.to_rgbs.{i - 1}"
            if conv.outs or conv.weight.shape[2:] != (1, 1) or conv.stride != 1 or any(conv.pads) or conv.transposed:
                raise GraphNotUnderstoodError(f"{key} is another convolution")
            if fir is not None:
                self._found.add(f"{key}.upsample.kernel", kernel_of(fir, 4, (2, 1, 2, 1), 2, key))
            scale = factor * unit(conv.x) / equaliser(conv.weight)
            self._found.add(f"{key}.conv.weight", conv.weight[None], scale)
            self._modulation(conv, key)
            self._found.bias(f"{key}.bias", bias, 3, shape=(1, 3, 1, 1))
        return [(activated, conv.axes[1].size) for activated, _, conv, _, _ in chain]

    def _modulation(self, conv: Conv, key: str) -> Term:
        """The style that a convolution takes, of which the linear layer is found on the way."""
        if len(conv.ins) != 1:
            raise GraphNotUnderstoodError(f"{key} is modulated {len(conv.ins)} times")
        factor, linear, bias = affine(conv.ins[0], f"{key}'s style")
        if self._style is not None and linear.x is not self._style:
            raise GraphNotUnderstoodError(f"{key} takes another style than the others")
        self._style = linear.x
        self._found.linear(f"{key}.conv.modulation", (factor, linear), bias)
        return conv.ins[0]

    def _styled(self, term: Term, up: int | None, key: str, features: list[Term]) -> Term | None:
        """One modulated convolution, feature map and activation; -> the activation that it takes, None for a constant.

        Args:
            up: the side that it enlarges to; None where it keeps its size.
            features: the feature map is appended; with `up` it must be the one that is there already.
        """
        parts, bias = activation(term, key)
        joined = len(parts) == 1 and isinstance(parts[0][1], Concat)
        if joined:
            outer, inner = parts[0]
            assert isinstance(inner, Concat)
            parts = tuple((outer * factor, part) for factor, part in inner.parts)
        if len(parts) != 2:
            raise GraphNotUnderstoodError(f"{key} has no feature map beside its convolution")
        made, given = parts if joined or isinstance(parts[0][1], (Conv, Fir)) else parts[::-1]
        self._found.bias(f"{key}.activate.bias", bias, term.axes[0].size)
        below = self._modulated(made, up, key)
        self._inject(given, key, features, up is not None)
        return below

    def _modulated(self, made: _Part, up: int | None, key: str) -> Term | None:
        factor, conv = made
        if up is not None and isinstance(conv, Fir):
            kernel = kernel_of(conv, 4, (1, 1, 1, 1), 1, key)
            self._found.add(f"{key}.conv.blur.kernel", kernel)
            factor, conv = factor / 4, conv.x
        stride, pads = (1, (1, 1, 1, 1)) if up is None else (2, (0, 0, 0, 0))
        if (
            not isinstance(conv, Conv) or conv.transposed != (up is not None) or conv.stride != stride
            or conv.pads != pads or conv.weight.shape[2:] != (3, 3) or len(conv.outs) != 1
        ):  # fmt: skip
            raise GraphNotUnderstoodError(f"{key} is no modulated 3×3 convolution but {name_of(conv)}")
        style = self._modulation(conv, key)
        root = demodulation(conv, style, key) ** 0.5
        self._found.add(f"{key}.conv.weight", conv.weight[None], root / equaliser(conv.weight))
        left = factor / root  # what is neither in the weights nor in the demodulation
        if isinstance(conv.x, Leaf) and up is None:
            constant = conv.x.array
            if constant.ndim != 3:
                raise GraphNotUnderstoodError(f"{key} starts from a constant of {constant.ndim} dimensions")
            self._found.add("generator.input.input", constant[None], left)
            return None
        if not close(left * unit(conv.x), 1, exact=is_exact(conv.weight)):
            raise GraphNotUnderstoodError(f"{key} is {left * unit(conv.x):g} times as strong as GPEN's")
        return conv.x

    def _inject(self, given: _Part, key: str, features: list[Term], again: bool) -> None:
        weight, feature = given
        if isinstance(feature, Leaf):
            weight *= _share_of_noise(feature, key)
            feature = Noise(feature.axes)
        size = feature.axes[1].size
        same = not again or feature is features[-1] or (isinstance(feature, Noise) and isinstance(features[-1], Noise))
        if not same:
            raise GraphNotUnderstoodError(f"{key} takes another feature map than the other convolution of {size} px")
        if not isinstance(feature, (Noise, LeakyRelu)):
            raise GraphNotUnderstoodError(f"{key} takes {name_of(feature)} for a feature map")
        if not again:
            features.append(feature)
        self._found.add(f"{key}.noise.weight", np.array([weight * unit(feature)], dtype=np.float32))

    def _mapping(self, w: Term) -> Term:
        """The mapping network, from the style back to the vector that it takes."""
        layers: list[tuple[float, Linear, np.ndarray | None]] = []
        while isinstance(w, LeakyRelu):
            what = f"the mapping network, {len(layers)} layers before its end,"
            layer = affine(Sum(w.axes, *activation(w, what)), what)
            layers.append(layer)
            w = layer[1].x
        if not isinstance(w, Times):
            raise GraphNotUnderstoodError(f"the mapping network starts with {name_of(w)}")
        for i, (factor, linear, bias) in enumerate(reversed(layers), start=1):
            self._found.linear(f"generator.style.{i}", (factor, linear), bias, lr_mul=0.01)
        unit(w)  # refuses another norm
        return w.x


def _share_of_noise(feature: Leaf, key: str) -> float:
    """How large a constant feature map is against the noise that our network takes in its place, which it must be."""
    array = feature.array
    drawn = level_noise(array.shape[0], array.shape[-1])[0].numpy()
    share = float(np.vdot(array, drawn) / np.vdot(drawn, drawn)) if array.shape == drawn.shape else 0.0
    slack = (1e-5 if is_exact(array) else 3e-3) * abs(share)
    if not share or not np.allclose(array, drawn * share, rtol=0, atol=slack):
        raise GraphNotUnderstoodError(f"{key} has noise of its own built in")
    return share


def demodulation(conv: Conv, style: Term, key: str) -> float:
    """q of rsqrt(q·sum((weight·style)²) + eps), by which the convolution must be multiplied, with its own weights."""
    norm = conv.outs[0]
    parts, epsilon = sum_of(norm.x) if isinstance(norm, Power) else ((), None)
    if not isinstance(norm, Power) or norm.exponent != -0.5 or len(parts) != 1:
        raise GraphNotUnderstoodError(f"{key} is scaled by {name_of(norm)} where GPEN demodulates")
    factor, inner = parts[0]
    if isinstance(inner, Total):  # the sum over squares of the modulated weights
        factor *= _own_share(conv, style, inner, key) ** 2
    elif isinstance(inner, Linear) and _is_square(inner.x, style):  # squares summed beforehand, times squared styles
        own = np.square(conv.weight.astype(np.float32)).sum(axis=(2, 3))
        ratio = float(inner.weight.sum(dtype=np.float64) / own.sum(dtype=np.float64))
        if own.shape != inner.weight.shape or not np.allclose(inner.weight, own * ratio, rtol=2e-3, atol=1e-12):
            raise GraphNotUnderstoodError(f"{key} is demodulated by other weights than its own")
        factor *= ratio
    else:
        raise GraphNotUnderstoodError(f"{key} is scaled by {name_of(inner)} where GPEN demodulates")
    if factor <= 0 or not small(epsilon, 1):
        raise GraphNotUnderstoodError(f"{key} is demodulated with an epsilon of its own")
    return factor


def _is_square(term: Term, of: Term) -> bool:
    return isinstance(term, Power) and term.exponent == 2 and term.x is of


def _own_share(conv: Conv, style: Term, total: Total, key: str) -> float:
    """How large the weights that are squared and summed are against the convolution's own, which they must be."""
    squared = total.x
    product = squared.x if isinstance(squared, Power) and squared.exponent == 2 else None
    if isinstance(product, Times) and product.factor is style and isinstance(product.x, Leaf):
        leaf, axis = product.x, product.axis
        if axis is not None and len(total.axes) == 1 and len(leaf.axes) == 4 and axis is not total.axes[0]:
            order = [leaf.axes.index(total.axes[0]), leaf.axes.index(axis)]
            array, own = leaf.array.transpose(order + [i for i in range(4) if i not in order]), conv.weight
            if array.__array_interface__["data"] == own.__array_interface__["data"] and array.strides == own.strides:
                return 1.0
            if array.shape == own.shape:
                share = float(np.vdot(array, own) / np.vdot(own, own))
                if np.allclose(array, own * share, rtol=1e-4 if is_exact(own) else 3e-3, atol=1e-6 * abs(share)):
                    return share
    raise GraphNotUnderstoodError(f"{key} is demodulated by other weights than its own")
