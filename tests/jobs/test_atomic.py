"""Written whole or not at all, with the permissions that the file had; what is protected stays."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from gpen_pack.jobs.atomic import copy_atomically, refuse_protected, write_atomically

posix = pytest.mark.skipif(os.name == "nt", reason="permissions of another kind")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o666, 0o755])
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path, permissions: int) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"old")
    path.chmod(permissions)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new" and mode(path) == permissions


@posix
def test_a_new_file_is_no_more_readable_than_its_source(tmp_path: Path) -> None:
    source, path = tmp_path / "in.png", tmp_path / "out.png"
    source.write_bytes(b"private")
    source.chmod(0o600)
    write_atomically(path, b"x", mode_of=source)
    assert mode(path) == 0o600
    copy_atomically(source, tmp_path / "copy.png")
    assert mode(tmp_path / "copy.png") == 0o600 and (tmp_path / "copy.png").read_bytes() == b"private"
    source.chmod(0o444)  # the next run must be able to replace its own output
    write_atomically(tmp_path / "second.png", b"x", mode_of=source)
    assert mode(tmp_path / "second.png") == 0o644 & ~_umask()
    write_atomically(tmp_path / "third.png", b"x")
    assert mode(tmp_path / "third.png") == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_protected_file_is_refused_as_cp_does(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with pytest.raises(PermissionError, match="write-protected"):
        write_atomically(path, b"new")
    with pytest.raises(PermissionError):
        refuse_protected(path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    refuse_protected(tmp_path / "absent.png")
    path.chmod(0o644)


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(path, b"new")
    assert caught.value.filename == str(path) and caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@posix
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "real.png", tmp_path / "link.png"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
