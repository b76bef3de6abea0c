"""Reading weight files: every wrapper comes off, everything else is refused in a sentence, and nothing in it runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.models import ModelFileError, ModelNotFoundError, load_gpen, read_metadata, read_state_dict
from gpen_pack.models.loading import read_gpen
from safetensors.torch import save_file

CONFIG = GPENConfig.standard(16, narrow=1 / 64, style_dim=16, mapping_layers=2)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return GPEN(CONFIG).state_dict()


def other(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights that can be told from the right ones."""
    return {key: torch.zeros_like(value) for key, value in state.items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def message(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        load_gpen(path)
    text = str(caught.value)
    assert path.name in text, "the file is named"
    assert "\n" not in text, "one sentence"
    assert text.endswith(".")
    return text


class RunsCode:
    """A pickle of it creates a file when it is loaded without care."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.victim),)


# ---------------------------------------------------------------- wrappers


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s, o: s,
        lambda s, o: OrderedDict(s),
        lambda s, o: {"g": o, "g_ema": s, "d": {"convs.0.0.weight": torch.ones(1)}, "g_optim": {"state": {0: 1}}},
        lambda s, o: {"g": s},
        lambda s, o: {"params": o, "params_ema": s},
        lambda s, o: {"params": s},
        lambda s, o: {"state_dict": s, "epoch": 3},
        lambda s, o: {f"module.{k}": v for k, v in s.items()},
        lambda s, o: {"g_ema": {f"module.{k}": v for k, v in s.items()}},
        lambda s, o: {"state_dict": {"g_ema": {f"module.{k}": v for k, v in s.items()}}, "lr": 0.1},
        lambda s, o: {"state_dict": {f"g.{k}": v for k, v in o.items()} | {f"g_ema.{k}": v for k, v in s.items()}},
        lambda s, o: {"model": {"params_ema": s}},
        lambda s, o: dict(s) | {"d.convs.0.0.weight": torch.zeros(2), "step": torch.tensor(7), "note": "hello"},
    ],
    ids=["plain", "ordered", "training", "g", "params_ema", "params", "state_dict", "module", "g_ema+module",
         "three deep", "prefixes", "model+params_ema", "extra keys"],
)  # fmt: skip
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_wrapper_comes_off(tmp_path: Path, state, wrap, zipped: bool) -> None:
    path = tmp_path / "model.pth"
    torch.save(wrap(state, other(state)), path, _use_new_zipfile_serialization=zipped)
    weights, config = read_gpen(path)
    assert config == CONFIG
    assert same(weights, state)


def test_safetensors_with_prefixes_and_metadata(tmp_path: Path, state) -> None:
    path = tmp_path / "model.safetensors"
    both = {f"g_ema.{k}": v for k, v in state.items()} | {f"g.{k}": v for k, v in other(state).items()}
    save_file(both, path, metadata={"template": "ffhq", "license": "CC0"})
    assert same(read_gpen(path)[0], state)
    restorer = load_gpen(path)
    assert restorer.template == "ffhq"
    assert read_metadata(path)["license"] == "CC0"


def test_the_content_decides_the_format(tmp_path: Path, state) -> None:
    disguised = tmp_path / "really.pth"
    save_file(dict(state), tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").rename(disguised)
    assert same(read_gpen(disguised)[0], state)
    assert load_gpen(disguised).config == CONFIG
    disguised = tmp_path / "really.onnx"
    torch.save(state, disguised)
    assert load_gpen(disguised).config == CONFIG


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float64])
def test_stored_precisions_load(tmp_path: Path, state, stored: torch.dtype) -> None:
    path = tmp_path / "half.safetensors"
    save_file({k: v.to(stored) for k, v in state.items()}, path)
    restorer = load_gpen(path)
    assert restorer.dtype == torch.float32
    torch.save({k: v.to(stored).float() for k, v in state.items()}, tmp_path / "wide.pth")
    crops = torch.rand(1, 16, 16, 3)
    assert torch.equal(restorer.restore(crops), load_gpen(tmp_path / "wide.pth").restore(crops))


def test_other_networks_can_be_read_too(tmp_path: Path) -> None:
    path = tmp_path / "landmarks.safetensors"
    save_file({"module.stem.weight": torch.ones(2, 3), "module.head.bias": torch.zeros(4)}, path)
    assert set(read_state_dict(path)) == {"stem.weight", "head.bias"}
    torch.save({"params": {"conv.weight": torch.ones(1)}}, tmp_path / "p.pth")
    assert set(read_state_dict(tmp_path / "p.pth")) == {"conv.weight"}
    torch.save({"model.0.weight": torch.ones(1), "model.2.weight": torch.ones(1)}, tmp_path / "sequential.pth")
    assert set(read_state_dict(tmp_path / "sequential.pth")) == {"model.0.weight", "model.2.weight"}


def test_the_loaded_weights_outlive_the_file(tmp_path: Path, state) -> None:
    for name in ("model.pth", "model.safetensors"):
        path = tmp_path / name
        torch.save(state, path) if name.endswith("pth") else save_file(dict(state), path)
        restorer = load_gpen(path)
        crops = torch.rand(1, 16, 16, 3)
        expected = restorer.restore(crops)
        with path.open("r+b") as file:  # in place, as a program that writes into the mapped file would
            file.write(b"\0" * path.stat().st_size)
        assert torch.equal(restorer.restore(crops), expected)


# ---------------------------------------------------------------- what is no model


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "web page"),
        (b"\xef\xbb\xbf  <html lang='zh'><head>", "web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 284085738\n", "git-lfs"),
        (b'{"error":"Repository not found"}', "error message"),
        (b"Not Found\n", "text file"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "PNG"),
        (b"GGUF" + b"\0" * 100, "GGUF"),
        (b"\x1f\x8b\x08" + b"\0" * 100, "gzip"),
        (bytes(range(256)) * 4, "neither"),
        (b"\0" * 4096, "neither"),
    ],
)
@pytest.mark.parametrize("extension", [".pth", ".safetensors"])
def test_what_is_no_model_is_named(tmp_path: Path, content: bytes, said: str, extension: str) -> None:
    path = tmp_path / f"GPEN-BFR-512{extension}"
    path.write_bytes(content)
    assert said in message(path)


def test_folders_and_missing_files(tmp_path: Path) -> None:
    assert "folder" in message(tmp_path)
    with pytest.raises(ModelNotFoundError):
        read_state_dict(tmp_path / "nothing.pth")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_truncated_files(tmp_path: Path, state, share: float) -> None:
    torch.save(state, tmp_path / "a.pth")
    torch.save(state, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    save_file(dict(state), tmp_path / "c.safetensors")
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        assert "truncated" in message(path), path.name


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "buffalo_l.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("det_10g.onnx", b"x")
    assert "det_10g.onnx" in message(path)


def test_a_program_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "scripted.pt"
    with zipfile.ZipFile(path, "w") as archive:  # the layout of torch.jit.save
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"scripted/{name}", b"")
    assert "TorchScript" in message(path)


@pytest.mark.parametrize("way", ["zip", "legacy", "pickle", "pickle5"])
def test_a_pickle_that_would_run_code(tmp_path: Path, state, way: str) -> None:
    victim = tmp_path / "ran"
    path = tmp_path / "GPEN-BFR-512.pth"
    content = dict(state) | {"extra": RunsCode(victim)}
    if way.startswith("pickle"):
        path.write_bytes(pickle.dumps(content, protocol=5 if way == "pickle5" else None))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=way == "zip")
    text = message(path)
    assert "would run code" in text
    assert "mkdir" in text
    assert not victim.exists(), "it was run"


def test_objects_are_refused_and_networks_among_them_recognised(tmp_path: Path, state) -> None:
    path = tmp_path / "object.pth"
    torch.save(torch.nn.Identity(), path)
    assert "torch.nn.modules.linear.Identity" in message(path)
    # a training checkpoint that holds more than tensors still tells by its strings what it is
    keys = ["vqvae.encoder.conv_in.weight", "vqvae.quantize.embedding.weight", "vqvae.decoder.conv_in.weight"]
    torch.save({"callbacks": np.float64(1), "state_dict": {key: torch.zeros(1) for key in keys}}, path)
    assert "RestoreFormer" in message(path)


def test_a_checkpoint_without_tensors(tmp_path: Path) -> None:
    path = tmp_path / "empty.pth"
    torch.save({"epoch": 3}, path)
    assert "no tensors" in message(path)


# ---------------------------------------------------------------- weights that are not a GPEN's


def test_missing_and_contradicting_keys_are_named(tmp_path: Path, state) -> None:
    path = tmp_path / "broken.pth"
    torch.save({k: v for k, v in state.items() if k != "generator.to_rgbs.1.bias"}, path)
    assert "generator.to_rgbs.1.bias" in message(path)
    torch.save({k: v for k, v in state.items() if not k.startswith("ecd")}, path)
    assert "ecd0.0.0.weight" in message(path)
    torch.save(dict(state) | {"generator.convs.0.conv.weight": torch.zeros(1, 8, 9, 3, 3)}, path)
    assert "generator.convs.0.conv.weight" in message(path)
    torch.save(dict(state) | {"generator.surprise": torch.zeros(1)}, path)
    assert "generator.surprise" in message(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, state, value: float, dtype: torch.dtype) -> None:
    path = tmp_path / "diverged.safetensors"
    broken = {k: v.to(dtype).clone() for k, v in state.items()}
    broken["generator.conv1.conv.weight"][0, 0, 0, 1, 1] = value
    save_file(broken, path)
    text = message(path)
    assert "generator.conv1.conv.weight holds 1 of" in text


def test_large_weights_are_finite(tmp_path: Path, state) -> None:
    path = tmp_path / "large.pth"
    large = dict(state) | {"final_linear.0.bias": torch.full((16,), 3e38)}  # their sum overflows, they do not
    torch.save(large, path)
    assert load_gpen(path).config == CONFIG


def test_quantised_weights(tmp_path: Path, state) -> None:
    path = tmp_path / "int8.pth"
    torch.save(dict(state) | {"generator.conv1.conv.weight": state["generator.conv1.conv.weight"].to(torch.int8)}, path)
    assert "int8" in message(path)


def test_a_safetensors_header_of_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    assert "damaged" in message(path)


def test_reading_leaves_no_handle(tmp_path: Path, state) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = tmp_path / "m.pth"
    path.write_bytes(buffer.getvalue())
    load_gpen(path)
    path.unlink()  # fails on Windows where a map is still open
    assert not path.exists()


def test_a_safetensors_header_of_the_wrong_form_is_damage(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":5}}'
    path = tmp_path / "odd.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ModelFileError, match=r"odd\.safetensors.*header is damaged"):
        read_state_dict(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tensors_elsewhere_in_a_checkpoint_do_no_harm(tmp_path: Path, state, zipped: bool) -> None:
    """Lists, parameters, shared storages and views, as optimizers and training programs leave them."""
    path = tmp_path / "training.pth"
    whole = torch.arange(24.0)
    extra = {"history": [torch.ones(3), (torch.zeros(2),)], "shape": torch.Size([1, 2]), "seen": {1, 2}}
    views = {"generator.a": whole[4:12].view(2, 4).t(), "generator.b": whole[::2], "generator.c": torch.empty(0)}
    parameters = {key: torch.nn.Parameter(value) for key, value in views.items()}
    torch.save({"g_ema": state, "optimizer": extra, "other": parameters}, path, _use_new_zipfile_serialization=zipped)
    assert same(read_gpen(path)[0], state)
    torch.save(views, path, _use_new_zipfile_serialization=zipped)
    assert same(read_state_dict(path), {key.removeprefix("generator."): value for key, value in views.items()})


def test_torch_load_is_never_called(tmp_path: Path, state, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("torch.load was called")

    for name, zipped in (("a.pth", True), ("b.pth", False)):
        torch.save(state, tmp_path / name, _use_new_zipfile_serialization=zipped)
    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    for name in ("a.pth", "b.pth"):
        assert same(read_gpen(tmp_path / name)[0], state)


def test_a_file_is_sniffed_once(tmp_path: Path, state, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpen_pack.models.files import formats

    path = tmp_path / "m.safetensors"
    save_file(dict(state), path)
    calls: list[Path] = []
    real = formats._by_content
    monkeypatch.setattr(formats, "_by_content", lambda path, *args: (calls.append(path), real(path, *args))[1])
    load_gpen(path)
    assert calls == [path]
