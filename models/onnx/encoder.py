"""GPEN's encoder in a graph: from its feature maps back to the image."""

from __future__ import annotations

from .matching import FoundWeights, activated, unit
from .terms import Conv, Source, Term, expect, require


def match_encoder(features: list[Term], z: Term, found: FoundWeights) -> None:
    """Find the encoder's weights.

    Args:
        features: the feature maps that the generator takes, of 4, 8, … in_size px.
        z: the vector that the mapping network takes.

    Raises:
        GraphNotUnderstoodError: it is another encoder.
    """
    smallest = found.add_linear("final_linear.0", activated(z, "the vector"))
    require(smallest is features[0], "the vector does not come from the smallest feature map")
    for k, feature in enumerate(reversed(features)):
        total = activated(feature, f"ecd{k}")
        ((factor, only),), bias = total.parts, total.bias
        conv = expect(only, Conv, f"ecd{k}")
        plain = not (conv.ins or conv.outs or conv.transposed or any(conv.pads))
        shape, below = (3, 3, 2) if k else (1, 1, 1), conv.x
        if k:
            below = found.add_kernel(f"ecd{k}.0.0.kernel", below, 1, (2, 2, 2, 2))
        above = below is features[len(features) - k] if k else isinstance(below, Source)
        right = plain and above and (*conv.weight.shape[2:], conv.stride) == shape
        require(right, f"ecd{k} is another convolution, or does not take the level above it")
        found.add_conv(f"ecd{k}.0.{min(k, 1)}.weight", conv.weight, factor * unit(below))
        found.add_bias(f"ecd{k}.0.{min(k, 1) + 1}.bias", bias, conv.weight.shape[:1])
