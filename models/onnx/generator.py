"""GPEN's generator in a graph: from the output image back to the style and to the feature maps."""

from __future__ import annotations

import numpy as np

from ...gpen_arch import level_noise
from .matching import FoundWeights, activated, is_close, is_small, tolerance, unit
from .terms import (
    Concat,
    Conv,
    Fir,
    Leaf,
    LeakyRelu,
    Linear,
    Noise,
    Power,
    Sym,
    Term,
    Times,
    Total,
    expect,
    parts_of,
    require,
)  # fmt: skip


class Generator:
    """The generator's weights, put into `found`. Its methods raise GraphNotUnderstoodError for another generator."""

    def __init__(self, found: FoundWeights) -> None:
        self._found = found
        self._style: Term | None = None
        self._features: list[Term] = []

    def match(self, output: Sym) -> tuple[list[Term], Term]:
        """Find the weights behind what the graph gives, [1,3,S,S].

        Returns:
            The feature maps that the encoder must give, of 4, 8, … in_size px, and the vector that the mapping takes.
        """
        images = self._image_chain(output)
        below = self._layer(images[0], "generator.conv1")
        for i, (image, lower) in enumerate(zip(images[1:], images[:-1], strict=True)):
            middle = self._layer(image, f"generator.convs.{2 * i + 1}")
            start = self._layer(middle, f"generator.convs.{2 * i}", up=True)
            require(start is lower, f"the level of {image.axes[1].size} px does not take the level below it")
        expect(below, Leaf, "what the generator starts from")
        given: list[Term] = [feature for feature in self._features if isinstance(feature, LeakyRelu)]
        require(given and self._features[: len(given)] == given, "noise takes the place of a small feature map")
        return given, self._mapping()

    def _image_chain(self, output: Sym) -> list[Term]:
        """The activations that become RGB images, the smallest first."""
        require(is_close(output.factor, 1) and len(output.term.axes) == 3, "its output is scaled, or is no image")
        chain: list[tuple[float, Conv, np.ndarray | None, Term | None]] = []
        image: Term | None = output.term
        while image is not None:
            parts, bias = parts_of(image)
            (factor, only), *lower = sorted(parts, key=lambda part: isinstance(part[1], Fir))
            conv = expect(only, Conv, "an RGB image")
            require(not lower or is_close(lower[0][0], 4, conv.weight), "the image of the level below is scaled")
            require(len(lower) < 2, "an RGB image is a sum of more than two")
            chain.append((factor, conv, bias, lower[0][1] if lower else None))
            image = expect(lower[0][1], Fir, "the image of the level below").x if lower else None
        for i, (factor, conv, bias, lower) in enumerate(reversed(chain)):
            key = "generator.to_rgb1" if i == 0 else f"generator.to_rgbs.{i - 1}"
            plain = conv.weight.shape[2:] == (1, 1) and conv.stride == 1 and not (any(conv.pads) or conv.transposed)
            require(plain and not conv.outs, f"{key} is another convolution")
            if lower is not None:
                self._found.add_kernel(f"{key}.upsample.kernel", lower, 4, (2, 1, 2, 1), up=2)
            self._found.add_conv(f"{key}.conv.weight", conv.weight[None], factor * unit(conv.x))
            self._modulation(conv, key)
            self._found.add_bias(f"{key}.bias", bias, (1, 3, 1, 1))
        return [conv.x for _, conv, _, _ in reversed(chain)]

    def _modulation(self, conv: Conv, key: str) -> Term:
        """The vector that scales a convolution's input channels, after its linear layer has been found."""
        require(len(conv.ins) == 1, f"{key} is modulated {len(conv.ins)} times")
        style = self._found.add_linear(f"{key}.conv.modulation", conv.ins[0])
        require(self._style in (None, style), f"{key} takes another style than the others")
        self._style = style
        return conv.ins[0]

    def _layer(self, term: Term, key: str, *, up: bool = False) -> Term:
        """Match a modulated convolution, its feature map and activation; returns what the convolution takes.

        Args:
            up: whether the layer upsamples; its feature map is then that of the layer matched before.
        """
        total = activated(term, key)
        parts = total.parts
        if isinstance(joined := parts[0][1], Concat):
            parts = tuple((parts[0][0] * factor, part) for factor, part in joined.parts) + parts[1:]
        elif not isinstance(joined, (Conv, Fir)):
            parts = parts[::-1]
        require(len(parts) == 2, f"{key} has no feature map beside its convolution")
        (factor, conv), (weight, feature) = parts
        self._found.add_bias(f"{key}.activate.bias", total.bias, (term.axes[0].size,))
        if up:
            factor, conv = factor / 4, self._found.add_kernel(f"{key}.conv.blur.kernel", conv, 4, (1, 1, 1, 1))
        conv = expect(conv, Conv, key)
        settings = (True, 2, (0, 0, 0, 0)) if up else (False, 1, (1, 1, 1, 1))
        plain = (conv.transposed, conv.stride, conv.pads) == settings and conv.weight.shape[2:] == (3, 3)
        require(plain and len(conv.outs) == 1, f"{key} is no modulated and demodulated 3×3 convolution")
        root = _demodulation(conv, self._modulation(conv, key), key) ** 0.5
        self._found.add_conv(f"{key}.conv.weight", conv.weight[None], root)
        rest = factor / root * unit(conv.x)  # what is neither in the weights nor in the demodulation
        if isinstance(conv.x, Leaf) and not up and conv.x.array.ndim == 3:
            self._found.add("generator.input.input", conv.x.array[None], rest)
        else:
            require(is_close(rest, 1, conv.weight), f"{key} is {rest:g} times as strong as GPEN's")
        self._inject(feature, weight, key, again=up)
        return conv.x

    def _inject(self, feature: Term, weight: float, key: str, *, again: bool) -> None:
        """The feature map beside a convolution; `again`: it must be the one that was matched last."""
        if isinstance(feature, Leaf):
            weight, feature = weight * _share_of_noise(feature, key), Noise(feature.axes)
        require(isinstance(feature, (Noise, LeakyRelu)), f"{key} takes {feature} in place of a feature map")
        if not again:
            self._features.append(feature)
        last = self._features[-1]
        same = feature is last or (isinstance(feature, Noise) and isinstance(last, Noise))
        require(same, f"{key} takes another feature map than the other layer of its size")
        self._found.add(f"{key}.noise.weight", np.array([weight * unit(feature)], dtype=np.float32))

    def _mapping(self) -> Term:
        """The mapping network, from the style back to the vector that it takes."""
        layers, w = [], self._style
        while isinstance(w, LeakyRelu):
            layers.append(activated(w, "the mapping network"))
            w = expect(layers[-1].parts[0][1], Linear, "the mapping network").x
        for i, layer in enumerate(reversed(layers), start=1):
            self._found.add_linear(f"generator.style.{i}", layer, lr_mul=0.01)
        norm = expect(w, Times, "the start of the mapping network")
        unit(norm)  # refuses another norm
        return norm.x


