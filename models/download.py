"""Downloads of the catalogue's files: resumable, checked before they get their name, and only on request."""

from __future__ import annotations

import logging
from http.client import HTTPException
from pathlib import Path

from .catalogue import CatalogueEntry
from .download_lock import partial_file
from .download_transfer import Progress, WrongFileError, WrongServerError, fetch, size_of
from .errors import DownloadError, ModelFileError
from .files.formats import sniff
from .files.hashing import sha256_of
from .inspection import inspect_model

_log = logging.getLogger(__name__)


def download(
    entry: CatalogueEntry,
    folder: Path | str,
    on_progress: Progress | None = None,
    *,
    allow_unverified: bool = False,
    retry_wait: float = 1.0,
) -> Path:
    """Download a file of the catalogue into a folder, made if it is missing; returns the file's path.

    The bytes go to ``<file>.part``; an interrupted download goes on where it stopped, at the same or the next link.
    Only when the hash is right does the file get its name. A file without a published hash is judged by its weights
    instead, and only where the caller allows it. Where another process downloads the same file, this one waits and
    takes what came.

    Args:
        entry: what to fetch.
        folder: where to.
        on_progress: called with (bytes so far, bytes in all or None).
        allow_unverified: take a file whose hash nobody published.
        retry_wait: seconds before a broken connection is taken up again.

    Raises:
        DownloadError: no link worked, the hash is wrong, the disk is full, or the file is there with other content;
            the sentence has the links, the folder and the hash for fetching it by hand.
        KeyboardInterrupt: passed on; the .part file stays, and the next call goes on from there.
    """
    folder = Path(folder)
    target = folder / entry.filename
    if _is_here(entry, target):
        return target
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

    def while_waiting(part: Path) -> None:
        _log.info("%s: another process downloads it; waiting", target)
        if on_progress is not None:
            on_progress(size_of(part), entry.bytes)

    with partial_file(target, while_waiting) as part:
        if _is_here(entry, target):  # by the process that we waited for
            return target
        failures: list[str] = []
        for url in entry.urls:
            failure = _from_link(entry, url, part, on_progress, retry_wait)
            if failure is None:
                try:
                    part.replace(target)
                except OSError as error:
                    raise DownloadError(f"{target} cannot be written ({error.strerror})") from error
                return target
            failures.append(f"{url}: {failure}")
            _log.info("%s", failures[-1])
    raise DownloadError(by_hand(entry, folder, failures))


def _is_here(entry: CatalogueEntry, target: Path) -> bool:
    """Whether the file is there already.

    Raises:
        DownloadError: something else is there under its name.
    """
    if not target.exists():
        return False
    try:
        if entry.sha256 is None or sha256_of(target) == entry.sha256:
            return True
    except OSError as error:
        raise DownloadError(f"{target} is there already and cannot be read ({error.strerror})") from error
    raise DownloadError(
        f"{target} is there already, but it is not {entry.name} (its sha256 differs): move it away, then try again"
    )


def _from_link(
    entry: CatalogueEntry, url: str, part: Path, on_progress: Progress | None, retry_wait: float
) -> str | None:
    """Fetch and check the file from one link; None if it is right now, else the reason why it is not."""
    while True:
        resumed = size_of(part) > 0
        try:
            fetch(url, part, entry.bytes, on_progress, retry_wait)
            _check(entry, part)
            return None
        except (WrongFileError, ModelFileError) as error:
            part.unlink(missing_ok=True)  # wrong bytes cannot be mended by more bytes
            if resumed:  # the wrong ones may have been those of the interrupted download
                _log.info("%s: %s; downloading it from its start", url, error)
                continue
            return getattr(error, "what", None) or str(error)
        except WrongServerError as error:
            reason = str(error)
        except DownloadError:
            raise
        except (OSError, HTTPException) as error:
            reason = str(getattr(error, "reason", None) or error or type(error).__name__)
        if entry.sha256 is None and len(entry.urls) > 1:
            part.unlink(missing_ok=True)  # halves from two links make no whole where no hash proves it
        return reason


def _check(entry: CatalogueEntry, part: Path) -> None:
    """Check the very bytes that get the name.

    Raises:
        WrongFileError, ModelFileError: they are not the catalogue's.
    """
    before = part.stat()
    if entry.sha256 is None:
        info = inspect_model(part)
        if info.out_size != entry.out_size:
            raise WrongFileError(f"what came is the {info.out_size} px model, not the {entry.out_size} px one")
    else:
        found = sha256_of(part)
        if found != entry.sha256:
            raise WrongFileError(
                f"what came{_kind(part)} has the sha256 {found} instead of {entry.sha256}; it was deleted"
            )
    after = part.stat()
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (after.st_ino, after.st_size, after.st_mtime_ns):
        raise WrongFileError("the file changed while it was checked; it was deleted")


def _kind(part: Path) -> str:
    """What the file is instead, where its first bytes tell."""
    try:
        sniff(part)
    except ModelFileError as error:
        return f" ({error.what})"
    return ""


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
