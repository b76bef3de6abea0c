"""Initialisation that saves a thousand steps: an untrained GPEN that returns its input, slightly sharpened."""

from __future__ import annotations

import math

import torch

from ..gpen_arch import GPEN, ConfigError, GPENConfig

# sqrt(2)·lrelu(x) - sqrt(2)·lrelu(-x) = 1.2·sqrt(2)·x at slope 0.2: what the next convolution reads from a pair
_ENCODED = 1.2 * math.sqrt(2)
# after the decoder's own leaky ReLU the difference is 2·(1 + 0.2²)·x
_DECODED = 2 * (1 + 0.2**2)


@torch.no_grad()
def start_as_copy(net: GPEN, *, sharpen: tuple[float, ...] = (1.0, 0.5), residual: float = 0.0) -> None:
    """Initialise ``net`` in place so that it returns its input with its finest bands amplified.

    Published training starts from a pretrained StyleGAN2, which a small budget cannot afford. The feature maps that
    replace the noise reach the RGB layers unfiltered. Six channels of the encoder's upper levels carry the picture
    (each colour and its negative, so that leaky ReLUs lose nothing), blurred and downscaled by 2 from level to level;
    the RGB layers combine the levels as a Laplacian pyramid. Training starts from an unsharp mask and learns the
    correction.

    Args:
        net: newly built, with random weights. A network with fewer than six channels at full size, with added
            features, or with a larger output than input keeps its random RGB layers.
        sharpen: amplification of the finest band, the next coarser one, …; empty: a plain copy. Levels with fewer
            than six channels or below 8 px are not amplified.
        residual: scale of the other RGB weights. With random features in the copy, training would first suppress
            them level by level, permanently.
    """
    config = net.config
    for name, parameter in net.named_parameters():
        if name.endswith("noise.weight"):
            parameter.fill_(1)  # with zero the decoder would not see the encoder at first
        if ".conv.modulation.weight" in name:
            parameter.mul_(0.25)  # styles start close to one, so the copy holds for every face
        if "to_rgb" in name and name.endswith("conv.weight"):
            parameter.mul_(residual)
    sizes = [size for size in reversed(config.levels[1:]) if config.channels_at(size) >= 6]
    if config.in_size != config.out_size or not config.concat or config.in_size not in sizes:
        return
    sharpen = tuple(sharpen)[: len(sizes) - 1]
    gains = [above - below for above, below in zip((*sharpen, 0.0), (-1.0, *sharpen), strict=True)]
    for k, gain in enumerate(gains):
        _carry(net, k)
        _show(net, sizes[k], gain)


def _carry(net: GPEN, k: int) -> None:
    """Let the first six channels of encoder level k carry the picture's colours and their negatives."""
    weight = net.get_parameter(f"ecd{k}.0.{min(k, 1)}.weight")
    middle = weight.shape[-1] // 2
    scale = 1 / math.sqrt(weight[0].numel())  # the equalised learning rate
    weight[:6] = 0
    for colour in range(3):
        for channel, sign in ((2 * colour, 1), (2 * colour + 1, -1)):
            if k == 0:
                weight[channel, colour, middle, middle] = sign / scale
            else:
                weight[channel, 2 * colour, middle, middle] = sign / (_ENCODED * scale)
                weight[channel, 2 * colour + 1, middle, middle] = -sign / (_ENCODED * scale)


def _show(net: GPEN, size: int, gain: float) -> None:
    """Let the RGB layer of a level add ``gain`` times the picture that its features carry."""
    channels = net.config.channels_at(size)
    layer = f"generator.to_rgbs.{net.config.levels.index(size) - 1}.conv"
    weight = net.get_parameter(f"{layer}.weight")
    scale = 1 / math.sqrt(2 * channels)
    weight[0, :, channels : channels + 6] = 0
    net.get_parameter(f"{layer}.modulation.weight")[channels : channels + 6] = 0
    for colour in range(3):
        for channel, sign in ((2 * colour, 1), (2 * colour + 1, -1)):
            weight[0, colour, channels + channel] = gain * sign / (_DECODED * scale)


def compact_config(size: int, narrow: float, channel_multiplier: float, style_dim: int, mapping: int) -> GPENConfig:
    """A config with the published channel table at these widths."""
    return GPENConfig.standard(
        size, channel_multiplier=channel_multiplier, narrow=narrow, style_dim=style_dim, mapping_layers=mapping
    )


@torch.no_grad()
def take_over(net: GPEN, state_dict: dict[str, torch.Tensor]) -> tuple[int, list[str]]:
    """Copy every fitting tensor of another GPEN into ``net``, in place; the rest is unchanged.

    A model of the same shape is copied completely. When a 128 px model is grown to 256 px, its decoder and mapping are
    copied, and its encoder is shifted by one level: level k of the small one sees what level k+1 of the large one sees.

    Returns:
        The number of copied tensors, and the names of the tensors of ``net`` that were not set.

    Raises:
        ConfigError: ``state_dict`` is not that of a GPEN, or is of another width or a larger size.
    """
    own = net.state_dict()
    source = dict(state_dict)
    theirs = GPENConfig.from_state_dict(state_dict)
    levels = int(math.log2(net.config.in_size)) - int(math.log2(theirs.in_size))
    if levels < 0:
        raise ConfigError(
            f"expected weights of at most {net.config.in_size} px to start from, got {theirs.in_size} px: "
            "a network can grow, never shrink"
        )
    if levels > 0:
        source = {_moved(key, levels): value for key, value in source.items()}
        count = len(net.config.levels) - 1
        for i in range(count - levels, count):
            # the level below already outputs the whole picture
            net.get_parameter(f"generator.to_rgbs.{i}.conv.weight").zero_()
    if any(key in own and own[key].shape != value.shape for key, value in source.items() if key[:5] != "ecd0."):
        raise ConfigError(
            f"the weights to start from have another width: use --narrow {theirs.narrow:g} --channel-multiplier "
            f"{theirs.channel_multiplier or 1:g} --style-dim {theirs.style_dim} --mapping {theirs.mapping_layers}"
        )
    taken = [key for key, value in source.items() if key in own and own[key].shape == value.shape]
    for key in taken:
        own[key].copy_(source[key])
    return len(taken), sorted(set(own) - set(taken))


def _moved(key: str, levels: int) -> str:
    if not key.startswith("ecd") or key.startswith("ecd0."):  # the stem fits by its shape or not at all
        return key
    level, rest = key[3:].split(".", 1)
    return f"ecd{int(level) + levels}.{rest}"
