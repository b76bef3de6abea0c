"""Checkpoints of other networks are recognised by their keys, with and without wrappers, and named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gpen_pack.models import ModelFileError, load_gpen
from gpen_pack.models.files.recognition import has_gpen_names, recognise_foreign

# a handful of real keys of each, as their projects publish them
NETWORKS = {
    "GFPGAN": [
        "conv_body_first.weight", "conv_body_down.0.conv1.weight", "final_linear.weight", "final_conv.weight",
        "stylegan_decoder.style_mlp.1.weight", "stylegan_decoder.constant_input.weight", "toRGB.0.weight",
    ],
    "GFPGAN (original)": [
        "conv_body_first.0.weight", "conv_body_first.1.bias", "final_conv.0.weight",
        "stylegan_decoder.style_mlp.1.weight", "stylegan_decoder.style_conv1.modulated_conv.weight",
    ],
    "CodeFormer": [
        "position_emb", "feat_emb.weight", "ft_layers.0.self_attn.in_proj_weight", "idx_pred_layer.1.weight",
        "quantize.embedding.weight", "encoder.blocks.0.weight", "fuse_convs_dict.256.scale.0.weight",
    ],
    "RestoreFormer": [
        "encoder.conv_in.weight", "encoder.down.0.block.0.norm1.weight", "decoder.conv_in.weight",
        "decoder.mid.attn_1.q.weight", "quantize.embedding.weight", "quant_conv.weight",
    ],
    "RestoreFormer++": ["vqvae.encoder.conv_in.weight", "vqvae.decoder.up.0.attn.0.q.weight",
                        "vqvae.quantize.embedding.weight"],
    "RealESRGAN": ["conv_first.weight", "body.0.rdb1.conv1.weight", "conv_body.weight", "conv_up1.weight"],
    "ESRGAN (old)": ["model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight", "model.3.weight"],
    "ESRGAN (trunk)": ["conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight", "trunk_conv.weight"],
    "SRVGG": [f"body.{i}.weight" for i in range(6)],
    "SwinIR": ["conv_first.weight", "layers.0.residual_group.blocks.0.norm1.weight"],
    "discriminator": [
        "convs.0.0.weight", "convs.0.1.bias", "convs.1.conv1.0.weight", "convs.1.conv2.0.kernel",
        "convs.1.skip.1.weight", "final_conv.0.weight", "final_linear.0.weight", "final_linear.1.weight",
    ],
    "StyleGAN2": ["style.1.weight", "input.input", "conv1.conv.weight", "to_rgb1.bias", "convs.0.conv.weight",
                  "noises.noise_0"],
    "NVIDIA": ["mapping.fc0.weight", "synthesis.b4.const", "synthesis.b4.conv1.weight"],
    "Stable Diffusion": ["model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.encoder.conv_in.weight"],
    "LoRA": ["lora_unet_down_blocks_0.lora_up.weight", "lora_unet_down_blocks_0.lora_down.weight"],
    "RetinaFace": ["body.conv1.weight", "fpn.output1.0.weight", "BboxHead.0.conv1x1.bias"],
    "ParseNet": ["encoder.0.conv2d.weight", "out_mask_conv.conv2d.weight"],
}  # fmt: skip
SAID = {"GFPGAN (original)": "GFPGAN", "RestoreFormer++": "RestoreFormer", "ESRGAN (old)": "ESRGAN",
        "ESRGAN (trunk)": "ESRGAN"}  # fmt: skip


@pytest.mark.parametrize("wrapper", ["", "params_ema", "g_ema", "state_dict", "module."])
@pytest.mark.parametrize("network", NETWORKS)
def test_other_networks_are_named(tmp_path: Path, network: str, wrapper: str) -> None:
    path = tmp_path / "GPEN-BFR-512.pth"
    weights = {key: torch.zeros(1) for key in NETWORKS[network]}
    if wrapper.endswith("."):
        torch.save({wrapper + key: value for key, value in weights.items()}, path)
    else:
        torch.save({wrapper: weights} if wrapper else weights, path)
    with pytest.raises(ModelFileError) as caught:
        load_gpen(path)
    text = str(caught.value)
    assert SAID.get(network, network) in text
    assert path.name in text
    assert ";" in text, "it says what to do"


def test_a_discriminator_beside_a_training_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "d.pth"
    torch.save({"d": {key: torch.zeros(1) for key in NETWORKS["discriminator"]}, "d_optim": {}}, path)
    with pytest.raises(ModelFileError, match="discriminator"):
        load_gpen(path)


def test_unknown_networks_are_refused_with_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "what.pth"
    torch.save({"trunk.weight": torch.zeros(1), "head.bias": torch.zeros(1)}, path)
    with pytest.raises(ModelFileError, match=r"unknown network.*trunk\.weight"):
        load_gpen(path)


def test_gpen_is_no_foreigner() -> None:
    keys = ["ecd0.0.0.weight", "final_linear.0.weight", "generator.input.input", "generator.convs.0.conv.weight"]
    assert recognise_foreign(keys) is None
    assert has_gpen_names(keys)
    assert recognise_foreign([*keys, *NETWORKS["discriminator"]]) is None, "a training checkpoint"
    assert not has_gpen_names(NETWORKS["GFPGAN"])
    assert recognise_foreign(["conv.weight"]) is None
