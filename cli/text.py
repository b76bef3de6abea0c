"""Text for a terminal: names of files may hold anything, and a terminal obeys what it is sent."""

from __future__ import annotations

import unicodedata

# reorder or hide what stands around them
_FORMATTING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, 0xFEFF}


def printable(text: object, *, keep: str = "") -> str:
    r"""The text with control characters, lone surrogates and direction marks escaped, as ``\x1b``.

    Args:
        keep: control characters that stay, such as a line break between sentences.
    """
    return "".join(c if c in keep or not _obeyed(c) else c.encode("unicode_escape").decode("ascii") for c in str(text))


def _obeyed(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or ord(character) in _FORMATTING