def _share_of_noise(feature: Leaf, key: str) -> float:
    """The factor between a constant feature map and the noise that our network has in its place."""
    channels, side, _ = feature.array.shape
    drawn = level_noise(channels, side)[0].numpy()
    share = float(np.vdot(feature.array, drawn) / np.vdot(drawn, drawn))
    slack = tolerance(feature.array, 1e-5) * abs(share)
    require(share and np.allclose(feature.array, drawn * share, rtol=0, atol=slack), f"{key} has noise of its own")
    return share


def _demodulation(conv: Conv, style: Term, key: str) -> float:
    """q of rsqrt(q·sum((weight·style)²) + eps), which must scale the output channels, with the weights of `conv`."""
    norm = expect(conv.outs[0], Power, f"{key}'s demodulation")
    ((factor, inner),), epsilon = parts_of(norm.x)
    if isinstance(inner, Linear):  # squares summed before, times squared styles
        styles, own = expect(inner.x, Power, f"{key}'s demodulation"), np.square(conv.weight.astype(np.float32))
        own = own.sum(axis=(2, 3))
        ratio = float(inner.weight.sum(dtype=np.float64) / own.sum(dtype=np.float64))
        same = (styles.exponent, styles.x) == (2, style) and own.shape == inner.weight.shape
        same = same and np.allclose(inner.weight, own * ratio, rtol=2e-3, atol=1e-12)
    else:  # squares of the modulated weights, summed
        share = _own_share(conv, style, expect(inner, Total, f"{key}'s demodulation"))
        ratio, same = share**2, share != 0
    require(same, f"{key} is demodulated by other weights or styles than its own")
    factor *= ratio
    require(norm.exponent == -0.5 and factor > 0 and is_small(epsilon, 1), f"{key} is demodulated in another way")
    return factor


def _own_share(conv: Conv, style: Term, total: Total) -> float:
    """The factor between the weights that are squared and summed, and the convolution's; 0 where they are others."""
    squared, own = expect(total.x, Power, "the demodulation"), conv.weight
    product = expect(squared.x, Times, "the demodulation")
    leaf, axis = expect(product.x, Leaf, "the demodulated weight"), product.axis
    if squared.exponent != 2 or product.factor is not style or axis is None or axis in total.axes:
        return 0.0
    order = [leaf.axes.index(total.axes[0]), leaf.axes.index(axis)]
    array = leaf.array.transpose(order + [i for i in range(4) if i not in order])
    if len(total.axes) != 1 or array.shape != own.shape:
        return 0.0
    if array.__array_interface__["data"] == own.__array_interface__["data"] and array.strides == own.strides:
        return 1.0
    share = float(np.vdot(array, own) / np.vdot(own, own))
    return share if np.allclose(array, own * share, rtol=tolerance(own, 1e-4), atol=1e-6 * abs(share)) else 0.0
