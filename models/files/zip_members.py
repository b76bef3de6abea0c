"""The members of a zip archive and where their bytes lie, from its directory; nothing is decompressed.

Python's ``zipfile`` raises half a dozen kinds of error for damaged archives and makes an object of every entry that
the directory names before it can be asked how many there are. Source: PKWARE's APPNOTE, sections 4.3.7 to 4.3.16.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass

from .tensor_records import DamagedError

_END = struct.Struct("<4s4H2LH")  # end of the central directory
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")  # an entry of the central directory
_LOCAL = struct.Struct("<4s5H3L2H")  # the header in front of a member's bytes
_LONGEST_COMMENT = 0xFFFF
_MOST_MEMBERS = 100_000
_ENCRYPTED = 1


@dataclass(frozen=True)
class Member:
    """One file of an archive.

    Args:
        start, end: where its bytes lie.
        crc32: their checksum; 0 where the writer left it out.
        stored: whether they are neither compressed nor encrypted.
    """

    start: int
    end: int
    crc32: int
    stored: bool


def read_members(data: mmap.mmap) -> dict[str, Member]:
    """The members of an archive by name.

    Raises:
        DamagedError: the directory is missing, is cut off or points outside of the file.
    """
    try:
        count, position, end = _directory(data)
        if count > _MOST_MEMBERS:
            raise DamagedError(f"a zip archive of {count:,} members; {_MOST_MEMBERS:,} are allowed")
        members: dict[str, Member] = {}
        for _ in range(count):
            name, member, position = _entry(data, position, end)
            if name in members:
                raise DamagedError("two members of its zip archive have one name")
            members[name] = member
    except struct.error as error:
        raise DamagedError("the directory of its zip archive is cut off") from error
    return members


def _directory(data: mmap.mmap) -> tuple[int, int, int]:
    """How many entries the central directory has, and the bytes that it takes."""
    where = data.rfind(b"PK\x05\x06", max(0, len(data) - _END.size - _LONGEST_COMMENT))
    if where < 0:
        raise DamagedError("the end of its zip archive is missing")
    _, _, _, _, count, size, start, _ = _END.unpack_from(data, where)
    locator = where - _END64_LOCATOR.size
    if locator >= 0 and data[locator : locator + 4] == b"PK\x06\x07":
        _, _, where, _ = _END64_LOCATOR.unpack_from(data, locator)
        if where + _END64.size > len(data) or data[where : where + 4] != b"PK\x06\x06":
            raise DamagedError("the end of its zip archive is damaged")
        *_, count, size, start = _END64.unpack_from(data, where)
    if start + size > where:
        raise DamagedError("the directory of its zip archive is damaged")
    return count, start, start + size


def _entry(data: mmap.mmap, position: int, end: int) -> tuple[str, Member, int]:
    """Name, place and the position of the next entry."""
    if position + _ENTRY.size > end:
        raise DamagedError("the directory of its zip archive is cut off")
    magic, _, _, flags, method, _, _, crc32, *sizes, _, _, _, local = _ENTRY.unpack_from(data, position)
    packed, size, name_length, extra_length, comment_length = sizes
    name_at = position + _ENTRY.size
    extra_at = name_at + name_length
    following = extra_at + extra_length + comment_length
    if magic != b"PK\x01\x02" or following > end:
        raise DamagedError("the directory of its zip archive is damaged")
    size, packed, local = _wide(data[extra_at : extra_at + extra_length], size, packed, local)
    if local + _LOCAL.size > len(data) or data[local : local + 4] != b"PK\x03\x04":
        raise DamagedError("a member of its zip archive lies elsewhere")
    *_, local_name, local_extra = _LOCAL.unpack_from(data, local)
    start = local + _LOCAL.size + local_name + local_extra
    if start + packed > len(data):
        raise DamagedError("a member of its zip archive is cut off")
    stored = method == 0 and size == packed and not flags & _ENCRYPTED
    name = data[name_at:extra_at].decode("utf-8", "replace")
    return name, Member(start, start + packed, crc32, stored), following


def _wide(extra: bytes, *values: int) -> list[int]:
    """Sizes and offset; those that need 64 bits are 0xFFFFFFFF in the entry and stand in its extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            return [next(wide, value) if value == 0xFFFFFFFF else value for value in values]
        at += 4 + length
    return list(values)
