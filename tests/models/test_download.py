"""Downloads, against a server on this machine: resumed, checked before the rename, second mirror, advice."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.models import CatalogueEntry, DownloadError, download, load_gpen, sha256_of

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@dataclass
class Server:
    """What it answers, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    break_after: int | None = None  # bytes of a response before the connection is cut, once
    status: dict[str, int] = field(default_factory=dict)
    no_length: bool = False
    content_range: str | None = None  # of partial answers; None: the right one, empty: none
    refuse_ranges: bool = False  # 416 without a word why
    slow: float = 0  # seconds before each of sixteen parts of the body
    requests: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.requests.append((self.path, asked))
            content = state.files.get(self.path)
            status = state.status.get(self.path)
            if content is None or status:
                self.send_error(status or 404)
                return
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.ranges else 0
            if start and state.refuse_ranges:
                self.send_error(416)
                return
            if start >= len(content) and start:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start and state.content_range != "":
                right = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self.send_header("Content-Range", state.content_range or right)
            if not state.no_length:
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            body = content[start:]
            if state.break_after is not None:
                body, state.break_after = body[: state.break_after], None
            step = max(1, len(body) // 16)
            for place in range(0, len(body), step) if state.slow else ():
                time.sleep(state.slow)
                self.wfile.write(body[place : place + step])
            if not state.slow:
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_address[1]}"
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def entry_for(server: Server, *paths: str, content: bytes = CONTENT) -> CatalogueEntry:
    return CatalogueEntry(
        "thing.bin", "thing.bin", "MIT", "here", tuple(server.url + path for path in paths), len(content),
        hashlib.sha256(content).hexdigest(), 16, 16,
    )  # fmt: skip


