"""Names, folders and the catalogue."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gpen_pack.models import (
    CATALOGUE,
    ModelNotFoundError,
    find_entry,
    find_model_files,
    load_gpen,
    resolve_model,
    search,
)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Our own models folder is an empty one, whatever the developer keeps in the real one."""
    own = tmp_path / "own" / "models"
    own.mkdir(parents=True)
    monkeypatch.setattr(search, "OWN_FOLDER", own)
    return own


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_names_paths_and_case(tmp_path: Path, own_folder: Path) -> None:
    folder = tmp_path / "gpen"
    model = touch(folder / "GPEN-BFR-512.pth")
    nested = touch(folder / "sub" / "Other.safetensors")
    own = touch(own_folder / "mine.onnx")
    assert resolve_model(model) == model
    assert resolve_model(str(model), [folder]) == model
    for name in ("GPEN-BFR-512.pth", "gpen-bfr-512.PTH", "GPEN-BFR-512"):
        assert resolve_model(name, [folder]) == model
    for name in ("sub/Other.safetensors", "Other.safetensors", "other", "sub/other"):
        assert resolve_model(name, [folder]) == nested
    assert resolve_model("mine", [folder]) == own


def test_the_exact_name_wins_and_folders_come_in_order(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    touch(first / "GPEN-BFR-512.onnx")
    exact = touch(second / "GPEN-BFR-512.pth")
    assert resolve_model("GPEN-BFR-512.pth", [first, second]) == exact
    twin = touch(first / "GPEN-BFR-512.pth")
    assert resolve_model("GPEN-BFR-512.pth", [first, second]) == twin
    assert resolve_model("GPEN-BFR-512", [first]) == twin, "of one stem, the weights before the graph"


def test_a_file_with_dots_in_its_name(tmp_path: Path) -> None:
    model = touch(tmp_path / "gpen.v1.2.safetensors")
    assert resolve_model("gpen.v1.2", [tmp_path]) == model


def test_a_missing_model_says_where_and_what_and_how(tmp_path: Path) -> None:
    folder = tmp_path / "gpen"
    touch(folder / "GPEN-BFR-512.pth")
    with pytest.raises(ModelNotFoundError) as caught:
        load_gpen("GPEN-BFR-2048.pth", folders=[folder])
    text = str(caught.value)
    assert str(folder) in text
    assert "GPEN-BFR-512.pth" in text
    assert "models download GPEN-BFR-2048.pth" in text
    assert caught.value.near == ("GPEN-BFR-512.pth",)
    with pytest.raises(ModelNotFoundError, match="models list"):
        load_gpen("nothing at all", folders=[folder])
    with pytest.raises(ModelNotFoundError):
        load_gpen(tmp_path / "no" / "such.pth")


def test_listing(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "gpen", tmp_path / "facerestore_models"
    touch(ours / "b.pth")
    touch(ours / "A.onnx")
    touch(ours / "notes.txt")
    touch(ours / "half.pth.part")
    touch(ours / "deep" / "er" / "c.safetensors")
    touch(theirs / "GFPGANv1.4.pth")
    touch(theirs / "GPEN-BFR-512.onnx")
    files = find_model_files([ours, ours, tmp_path / "missing"], [theirs])
    assert [file.name for file in files] == ["A.onnx", "b.pth", "deep/er/c.safetensors", "GPEN-BFR-512.onnx"]
    assert files[2].folder == ours
    assert files[2].path == ours / "deep" / "er" / "c.safetensors"
    assert not (tmp_path / "missing").exists(), "nothing is made"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_links_in_a_circle_and_twice(tmp_path: Path) -> None:
    touch(tmp_path / "gpen" / "a.pth")
    (tmp_path / "gpen" / "again").symlink_to(tmp_path / "gpen")
    elsewhere = touch(tmp_path / "big disk" / "b.pth")
    (tmp_path / "gpen" / "linked").symlink_to(elsewhere.parent)
    assert [f.name for f in find_model_files([tmp_path / "gpen"])] == ["a.pth", "linked/b.pth"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_dangling_link_is_no_model(tmp_path: Path) -> None:
    touch(tmp_path / "gpen" / "a.pth")
    link = tmp_path / "gpen" / "gone.pth"
    link.symlink_to(tmp_path / "unplugged" / "gone.pth")
    loop = tmp_path / "gpen" / "loop.pth"
    loop.symlink_to(loop)
    assert [f.name for f in find_model_files([tmp_path / "gpen"])] == ["a.pth"]
    for wanted in (link, str(link), "gone", "gone.pth"):
        with pytest.raises(ModelNotFoundError, match="no such model file"):
            load_gpen(wanted, folders=[tmp_path / "gpen"])


def test_our_detectors_weights_are_no_models(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built_in = touch(own_folder / "builtin" / "landmarks.safetensors")
    monkeypatch.setattr(search, "BUILTIN_PATH", built_in.parent / "gpen-compact-256.safetensors")
    touch(own_folder / "GPEN.pth")
    assert [file.name for file in find_model_files()] == ["GPEN.pth"]


def test_inside_of_comfyui_its_folders_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = tmp_path / "ComfyUI" / "custom_nodes" / "a-pack" / "models"
    pack.mkdir(parents=True)
    monkeypatch.setattr(search, "OWN_FOLDER", pack)
    models = tmp_path / "ComfyUI" / "models"
    assert search.default_folders() == (pack, models / "gpen")
    assert search.download_folder() == models / "gpen"
    model = touch(models / "gpen" / "GPEN-BFR-512.pth")
    reactor = touch(models / "facerestore_models" / "GPEN-BFR-1024.onnx")
    touch(models / "facerestore_models" / "codeformer.pth")
    assert resolve_model("GPEN-BFR-512") == model
    assert resolve_model("GPEN-BFR-1024") == reactor
    with pytest.raises(ModelNotFoundError):
        resolve_model("codeformer")


# ---------------------------------------------------------------- the catalogue


def test_the_catalogue_is_consistent() -> None:
    assert len({entry.name for entry in CATALOGUE}) == len(CATALOGUE)
    assert len({entry.filename for entry in CATALOGUE}) == len(CATALOGUE)
    hashes = [entry.sha256 for entry in CATALOGUE if entry.sha256]
    assert len(set(hashes)) == len(hashes) == 11
    for entry in CATALOGUE:
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
        assert (entry.bytes is None) == (entry.sha256 is None)
        assert entry.licence
        assert entry.origin
        assert all(url.startswith("https://") for url in entry.urls)
        assert len(set(entry.urls)) == len(entry.urls) >= 1
        assert (entry.out_size in (256, 512, 1024, 2048)) == (entry.kind != "detector")
        if entry.out_size:
            assert str(entry.out_size) in entry.name
            assert "non-commercial" in entry.licence


def test_entries_are_found_by_name() -> None:
    assert find_entry("gpen-bfr-2048.ONNX").out_size == 2048
    assert find_entry("GPEN-BFR-512").sha256, "without an extension, one that can be checked"
    assert find_entry("gpen_bfr_512").origin.startswith("facefusion")
    assert find_entry("nothing") is None


def test_importing_is_light_and_leaves_nothing(tmp_path: Path, root: Path) -> None:
    program = f"""
import importlib.machinery, importlib.util, sys
spec = importlib.machinery.ModuleSpec("p", None, is_package=True)
spec.submodule_search_locations = [{str(root)!r}]
sys.modules["p"] = importlib.util.module_from_spec(spec)
import p.models
heavy = [m for m in ("onnxruntime", "onnx", "safetensors", "insightface", "cv2") if m in sys.modules]
assert not heavy, heavy
"""
    environment = dict(os.environ) | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-B", "-c", program], check=True, cwd=tmp_path, env=environment)
    assert list(tmp_path.iterdir()) == [tmp_path / "own"]
