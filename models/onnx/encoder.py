"""GPEN's encoder in the meaning of an ONNX graph: from its feature maps back to the picture."""

from __future__ import annotations

from ..errors import GraphNotUnderstoodError
from .matching import Found, activation, affine, equaliser, kernel_of, name_of, unit
from .terms import Conv, Fir, LeakyRelu, Source, Sum, Term


def match_encoder(features: list[Term], z: Term, found: Found) -> None:
    """Find the encoder's weights.

    Args:
        features: the feature maps that the generator takes, of 4, 8, … in_size px.
        z: the vector that the mapping network takes.

    Raises:
        GraphNotUnderstoodError: it is another encoder.
    """
    (factor, linear, bias) = affine(Sum(z.axes, *activation(z, "the vector")), "the vector")
    if linear.x is not features[0]:
        raise GraphNotUnderstoodError("the vector does not come from the smallest feature map")
    found.linear("final_linear.0", (factor, linear), bias)
    for k, feature in enumerate(reversed(features)):
        parts, bias = activation(feature, f"encoder level {k}")
        factor, conv = parts[0]
        if len(parts) != 1 or not isinstance(conv, Conv) or conv.ins or conv.outs or conv.transposed:
            raise GraphNotUnderstoodError(f"encoder level {k} is no convolution but {name_of(conv)}")
        size, below = conv.weight.shape[2:], conv.x
        if k == 0:
            name, right = "ecd0.0.0", size == (1, 1) and conv.stride == 1 and isinstance(below, Source)
        else:
            if not isinstance(below, Fir):
                raise GraphNotUnderstoodError(f"encoder level {k} is not blurred before it is halved")
            found.add(f"ecd{k}.0.0.kernel", kernel_of(below, 1, (2, 2, 2, 2), 1, f"encoder level {k}"))
            above = features[len(features) - k]
            name, right = f"ecd{k}.0.1", size == (3, 3) and conv.stride == 2 and below.x is above
            below = below.x
        if not right or any(conv.pads):
            raise GraphNotUnderstoodError(f"encoder level {k} does not take the level above it")
        assert isinstance(below, (Source, LeakyRelu))
        found.add(f"{name}.weight", conv.weight, factor * unit(below) / equaliser(conv.weight))
        found.bias(f"ecd{k}.0.{1 if k == 0 else 2}.bias", bias, conv.weight.shape[0])
