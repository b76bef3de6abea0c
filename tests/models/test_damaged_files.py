"""Damaged and hostile weight files: one kind of error whatever is in them, and bounded memory and time."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.models import ModelFileError, inspect_header, read_state_dict, verify_file
from gpen_pack.models.loading import read_gpen
from safetensors.torch import save

CONFIG = GPENConfig.standard(8, narrow=1 / 128, style_dim=8, mapping_layers=1)
FORMATS = ("pth", "legacy.pth", "safetensors")
Check = Callable[[bytes, str], str]


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    """The same network in every format."""
    torch.manual_seed(1)
    state = GPEN(CONFIG).state_dict()
    made = {"safetensors": save(dict(state), {"template": "gpen"})}
    for name, zipped in (("pth", True), ("legacy.pth", False)):
        buffer = io.BytesIO()
        torch.save({"g_ema": state, "step": 3}, buffer, _use_new_zipfile_serialization=zipped)
        made[name] = buffer.getvalue()
    return made


@pytest.fixture
def refused(tmp_path: Path) -> Check:
    """Check that a content is refused in one sentence, within bounds; returns the sentence."""

    def check(content: bytes, name: str = "damaged.pth") -> str:
        path = tmp_path / name
        path.write_bytes(content)
        tracemalloc.start()
        started = time.process_time()
        try:
            with pytest.raises(ModelFileError) as caught:
                read_gpen(path)
            assert time.process_time() - started < 5, "one second, with tracemalloc's own cost"
            assert tracemalloc.get_traced_memory()[1] < 100 << 20
        finally:
            tracemalloc.stop()
        text = str(caught.value)
        assert name in text and "\n" not in text and text.endswith(".") and len(text) < 1500
        return text

    return check


def mutate(content: bytes, rng: random.Random) -> bytes:
    """One to four changes: a bit, a byte, a run of bytes copied elsewhere, cut out, put in, or the end cut off.

    Most fall into the parts that describe the tensors, which lie at both ends of the file.
    """
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        where = rng.choice((rng.randrange(len(data)), rng.randrange(min(4000, len(data))), -rng.randrange(1, 3000)))
        where %= len(data)
        length = rng.choice((1, 2, 4, 8, 60))
        other = rng.randrange(len(data))
        change = rng.randrange(6)
        if change == 0:
            data[where] ^= 1 << rng.randrange(8)
        elif change == 1:
            data[where] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif change == 2:
            data[where : where + length] = data[other : other + length]
        elif change == 3:
            del data[where : where + length]
        elif change == 4:
            data[where:where] = rng.choice((bytes(length), b"\xff" * length, data[other : other + length]))
        else:
            del data[max(1, where) :]
    return bytes(data)


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_files_raise_one_kind_of_error(tmp_path: Path, contents: dict[str, bytes], name: str) -> None:
    path = tmp_path / f"mutated.{name}"
    refused = 0
    for seed in range(667):
        path.write_bytes(mutate(contents[name], random.Random(seed)))
        try:
            weights, config = read_gpen(path)
        except ModelFileError as error:
            refused += 1
            assert path.name in str(error) and "\n" not in str(error), seed
        except Exception as error:
            pytest.fail(f"{name}, seed {seed}: {type(error).__name__}: {error}")
        else:
            assert config == CONFIG and len(weights) == 35, "weights may differ, the network cannot"
    assert refused > 300


# ---------------------------------------------------------------- a few bytes that ask for everything


def torch_zip(pickled: bytes, **members: bytes) -> bytes:
    """A checkpoint with this pickle, as ``torch.save`` lays it out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/data.pkl", pickled)
        for name, content in members.items():
            archive.writestr(f"m/data/{name[1:]}", content)
    return buffer.getvalue()


