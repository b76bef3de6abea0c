"""Model files: the catalogue, search, download, safe reading, and loading a restorer."""

from ..gpen_arch import CheckCancel, never_cancelled
from .catalogue import CATALOGUE, CatalogueEntry, entry_of_sha256, find_entry
from .download import by_hand, download
from .errors import DownloadError, ModelFileError, ModelNotFoundError, RestoreError
from .files.hashing import sha256_of
from .files.reading import read_metadata, read_state_dict
from .inspection import ModelInfo, inspect_header, inspect_model
from .loading import load_gpen
from .restorers.restorer import OnNotice, Restorer
from .search import (
    BUILTIN_LABEL,
    BUILTIN_NAME,
    BUILTIN_PATH,
    OWN_FOLDER,
    ModelFile,
    default_folders,
    default_shared_folders,
    download_folder,
    find_model_files,
    near_names,
    resolve_model,
)
from .verification import Verdict, verify_file

__all__ = [
    "BUILTIN_LABEL",
    "BUILTIN_NAME",
    "BUILTIN_PATH",
    "CATALOGUE",
    "OWN_FOLDER",
    "CatalogueEntry",
    "CheckCancel",
    "DownloadError",
    "ModelFile",
    "ModelFileError",
    "ModelInfo",
    "ModelNotFoundError",
    "OnNotice",
    "RestoreError",
    "Restorer",
    "Verdict",
    "by_hand",
    "default_folders",
    "default_shared_folders",
    "download",
    "download_folder",
    "entry_of_sha256",
    "find_entry",
    "find_model_files",
    "inspect_header",
    "inspect_model",
    "load_gpen",
    "near_names",
    "never_cancelled",
    "read_metadata",
    "read_state_dict",
    "resolve_model",
    "sha256_of",
    "verify_file",
]
