"""Fetching a catalogue's file: resumable, checked before it gets its name, and only when somebody asked for it."""

from __future__ import annotations

import logging
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from .catalogue import CatalogueEntry
from .errors import DownloadError, ModelFileError
from .files.formats import sniff_format
from .files.hashing import sha256_of
from .inspection import inspect_model

_log = logging.getLogger(__name__)
_BLOCK = 1 << 18
_TIMEOUT = 30.0  # seconds without a byte
_IDLE_ATTEMPTS = 2  # a link is left after so many attempts in a row that brought nothing new
_HEADERS = {"User-Agent": "ComfyUI-GPEN", "Accept-Encoding": "identity"}

Progress = Callable[[int, "int | None"], None]


class _WrongServerError(OSError):
    """A server that cannot help; what came from elsewhere stays."""


class _WrongFileError(OSError):
    """What came is not the file of the catalogue."""


def download(
    entry: CatalogueEntry,
    folder: Path | str,
    on_progress: Progress | None = None,
    *,
    allow_unverified: bool = False,
    retry_wait: float = 1.0,
) -> Path:
    """Download a file of the catalogue into a folder, made if it is missing.

    The bytes go to ``<file>.part``; an interrupted download goes on where it stopped, at the same or the next link.
    Only when the hash is right does the file get its name. A file without a published hash is judged by its weights
    instead, and only where the caller allows it.

    Args:
        entry: what to fetch.
        folder: where to.
        on_progress: called with (bytes so far, bytes in all or None).
        allow_unverified: take a file whose hash nobody published.
        retry_wait: seconds before a broken connection is taken up again.

    Returns:
        The file's path; at once if it is there already and right.

    Raises:
        DownloadError: no link worked, the hash is wrong, the disk is full, or the file is there with other content;
            the sentence has the links, the folder and the hash for fetching it by hand.
        KeyboardInterrupt: passed on; the .part file stays, and the next call goes on from there.
    """
    folder = Path(folder)
    target = folder / entry.filename
    part = folder / (entry.filename + ".part")
    if target.exists():
        if entry.sha256 is None or sha256_of(target) == entry.sha256:
            return target
        raise DownloadError(
            f"{target} is there already, but it is not {entry.name} (its sha256 differs): move it away, then try again"
        )
    if not entry.urls:
        raise DownloadError(f"{entry.name}: no direct link is known; it comes from {entry.origin}")
    if entry.sha256 is None and not allow_unverified:
        raise DownloadError(
            f"{entry.name}: nobody published its sha256, so a download cannot be checked; allow it explicitly "
            f"(`models download {entry.name} --unverified`), then its weights are checked instead"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"{folder} cannot be made ({error.strerror}); choose another folder") from error
    failures = []
    for url in entry.urls:
        try:
            _fetch(entry, url, part, on_progress, retry_wait)
            _check(entry, part)
        except DownloadError:
            raise
        except (_WrongFileError, ModelFileError, OSError, HTTPException) as error:
            reason = getattr(error, "what", None) or getattr(error, "reason", None) or error
            failures.append(f"{url}: {reason}")
            _log.info("%s", failures[-1])
            if isinstance(error, _WrongFileError | ModelFileError):
                part.unlink(missing_ok=True)  # wrong bytes cannot be mended by more bytes
            elif entry.sha256 is None and len(entry.urls) > 1:
                part.unlink(missing_ok=True)  # two mirrors' halves make no whole where no hash proves it
            continue
        part.replace(target)
        return target
    raise DownloadError(by_hand(entry, folder, failures))


def by_hand(entry: CatalogueEntry, folder: Path | str, failures: list[str] | None = None) -> str:
    """The sentence for somebody whose machine cannot fetch the file: links, folder, name and hash."""
    said = f"{entry.name} could not be downloaded ({'; '.join(failures)}). " if failures else ""
    proof = f"its sha256 is {entry.sha256}" if entry.sha256 else "nobody published its sha256"
    size = f", {entry.bytes:,} bytes" if entry.bytes else ""
    where = Path(folder).absolute()
    return (
        f"{said}To fetch it by hand: open {' or '.join(entry.urls) or entry.origin}, put the file into {where} "
        f"as {entry.filename}{size}; {proof} (`models verify` checks it)."
    )


def _fetch(entry: CatalogueEntry, url: str, part: Path, on_progress: Progress | None, retry_wait: float) -> None:
    """Fill the .part file from one link, taking a broken connection up again while it makes progress."""
    idle = 0
    while True:
        before = _size(part)
        try:
            _fetch_once(entry, url, part, on_progress)
            return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise _WrongServerError(f"the server says {error.code} {error.reason}") from error
            problem: Exception = OSError(f"the server says {error.code} {error.reason}")
        except (_WrongServerError, _WrongFileError, DownloadError):
            raise
        except (OSError, HTTPException) as error:
            problem = error
        idle = 0 if _size(part) > before else idle + 1
        if idle == _IDLE_ATTEMPTS:
            raise problem
        time.sleep(retry_wait)


def _fetch_once(entry: CatalogueEntry, url: str, part: Path, on_progress: Progress | None) -> None:
    have = _size(part)
    if entry.bytes is not None and have == entry.bytes:
        return
    if entry.bytes is not None and have > entry.bytes:
        part.unlink()
        have = 0
    headers = dict(_HEADERS) | ({"Range": f"bytes={have}-"} if have else {})
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have or entry.bytes is not None:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return  # it was complete already
        part.unlink()  # the server has nothing behind what we have, and it is not the whole
        raise ConnectionError("the server would not go on from the interrupted download") from error
    with response:
        resumed = response.status == 206 and _range_start(response.headers.get("Content-Range")) == have
        if not resumed:
            have = 0  # the server ignores ranges and sends everything
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdecimal() else None
        if entry.bytes is not None and total is not None and total != entry.bytes:
            raise _WrongServerError(f"the server offers {total:,} bytes where the file has {entry.bytes:,}")
        _check_space(part, (total or entry.bytes or 0) - have)
        with part.open("ab" if resumed else "wb") as stream:
            while block := response.read(_BLOCK):
                stream.write(block)
                have += len(block)
                if entry.bytes is not None and have > entry.bytes:
                    raise _WrongFileError(f"the server sends more than the file's {entry.bytes:,} bytes")
                if on_progress is not None:
                    on_progress(have, total or entry.bytes)
    expected = total or entry.bytes
    if expected is not None and have < expected:
        raise ConnectionError(f"the connection broke after {have:,} of {expected:,} bytes")


def _check(entry: CatalogueEntry, part: Path) -> None:
    if entry.sha256 is not None:
        found = sha256_of(part)
        if found == entry.sha256:
            return
        try:
            sniff_format(part)
            kind = ""
        except ModelFileError as error:
            kind = f" ({error.what})"
        raise _WrongFileError(f"what came{kind} has the sha256 {found} instead of {entry.sha256}; it was deleted")
    info = inspect_model(part)
    if info.out_size != entry.out_size:
        raise _WrongFileError(f"what came is the {info.out_size} px model, not the {entry.out_size} px one")


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        where = part.parent
        raise DownloadError(f"{where} has {free:,} bytes free, the download needs {needed:,}; choose another folder")


def _range_start(content_range: str | None) -> int | None:
    """`bytes 100-199/200` -> 100."""
    if not content_range or not content_range.startswith("bytes "):
        return None
    start = content_range[len("bytes ") :].split("-", 1)[0]
    return int(start) if start.isdecimal() else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
