"""IPTC records inside of Photoshop's image resources, where JPEG (APP13) and PNG (a text profile) keep them.

A resource: ``8BIM``, identifier (2 bytes), Pascal string padded to even, length (4 bytes), content padded to even.
Source: Adobe Photoshop File Formats Specification, Image Resource Blocks.
"""

from __future__ import annotations

SIGNATURE = b"8BIM"
IPTC = 0x0404
TIFF_TAG = 33723
_RECORD = b"\x1c"  # every IPTC data set begins with it


def find_iptc(resources: bytes) -> bytes | None:
    """The IPTC records of image resources, or of a block that holds nothing else; None where there are none."""
    if resources.startswith(_RECORD):
        return resources
    position = 0
    while resources[position : position + 4] == SIGNATURE:
        identifier = int.from_bytes(resources[position + 4 : position + 6], "big")
        name = resources[position + 6 : position + 7]
        if not name:
            return None
        start = position + 6 + (name[0] + 2) // 2 * 2
        length = int.from_bytes(resources[start : start + 4], "big")
        content = resources[start + 4 : start + 4 + length]
        if len(content) < length:
            return None  # cut off
        if identifier == IPTC:
            return content or None
        position = start + 4 + (length + 1) // 2 * 2
    return None


def as_resource(records: bytes) -> bytes:
    """The records as one image resource without a name."""
    head = SIGNATURE + IPTC.to_bytes(2, "big") + b"\0\0" + len(records).to_bytes(4, "big")
    return head + records + b"\0" * (len(records) % 2)
