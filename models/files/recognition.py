"""Which network a checkpoint holds, by the names of its tensors: GPEN or one that is often mistaken for it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_OTHER_TOOL = "use it in the node or program it was made for, and give a GPEN-BFR file here"
_UPSCALER = "it upscales images: use it in ComfyUI's Upscale Image (using Model), and give a GPEN-BFR file here"

# keys that every GPEN has and no other network, behind any wrapper's prefix
GPEN_ANCHORS = ("generator.input.input", "ecd0.0.0.weight", "generator.conv1.conv.weight", "generator.style.1.weight")
_GPEN_NAMES = r"generator\.(?:input\.input|conv1\.conv|convs\.0\.|to_rgbs\.0\.)|ecd0\.0\.0|ecd1\.0\.1"


@dataclass(frozen=True)
class ForeignNetwork:
    """A network that is not GPEN's generator.

    Args:
        name: its name, with an article.
        patterns: regular expressions, each of which must match the start of some name (behind any prefix).
        remedy: what to do with it.
    """

    name: str
    patterns: tuple[str, ...]
    remedy: str = _OTHER_TOOL


# in this order: a network that contains another one comes before it
FOREIGN: tuple[ForeignNetwork, ...] = (
    ForeignNetwork("a GFPGAN checkpoint", (r"stylegan_decoder",)),
    ForeignNetwork("a CodeFormer checkpoint", (r"position_emb\b", r"ft_layers\.0\.")),
    ForeignNetwork("a CodeFormer or other codebook checkpoint", (r"idx_pred_layer\.", r"quantize\.")),
    ForeignNetwork("a RestoreFormer (or other VQGAN) checkpoint", (r"encoder\.conv_in\.", r"quantize\.embedding")),
    ForeignNetwork(
        "a Stable Diffusion or similar diffusion checkpoint",
        (r"model\.diffusion_model\.|diffusion_model\.|double_blocks\.0\.|transformer_blocks\.0\.|down_blocks\.0\.",),
        "load it with ComfyUI's checkpoint loader, and give a GPEN-BFR file here",
    ),
    ForeignNetwork("an image VAE", (r"encoder\.conv_in\.", r"decoder\.conv_out\.")),
    ForeignNetwork("a LoRA", (r"[^.\n]*lora_(?:up|down|A|B)\b",), "load it with ComfyUI's LoRA loader"),
    ForeignNetwork(
        "a RealESRGAN or ESRGAN upscaler",
        (r"conv_first\.|model\.0\.weight", r"(?:body|RRDB_trunk)\.0\.(?:rdb|RDB)1\.|model\.1\.sub\.0\.RDB1\."),
        _UPSCALER,
    ),
    ForeignNetwork("an SwinIR-like upscaler", (r"layers\.0\.residual_group\.",), _UPSCALER),
    ForeignNetwork("a RetinaFace detector", (r"BboxHead\.0\.|ClassHead\.0\.",)),
    ForeignNetwork("a face parsing network (ParseNet)", (r"out_mask_conv\.",)),
    ForeignNetwork("a face parsing network (BiSeNet)", (r"ffm\.convblk\.|cp\.resnet\.",)),
    ForeignNetwork("a face recognition network (ArcFace)", (r"input_layer\.0\.", r"body\.0\.", r"output_layer\.")),
    ForeignNetwork("a StyleGAN2 generator without GPEN's encoder", (r"input\.input\b", r"to_rgb1\.|to_rgbs\.")),
    ForeignNetwork(
        "a GPEN discriminator (a -D file), needed for training only",
        (r"convs\.\d+\.conv1\.", r"final_(?:linear|conv)\."),
        "give the file of the same name without -D",
    ),
    ForeignNetwork("a StyleGAN2 or StyleGAN3 generator of NVIDIA", (r"synthesis\.", r"mapping\.(?:fc0|w_avg|dense0)")),
    ForeignNetwork(
        "a RealESRGAN compact upscaler (SRVGG)",
        (r"body\.0\.weight", r"body\.1\.weight", r"body\.2\.weight"),
        _UPSCALER,
    ),
)


def has_gpen_names(names: Iterable[str]) -> bool:
    """Whether some of the names belong to GPEN's generator alone."""
    return _contains("\n".join(names), _GPEN_NAMES)


def recognise_foreign(names: Iterable[str]) -> ForeignNetwork | None:
    """Which known network other than GPEN these tensor names belong to, if any.

    Args:
        names: state-dict keys, or names from an ONNX graph; a prefix (`params_ema.`, `module.`) does not matter.
    """
    text = "\n".join(names)
    if _contains(text, _GPEN_NAMES):
        return None
    for network in FOREIGN:
        if all(_contains(text, pattern) for pattern in network.patterns):
            return network
    return None


def _contains(lines: str, pattern: str) -> bool:
    return re.search(rf"^(?:[^\n]*\.)?(?:{pattern})", lines, re.MULTILINE) is not None
