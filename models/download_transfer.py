"""One file over HTTP into a partial file: resumed where the server can, bounded by the size that it must have."""

from __future__ import annotations

import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from .errors import DownloadError

Progress = Callable[[int, "int | None"], None]

_BLOCK = 1 << 18
_TIMEOUT = 30.0  # seconds without a byte
_IDLE_ATTEMPTS = 2  # a link is given up after so many attempts in a row that brought nothing new
_MOST_BYTES = 1 << 30  # of a file whose size nobody published
_HEADERS = {"User-Agent": "ComfyUI-GPEN", "Accept-Encoding": "identity"}


class WrongServerError(OSError):
    """A server cannot help; what came from elsewhere stays."""


class WrongFileError(OSError):
    """What came is not the catalogue's file."""


class _NoRangeError(OSError):
    """A server does not go on from where the partial file ends."""


def fetch(url: str, part: Path, size: int | None, on_progress: Progress | None, retry_wait: float) -> None:
    """Fill the partial file from one link; a broken connection is taken up again while it makes progress.

    Args:
        url: the link.
        part: what is there already is kept, and the rest is asked for.
        size: bytes that the file must have; None: not published.
        on_progress: called with (bytes so far, bytes in all or None).
        retry_wait: seconds before another attempt.

    Raises:
        WrongServerError, WrongFileError: another link may help.
        DownloadError: no link can help (the disk is full or not writable).
        OSError, HTTPException: the connection failed.
    """
    idle = 0
    fresh = False
    while True:
        before = size_of(part)
        try:
            _fetch_once(url, part, size, on_progress, fresh)
            return
        except _NoRangeError:
            fresh = True  # all of it again, without asking for a range
            continue
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise WrongServerError(f"the server says {error.code} {error.reason}") from error
            problem: Exception = OSError(f"the server says {error.code} {error.reason}")
        except (WrongServerError, WrongFileError, DownloadError):
            raise
        except (OSError, HTTPException) as error:
            problem = error
        idle = 0 if size_of(part) > before and not fresh else idle + 1
        if idle == _IDLE_ATTEMPTS:
            raise problem
        time.sleep(retry_wait)


def size_of(path: Path) -> int:
    """The size of a file in bytes; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def _fetch_once(url: str, part: Path, size: int | None, on_progress: Progress | None, fresh: bool) -> None:
    have = 0 if fresh else size_of(part)
    if size is not None and have == size:
        return
    if have > (size or _MOST_BYTES):
        have = 0
    request = urllib.request.Request(url, headers=_HEADERS | ({"Range": f"bytes={have}-"} if have else {}))
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if _is_complete(error.headers.get("Content-Range"), have, size):
            return
        raise _NoRangeError("the server does not go on from the interrupted download") from error
    with response:
        if response.status == 206:
            start, total = _content_range(response.headers.get("Content-Range"))
            if start != have:
                if not have:
                    raise WrongServerError("the server sends a part of the file that was not asked for")
                raise _NoRangeError("the server sends another part than was asked for")
        elif response.status == 200:
            have, total = 0, None  # servers that ignore ranges send all of it
        else:
            raise WrongServerError(f"the server says {response.status} where 200 was expected")
        length = response.headers.get("Content-Length")
        total = total or (have + int(length) if length and length.isdecimal() else None)
        if size is not None and total is not None and total != size:
            raise WrongServerError(f"the server offers {total:,} bytes where the file has {size:,}")
        if total is not None and total > _MOST_BYTES:
            raise WrongServerError(f"the server offers {total:,} bytes, more than any file of the catalogue")
        _check_space(part, (total or size or 0) - have)
        have = _receive(response, part, have, size, total, on_progress)
    expected = total or size
    if expected is not None and have < expected:
        raise ConnectionError(f"the connection broke after {have:,} of {expected:,} bytes")


def _receive(
    response: Any, part: Path, have: int, size: int | None, total: int | None, on_progress: Progress | None
) -> int:
    """Append the body to the partial file, or start it; returns its size."""
    most = size or total or _MOST_BYTES
    try:
        stream = part.open("ab" if have else "wb")
    except OSError as error:
        raise _unwritable(part, error) from error
    with stream:
        while block := response.read(_BLOCK):
            have += len(block)
            if have > most:
                raise WrongFileError(f"the server sends more than the file's {most:,} bytes")
            try:
                stream.write(block)
                stream.flush()
            except OSError as error:
                raise _unwritable(part, error) from error
            if on_progress is not None:
                on_progress(have, total or size)
        os.fsync(stream.fileno())
    return have


def _is_complete(content_range: str | None, have: int, size: int | None) -> bool:
    """Whether a 416 says that nothing is missing: ``bytes */N`` with the N that we have.

    Raises:
        WrongServerError: its file has another size than the catalogue's.
    """
    text = (content_range or "").removeprefix("bytes */")
    if not text.isdecimal():
        return False
    if size is not None and int(text) != size:
        raise WrongServerError(f"the server says 416, its file has {int(text):,} bytes instead of {size:,}")
    return size is None and int(text) == have


def _content_range(header: str | None) -> tuple[int | None, int | None]:
    """``bytes 100-199/200`` -> (100, 200); None for what it does not say."""
    place, _, total = (header or "").removeprefix("bytes ").partition("/")
    start = place.partition("-")[0]
    return (int(start) if start.isdecimal() else None), (int(total) if total.isdecimal() else None)


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        where = part.parent
        raise DownloadError(f"{where} has {free:,} bytes free, the download needs {needed:,}; choose another folder")


def _unwritable(part: Path, error: OSError) -> DownloadError:
    reason = error.strerror or type(error).__name__
    return DownloadError(f"{part} cannot be written ({reason}); free some space or choose another folder")
