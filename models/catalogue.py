"""The published model files: name, size, hash, origin and licence.

Sizes and hashes are None where nobody published them. A file without a hash is downloaded only where the user allows it
(`download(…, allow_unverified=True)`), and its weights are checked instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["restoration", "colorization", "inpainting", "seg2face", "discriminator", "detector"]

GPEN_LICENCE = (
    "GPEN's published weights: the authors' repository (github.com/yangxy/GPEN) has no licence file; its README said "
    '"academic and non-commercial use only" until March 2026, and removing that line grants nothing. '
    "Use them for non-commercial purposes only."
)
INSIGHTFACE_LICENCE = (
    "InsightFace's detector weights: non-commercial research purposes only (github.com/deepinsight/insightface)."
)
YUNET_LICENCE = "YuNet: MIT, copyright 2020 Shiqi Yu (github.com/opencv/opencv_zoo, models/face_detection_yunet)."

_OSS = "https://public-vigen-video.oss-cn-shanghai.aliyuncs.com/robin/models/"
_AUTHORS = "the GPEN authors' bucket"
_REACTOR = "https://huggingface.co/datasets/Gourieff/ReActor/resolve/main/models/facerestore_models/"
_FACEFUSION = (
    "https://huggingface.co/facefusion/models-3.0.0/resolve/main/",
    "https://github.com/facefusion/facefusion-assets/releases/download/models-3.0.0/",
)
_MODELSCOPE = "https://www.modelscope.cn/models/iic/cv_gpen_image-portrait-enhancement-hires/resolve/master/"
_ZOO = "models/face_detection_yunet/face_detection_yunet_2026may.onnx"


@dataclass(frozen=True)
class CatalogueEntry:
    """One published file.

    Args:
        name: what to type after `models download`; unique.
        filename: its name on disk.
        licence: the terms of the weights, shown before a download.
        origin: who published it where.
        urls: direct links, the preferred one first.
        bytes: its exact size; None where unknown.
        sha256: its hash in lower-case hexadecimal; None where none was published.
        in_size, out_size: sides of the network's input and output in pixels; 0 for a detector.
        kind: what the network does.
        template: the alignment that the network expects.
        note: a remark for the user.
    """

    name: str
    filename: str
    licence: str
    origin: str
    urls: tuple[str, ...] = ()
    bytes: int | None = None
    sha256: str | None = None
    in_size: int = 0
    out_size: int = 0
    kind: Kind = "restoration"
    template: str = "gpen"
    note: str = ""

    @property
    def loadable(self) -> bool:
        """Whether `load_gpen` can use the file."""
        return self.kind not in ("detector", "discriminator")


def _gpen(
    name: str, size: int, bytes_: int | None, sha256: str | None, origin: str, *urls: str, filename: str = "",
    kind: Kind = "restoration", note: str = "",
) -> CatalogueEntry:  # fmt: skip
    return CatalogueEntry(
        name, filename or name, GPEN_LICENCE, origin, urls, bytes_, sha256, size, size, kind, "gpen", note
    )


CATALOGUE: tuple[CatalogueEntry, ...] = (
    _gpen("GPEN-BFR-2048.onnx", 2048, 285_469_146, "d0229ff43f979c360bd19daa9cd0ce893722d59f41a41822b9223ebbe4f89b3e",
          "ReActor's data set on Hugging Face", _REACTOR + "GPEN-BFR-2048.onnx"),
    _gpen("GPEN-BFR-1024.onnx", 1024, 285_101_993, "cec8892093d7b99828acde97bf231fb0964d3fb11b43f3b0951e36ef1e192a3e",
          "ReActor's data set on Hugging Face", _REACTOR + "GPEN-BFR-1024.onnx"),
    _gpen("GPEN-BFR-512.onnx", 512, 284_244_491, "bf80acb8e91ba8852e3f012505be2c3b6cd6b3eed5ec605e3db87863c4e74d4e",
          "ReActor's data set on Hugging Face", _REACTOR + "GPEN-BFR-512.onnx"),
    _gpen("GPEN-BFR-256.onnx", 256, 75_715_262, "aa5bd3ab238640a378c59e4a560f7a7150627944cf2129e6311ae4720e833271",
          "visomaster-assets v0.1.0 on GitHub",
          "https://github.com/visomaster/visomaster-assets/releases/download/v0.1.0/GPEN-BFR-256.onnx"),
    _gpen("GPEN-BFR-512.pth", 512, 284_085_738, "f1002c41add95b0decad69604d80455576f7187dd99ca16bd611bcfd44c10b51",
          "akhaliq/GPEN-BFR-512 on Hugging Face, and " + _AUTHORS,
          "https://huggingface.co/akhaliq/GPEN-BFR-512/resolve/main/GPEN-BFR-512.pth", _OSS + "GPEN-BFR-512.pth"),
    _gpen("GPEN-BFR-2048.pth", 2048, None, None, _AUTHORS + "; also in ykk648/face_lib on Hugging Face",
          _OSS + "GPEN-BFR-2048.pth", note="about 285 MB"),
    _gpen("GPEN-BFR-256.pth", 256, None, None, _AUTHORS, _OSS + "GPEN-BFR-256.pth"),
    _gpen("GPEN-BFR-1024.pt", 1024, None, None, "iic/cv_gpen_image-portrait-enhancement-hires on ModelScope",
          _MODELSCOPE + "pytorch_model.pt", note="published as pytorch_model.pt"),
    _gpen("GPEN-BFR-2048.pt", 2048, None, None, "iic/cv_gpen_image-portrait-enhancement-hires on ModelScope",
          _MODELSCOPE + "pytorch_model-2048.pt", note="published as pytorch_model-2048.pt"),
    _gpen("gpen_bfr_2048.onnx", 2048, 285_582_766, "66d12a637118d71b00f5a290b8dac13c81c1c0326a127a1978799c6e17bb8d1f",
          "facefusion/models-3.0.0 on Hugging Face", *(base + "gpen_bfr_2048.onnx" for base in _FACEFUSION)),
    _gpen("gpen_bfr_1024.onnx", 1024, 285_203_703, "bcd31aa52110a2005efc96abbab4546d57e42482648f08715b552423d96b381b",
          "facefusion/models-3.0.0 on Hugging Face", *(base + "gpen_bfr_1024.onnx" for base in _FACEFUSION)),
    _gpen("gpen_bfr_512.onnx", 512, 284_340_240, "d5f066b9068a8b74217f9712e28e875a6144629b108a6f7355acbdb3a2832c54",
          "facefusion/models-3.0.0 on Hugging Face", *(base + "gpen_bfr_512.onnx" for base in _FACEFUSION)),
    _gpen("gpen_bfr_256.onnx", 256, 75_792_988, "bad8bf0426873828df2dbf4e3b3d9ababba9da7965b8b72426569486f7ae5c25",
          "facefusion/models-3.0.0 on Hugging Face", *(base + "gpen_bfr_256.onnx" for base in _FACEFUSION)),
    _gpen("GPEN-Colorization-1024.pth", 1024, None, None, _AUTHORS, _OSS + "GPEN-Colorization-1024.pth",
          kind="colorization", note="colours black-and-white portraits; the same network with other weights"),
    _gpen("GPEN-Inpainting-1024.pth", 1024, None, None, _AUTHORS, _OSS + "GPEN-Inpainting-1024.pth",
          kind="inpainting", note="inpaints missing regions; the same network with other weights"),
    _gpen("GPEN-Seg2face-512.pth", 512, None, None, _AUTHORS, _OSS + "GPEN-Seg2face-512.pth",
          kind="seg2face", note="generates faces from label maps; the same network with other weights"),
    _gpen("GPEN-BFR-512-D.pth", 512, None, None, _AUTHORS, _OSS + "GPEN-BFR-512-D.pth",
          kind="discriminator", note="needed for training only; not loadable"),
    _gpen("GPEN-BFR-256-D.pth", 256, None, None, _AUTHORS, _OSS + "GPEN-BFR-256-D.pth",
          kind="discriminator", note="needed for training only; not loadable"),
    CatalogueEntry(
        "face_detection_yunet_2026may.onnx", "face_detection_yunet_2026may.onnx", YUNET_LICENCE, "OpenCV Zoo on GitHub",
        ("https://media.githubusercontent.com/media/opencv/opencv_zoo/main/" + _ZOO,
         "https://github.com/opencv/opencv_zoo/raw/main/" + _ZOO),
        229_738, "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0", kind="detector",
        note="face detector with five landmarks, runs in OpenCV",
    ),
    CatalogueEntry(
        "scrfd_500m_bnkps.onnx", "scrfd_500m_bnkps.onnx", INSIGHTFACE_LICENCE,
        "InsightFace SCRFD, mirrored by ykk648/face_lib on Hugging Face",
        ("https://huggingface.co/ykk648/face_lib/resolve/main/face_detect/scrfd_onnx/scrfd_500m_bnkps.onnx",),
        2_524_648, "b467f878e26ff1e7ee05cd9936fdff63fa2a5af5d732ed17ee231f2dd5cc07ae", kind="detector",
        note="face detector with five landmarks, runs in the package insightface",
    ),
)  # fmt: skip


def find_entry(name: str) -> CatalogueEntry | None:
    """The entry of that name, in any case; without an extension, the first entry whose stem it is."""
    wanted = name.casefold()
    for entry in CATALOGUE:
        if entry.name.casefold() == wanted:
            return entry
    return next((entry for entry in CATALOGUE if Path(entry.name).stem.casefold() == wanted), None)


def entry_of_sha256(sha256: str) -> CatalogueEntry | None:
    """The entry with this published hash."""
    return next((entry for entry in CATALOGUE if entry.sha256 == sha256), None)


def entry_of_bytes(size: int) -> CatalogueEntry | None:
    """The entry of exactly this size in bytes: a guess that reads nothing, not a proof."""
    return next((entry for entry in CATALOGUE if entry.bytes == size), None)