def tensor_pickle(numel: int, shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """``{"w": tensor}`` in the operations that ``torch.save`` writes."""

    def number(value: int) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    tensor = b"(" + storage + number(numel) + b"tQ" + number(offset) + numbers(shape) + numbers(stride)
    tensor += b"\x89ccollections\nOrderedDict\n)Rt"
    return b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n" + tensor + b"Rs."


def test_the_hand_made_pickle_is_read(tmp_path: Path) -> None:
    """What the next test varies is right where it is not varied."""
    path = tmp_path / "m.pth"
    path.write_bytes(torch_zip(tensor_pickle(6, (2, 2), (1, 2), 1), _0=struct.pack("<6f", *range(6))))
    assert torch.equal(read_state_dict(path)["w"], torch.tensor([[1.0, 3.0], [2.0, 4.0]]))


@pytest.mark.parametrize(
    ("numel", "shape", "stride", "offset"),
    [
        (6, (7,), (1,), 0),
        (6, (3, 3), (1, 1), 0),
        (6, (1 << 40, 1 << 40), (0, 0), 0),
        (6, (6,), (0,), 1),
        (6, (2,), (6,), 0),
        (6, (2,), (-1,), 1),
        (6, (-2,), (1,), 0),
        (6, (1,), (1,), -1),
        (6, (1,), (1,), 6),
        (6, (1,), (1, 1), 0),
        (6, (1,) * 100, (1,) * 100, 0),
        (7, (7,), (1,), 0),
        (1 << 62, (1 << 62,), (1,), 0),
        (-1, (1,), (1,), 0),
    ],
)
def test_a_tensor_outside_of_its_storage(
    refused: Check, numel: int, shape: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    content = torch_zip(tensor_pickle(numel, shape, stride, offset), _0=struct.pack("<6f", *range(6)))
    assert "damaged" in refused(content)


def nested(depth: int, width: int) -> object:
    """Dicts that hold one another many times over: little to store, endless to walk."""
    inner: object = {"w": torch.ones(1)}
    for _ in range(depth):
        inner = {f"k{i}": inner for i in range(width)}
    return inner


def saved(value: object, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_dicts_that_multiply(refused: Check, zipped: bool) -> None:
    assert "values" in refused(saved(nested(7, 100), zipped))


def test_tensors_that_share_one_storage_many_times(refused: Check) -> None:
    whole = torch.zeros(100_000)
    assert "overlap" in refused(saved({f"w{i}": whole for i in range(200)}, True))


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02" + b"}" * 7_000_000,
        b"\x80\x02]" + b"(" * 3_000_000 + b"." ,
        b"\x80\x02Nr" + struct.pack("<I", 0xFFFFFFFF) + b".",
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x",
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.",
        b"\x80\x02I" + b"9" * 1_000_000 + b"\n.",
        b"\x80\x02\x8b" + struct.pack("<I", 0x7FFFFFFF) + b"9",
        b"\x80\x02" + b"]q\x00h\x00a" * 1000 + b".",
        b"\x80\x02c" + b"a" * 1_000_000 + b"\nb\n.",
        b"\x80\x02" + b"X" + struct.pack("<I", 7_000_000) + b"." * 7_000_000 + b"0\x8c\x01.",
        b"\x80\x02" + b"N" * 9_000_000 + b".",
        b"\x80\x02)" + b"\x85" * 300_000 + b"Q.",
    ],
    ids=["dicts", "marks", "memo index", "bytes", "frame", "digits", "long", "cycles", "name", "dots", "length",
         "nesting"],
)  # fmt: skip
@pytest.mark.parametrize("container", ["zip", "legacy", "plain"])
def test_pickles_that_ask_for_everything(refused: Check, pickled: bytes, container: str) -> None:
    if container == "zip":
        pickled = torch_zip(pickled)
    elif container == "legacy":
        old = saved({"w": torch.ones(1)}, False)
        stream = io.BytesIO(old)
        for _ in range(3):
            pickle.load(stream)  # noqa: S301 - our own file
        pickled = old[: stream.tell()] + pickled
    refused(pickled)


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 400_000,
        b"{" + b'"a":{' * 100_000,
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,Infinity]}}',
        b'{"a":{"dtype":"F32","shape":[1e3],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}',
        b'{"a":{"dtype":"F32","shape":[' + b"9" * 10_000 + b'],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[0,999999999999],"data_offsets":[0,4]}}',
        b'{"__metadata__":{"a":[1]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b'{"a":[1]}',
        b'{"\xff":1}',
        b"{}",
        b'{"a\\n\\u001b[2J' + b"." * 1_000_000 + b'":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    ],
)
def test_safetensors_headers_of_every_kind(refused: Check, header: bytes) -> None:
    if not header.startswith(b"{"):
        header = b'{"a":' + header
    refused(len(header).to_bytes(8, "little") + header + bytes(4), "damaged.safetensors")


def test_a_header_larger_than_any_networks(refused: Check) -> None:
    header = b'{"a":[' + b"[]," * 20_000_000
    assert "allowed" in refused(len(header).to_bytes(8, "little") + header, "damaged.safetensors")


def test_a_compressed_archive_is_not_unpacked(refused: Check) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", tensor_pickle(1, (1,), (1,)))
        archive.writestr("m/data/0", bytes(50_000_000))
    assert "compressed" in refused(buffer.getvalue())


def test_a_directory_of_a_million_members(refused: Check) -> None:
    entry = b"PK\x01\x02" + bytes(42)
    end = b"PK\x06\x06" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, 1 << 20, 1 << 20, len(entry) << 20, 30)
    end += b"PK\x06\x07" + struct.pack("<LQL", 0, 30 + (len(entry) << 20), 1)
    end += b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert "members" in refused(b"PK\x03\x04" + bytes(26) + entry * (1 << 20) + end)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes on this system")
    path = tmp_path / "model.pth"
    os.mkfifo(path)
    with pytest.raises(ModelFileError, match="pipe"):
        read_state_dict(path)


def test_errors_do_not_quote_a_text_file(tmp_path: Path) -> None:
    for name, content in (("secret", "root:hunter2:0:0\n"), ("secret.json", json.dumps({"key": "hunter2"}))):
        path = tmp_path / name
        path.write_text(content)
        with pytest.raises(ModelFileError, match="text file") as caught:
            read_state_dict(path)
        assert "hunter2" not in str(caught.value)


def test_the_cases_of_public_reports(shared: Path, refused: Check) -> None:
    files = [path for path in (shared / "cases" / "models").iterdir() if path.suffix != ".onnx"]
    assert len(files) >= 8
    for path in files:
        refused(path.read_bytes(), path.name)
        with pytest.raises(ModelFileError):
            inspect_header(path)
        assert verify_file(path).problem