def test_a_download(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = CONTENT
    folder = tmp_path / "new" / "folder"
    seen: list[tuple[int, int | None]] = []
    path = download(entry_for(server, "/a"), folder, lambda done, total: seen.append((done, total)))
    assert path == folder / "thing.bin"
    assert path.read_bytes() == CONTENT
    assert [p.name for p in folder.iterdir()] == ["thing.bin"], "no .part is left"
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    entry = entry_for(server, "/a")
    (tmp_path / "thing.bin").write_bytes(CONTENT)
    assert download(entry, tmp_path).read_bytes() == CONTENT
    assert server.requests == []
    (tmp_path / "thing.bin").write_bytes(b"somebody else's")
    with pytest.raises(DownloadError, match="move it away"):
        download(entry, tmp_path)
    assert (tmp_path / "thing.bin").read_bytes() == b"somebody else's"


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "server ignores ranges"])
def test_an_interrupted_download_goes_on(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.files["/a"] = CONTENT
    server.ranges = ranges
    (tmp_path / "thing.bin.part").write_bytes(CONTENT[:700_000])
    seen: list[int] = []
    path = download(entry_for(server, "/a"), tmp_path, lambda done, total: seen.append(done))
    assert path.read_bytes() == CONTENT
    assert server.requests == [("/a", "bytes=700000-")]
    assert (seen[0] > 700_000) == ranges


def test_a_complete_part_needs_no_network(server: Server, tmp_path: Path) -> None:
    (tmp_path / "thing.bin.part").write_bytes(CONTENT)
    assert download(entry_for(server, "/a"), tmp_path).read_bytes() == CONTENT
    assert server.requests == []


def test_a_part_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = CONTENT
    (tmp_path / "thing.bin.part").write_bytes(CONTENT + b"more")
    assert download(entry_for(server, "/a"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("no_length", [False, True])
def test_a_connection_that_breaks_is_taken_up_again(server: Server, tmp_path: Path, no_length: bool) -> None:
    server.files["/a"] = CONTENT
    server.break_after = 300_000
    server.no_length = no_length
    assert download(entry_for(server, "/a"), tmp_path, retry_wait=0).read_bytes() == CONTENT
    assert server.requests == [("/a", None), ("/a", "bytes=300000-")]


def test_ctrl_c_keeps_the_part(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = CONTENT

    def interrupt(done: int, total: int | None) -> None:
        if done > 400_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(entry_for(server, "/a"), tmp_path, interrupt)
    part = tmp_path / "thing.bin.part"
    assert not (tmp_path / "thing.bin").exists()
    have = part.stat().st_size
    assert have > 400_000
    assert download(entry_for(server, "/a"), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/a", f"bytes={have}-")


@pytest.mark.parametrize("status", [404, 403, 503])
def test_the_second_mirror(server: Server, tmp_path: Path, status: int) -> None:
    server.files = {"/a": CONTENT, "/b": CONTENT}
    server.status["/a"] = status
    assert download(entry_for(server, "/a", "/b"), tmp_path, retry_wait=0).read_bytes() == CONTENT
    assert server.requests[-1][0] == "/b"


def test_the_second_mirror_goes_on_where_the_first_stopped(server: Server, tmp_path: Path) -> None:
    server.files = {"/b": CONTENT}
    (tmp_path / "thing.bin.part").write_bytes(CONTENT[:1000])
    download(entry_for(server, "/a", "/b"), tmp_path, retry_wait=0)
    assert server.requests == [("/a", "bytes=1000-"), ("/b", "bytes=1000-")]


def test_a_wrong_hash_never_gets_the_name(server: Server, tmp_path: Path) -> None:
    wrong = CONTENT[:-1] + b"!"
    server.files = {"/a": wrong}
    entry = entry_for(server, "/a")
    with pytest.raises(DownloadError) as caught:
        download(entry, tmp_path)
    text = str(caught.value)
    assert hashlib.sha256(wrong).hexdigest() in text
    assert entry.sha256 in text
    assert list(tmp_path.iterdir()) == []
    server.files["/b"] = CONTENT
    assert download(replace(entry, urls=(*entry.urls, server.url + "/b")), tmp_path).read_bytes() == CONTENT


def test_a_wrong_size_is_seen_before_the_first_byte(server: Server, tmp_path: Path) -> None:
    server.files = {"/a": b"x" * 100}
    with pytest.raises(DownloadError, match="offers 100 bytes"):
        download(entry_for(server, "/a"), tmp_path)


def test_a_login_page_is_called_one(server: Server, tmp_path: Path) -> None:
    page = b"<html><body>please sign in</body></html>"
    server.files = {"/a": page}
    entry = replace(entry_for(server, "/a"), bytes=None)
    with pytest.raises(DownloadError, match="web page"):
        download(entry, tmp_path)


def test_a_flaky_line_gets_there_in_the_end(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = CONTENT

    def cut_again(done: int, total: int | None) -> None:
        server.break_after = 200_000

    server.break_after = 200_000
    assert download(entry_for(server, "/a"), tmp_path, cut_again, retry_wait=0).read_bytes() == CONTENT
    assert len(server.requests) == 6


def test_a_stream_without_end_is_left(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = CONTENT * 2
    server.no_length = True
    with pytest.raises(DownloadError, match="sends more than"):
        download(entry_for(server, "/a"), tmp_path, retry_wait=0)
    assert list(tmp_path.iterdir()) == []


def test_a_server_whose_file_ends_too_early_is_given_up(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = CONTENT[:1000]
    server.no_length = True
    with pytest.raises(DownloadError, match="the server says 416"):
        download(entry_for(server, "/a"), tmp_path, retry_wait=0)
    assert (tmp_path / "thing.bin.part").stat().st_size == 1000, "kept for the next time"


def test_without_a_network_it_says_how_to_do_it_by_hand(tmp_path: Path) -> None:
    dead = Server(url="http://127.0.0.1:9")  # the discard port: nobody listens
    entry = entry_for(dead, "/a", "/b")
    with pytest.raises(DownloadError) as caught:
        download(entry, tmp_path, retry_wait=0)
    text = str(caught.value)
    for said in (*entry.urls, str(tmp_path), "thing.bin", entry.sha256, "by hand"):
        assert said in text


def test_a_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    server.files["/a"] = CONTENT
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(DownloadError, match="choose another folder"):
        download(entry_for(server, "/a"), tmp_path)


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="cannot be made"):
        download(entry_for(server, "/a"), tmp_path / "file" / "folder")


# ---------------------------------------------------------------- files whose hash nobody published


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("w") / "w.pth"
    torch.save(GPEN(GPENConfig.standard(16, narrow=1 / 64, style_dim=16, mapping_layers=1)).state_dict(), path)
    return path.read_bytes()


def test_without_a_hash_the_weights_are_the_proof(server: Server, tmp_path: Path, weights: bytes) -> None:
    server.files["/a"] = weights
    entry = replace(entry_for(server, "/a"), sha256=None, bytes=None, filename="GPEN.pth")
    with pytest.raises(DownloadError, match="nobody published its sha256"):
        download(entry, tmp_path)
    assert server.requests == []
    path = download(entry, tmp_path, allow_unverified=True)
    assert load_gpen(path).config.out_size == 16
    assert sha256_of(path) == hashlib.sha256(weights).hexdigest()


def test_without_a_hash_wrong_content_is_still_refused(server: Server, tmp_path: Path, weights: bytes) -> None:
    entry = replace(entry_for(server, "/a"), sha256=None, bytes=None, filename="GPEN.pth")
    for content, said in ((b"<html>", "web page"), (weights[:-100], "truncated")):
        server.files["/a"] = content
        with pytest.raises(DownloadError, match=said):
            download(entry, tmp_path, allow_unverified=True)
        assert list(tmp_path.iterdir()) == []
    server.files["/a"] = weights
    with pytest.raises(DownloadError, match="the 16 px model, not the 512 px one"):
        download(replace(entry, out_size=512), tmp_path, allow_unverified=True)


def test_without_size_or_hash_a_complete_part_is_known_by_the_servers_word(
    server: Server, tmp_path: Path, weights: bytes
) -> None:
    server.files["/a"] = weights
    entry = replace(entry_for(server, "/a"), sha256=None, bytes=None, filename="GPEN.pth")
    (tmp_path / "GPEN.pth.part").write_bytes(weights)
    assert download(entry, tmp_path, allow_unverified=True, retry_wait=0).read_bytes() == weights
    assert server.requests == [("/a", f"bytes={len(weights)}-")]


# ---------------------------------------------------------------- several downloads at once, and odd servers


def test_two_downloads_at_once(server: Server, tmp_path: Path) -> None:
    """One fetches, the others wait for it; nobody sees a half file under its name."""
    server.files["/a"] = CONTENT
    server.slow = 0.02
    entry = entry_for(server, "/a")
    results: list[object] = []

    def run() -> None:
        try:
            results.append(download(entry, tmp_path).read_bytes() == CONTENT)
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4
    assert len(server.requests) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thing.bin"]


def test_two_processes_at_once(server: Server, tmp_path: Path, root: Path) -> None:
    server.files["/a"] = CONTENT
    server.slow = 0.02
    program = f"""
import importlib.machinery, importlib.util, sys
spec = importlib.machinery.ModuleSpec("p", None, is_package=True)
spec.submodule_search_locations = [{str(root)!r}]
sys.modules["p"] = importlib.util.module_from_spec(spec)
from p.models import CatalogueEntry, download
download(CatalogueEntry{tuple(entry_for(server, "/a").__dict__.values())!r}, {str(tmp_path)!r})
"""
    processes = [subprocess.Popen([sys.executable, "-B", "-c", program]) for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert (tmp_path / "thing.bin").read_bytes() == CONTENT
    assert len(server.requests) == 1, "the second waited, or found it done"
    assert [path.name for path in tmp_path.iterdir()] == ["thing.bin"]


def test_a_download_that_was_killed_leaves_no_lock(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = CONTENT
    (tmp_path / "thing.bin.part").write_bytes(CONTENT[:1000])
    (tmp_path / "thing.bin.part.lock").touch()
    assert download(entry_for(server, "/a"), tmp_path).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["thing.bin"]


def test_a_file_system_without_locks(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpen_pack.models import download_lock

    def refuse(descriptor: int) -> bool:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(download_lock, "_try_lock", refuse)
    server.files["/a"] = CONTENT
    assert download(entry_for(server, "/a"), tmp_path).read_bytes() == CONTENT
    assert {path.name for path in tmp_path.iterdir()} <= {"thing.bin", "thing.bin.part.lock"}


@pytest.mark.parametrize("have", [700_000, len(CONTENT)], ids=["half", "whole"])
def test_a_wrong_part_is_replaced(server: Server, tmp_path: Path, have: int) -> None:
    server.files["/a"] = CONTENT
    (tmp_path / "thing.bin.part").write_bytes(b"?" * have)
    assert download(entry_for(server, "/a"), tmp_path, retry_wait=0).read_bytes() == CONTENT
    assert server.requests[-1] == ("/a", None)


@pytest.mark.parametrize("answer", ["", "bytes 0-5/6", "bytes 5-9/1048576", "nonsense"])
def test_a_partial_answer_without_the_right_range(server: Server, tmp_path: Path, answer: str) -> None:
    """Then all of it is asked for, without a range."""
    server.files["/a"] = CONTENT
    server.content_range = answer
    (tmp_path / "thing.bin.part").write_bytes(CONTENT[:1000])
    assert download(entry_for(server, "/a"), tmp_path, retry_wait=0).read_bytes() == CONTENT
    assert server.requests == [("/a", "bytes=1000-"), ("/a", None)]


def test_a_range_that_is_refused_without_a_reason(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = CONTENT
    server.refuse_ranges = True
    (tmp_path / "thing.bin.part").write_bytes(CONTENT[:1000])
    assert download(entry_for(server, "/a"), tmp_path, retry_wait=0).read_bytes() == CONTENT
    assert server.requests == [("/a", "bytes=1000-"), ("/a", None)]


def test_an_unknown_size_is_bounded(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpen_pack.models import download_transfer

    monkeypatch.setattr(download_transfer, "_MOST_BYTES", 500_000)
    server.files["/a"] = CONTENT
    entry = replace(entry_for(server, "/a"), bytes=None)
    for server.no_length in (False, True):
        with pytest.raises(DownloadError, match=r"1,048,576 bytes, more than any|more than the file's 500,000"):
            download(entry, tmp_path, retry_wait=0)
        assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_is_not_tried_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/a"] = CONTENT
    real = Path.open

    class Full:
        def __init__(self, stream: object) -> None:
            self.stream = stream

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.stream.close()  # type: ignore[attr-defined]

        def write(self, block: bytes) -> None:
            raise OSError(28, "No space left on device")

    def open_full(path: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
        stream = real(path, mode, *args, **kwargs)  # type: ignore[call-overload]
        return Full(stream) if path.suffix == ".part" and mode[0] in "aw" else stream

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(DownloadError, match=r"thing\.bin\.part cannot be written \(No space left"):
        download(entry_for(server, "/a"), tmp_path, retry_wait=0)
    assert len(server.requests) == 1
