"""The pipeline over a stream: order, full batches, bounded memory, and errors that stay with their frame."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from gpen_pack.detectors import Detections
from gpen_pack.faces import TEMPLATES
from gpen_pack.models import RestoreError
from gpen_pack.restoration import restore_frames, restore_image
from gpen_pack.restoration.running import memory


class Sizes:
    in_size = out_size = 32


class Bare:
    """The least that may stand in a restorer's place: sizes and ``restore``."""

    config = Sizes

    def __init__(self) -> None:
        self.calls: list[int] = []

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(crops))
        return 1 - crops


class Batched(Bare):
    batch_size = 4


class Picky(Batched):
    """Cannot restore the face of :func:`greener`."""

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(crops))
        if (crops[..., 1].mean(dim=(1, 2)) > 0.3).any():
            raise RestoreError("the restored face is not finite")
        return 1 - crops


class BlueSquares:
    """A blue square is a face; a frame whose first pixel is red cannot be looked at."""

    name = provider = "test"

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        if tuple(image[0, 0]) == (255, 0, 0):
            raise RuntimeError("the detector broke")
        blue = (image[..., 2] > 200) & (image[..., 0] < 60)
        if not blue.any():
            return Detections.of([], [], [])
        rows, columns = np.nonzero(blue)
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float64)
        points = TEMPLATES["gpen"].numpy() * (box[2:] - box[:2]) + box[:2]
        return Detections(box[None], points[None], np.array([0.9]))


def frame(face: bool = True, height: int = 60, width: int = 80, seed: int = 0) -> torch.Tensor:
    image = torch.rand(height, width, 3, generator=torch.Generator().manual_seed(seed)) * 0.2 + 0.4
    if face:
        image[10:42, 20:52] = torch.tensor([0.1, 0.1, 0.95])
    return image


def greener(image: torch.Tensor) -> torch.Tensor:
    """A face that is a little greener, and still found."""
    image = image.clone()
    image[10:42, 20:52, 1] += 0.12
    image[20:30, 26:46, 1] = 1.0
    return image


def run(frames: Any, restorer: Any = None, **options: Any) -> Any:
    return restore_frames(frames, restorer or Batched(), BlueSquares(), fidelity=0.0, **options)


def test_frames_come_in_order_with_their_own_sizes_and_reports() -> None:
    sizes = [(60, 80), (90, 70), (64, 64), (61, 81)]
    frames = [frame(index != 2, *size, seed=index) for index, size in enumerate(sizes)]
    stream = run(iter(frames))
    results = list(stream)
    assert [result.index for result in results] == [0, 1, 2, 3]
    assert [tuple(result.image.shape[:2]) for result in results] == sizes
    assert [len(result.faces) for result in results] == [1, 1, 0, 1]
    assert [result.report.faces_restored for result in results] == [1, 1, 0, 1]
    assert torch.equal(results[2].image, frames[2]) and not results[2].mask.any()
    for result, given in zip(results, frames, strict=True):
        assert torch.equal(result.image[result.mask == 0], given[result.mask == 0])
    total = stream.report
    assert (total.frames, total.faces_found, total.faces_restored, total.faces_pasted) == (4, 3, 3, 3)
    assert [note.frame for note in total.faces] == [0, 1, 3]
    assert results[0].report.milliseconds["detect"] > 0 and results[0].report.model["out_size"] == 32


def test_twelve_frames_of_one_face_and_batches_of_four_are_three_calls() -> None:
    restorer = Batched()
    assert len(list(run([frame(seed=i) for i in range(12)], restorer))) == 12
    assert restorer.calls == [4, 4, 4]


def test_a_batch_is_filled_across_frames_without_a_face() -> None:
    restorer = Batched()
    list(run([frame(index % 3 == 0, seed=index) for index in range(12)], restorer))
    assert restorer.calls == [4]


def test_an_object_with_sizes_and_restore_is_enough() -> None:
    restorer = Bare()
    stream = run([frame(), frame(seed=1)], restorer)
    assert [result.error for result in stream] == [None, None]
    assert restorer.calls == [1, 1], "a restorer that says no batch size gets one face at a time"
    assert stream.report.model["name"] == "Bare" and stream.report.model["precision"] == "fp32"


def test_a_frame_does_not_depend_on_its_company() -> None:
    frames = [frame(index % 4 != 3, 60 + index, 80, seed=index) for index in range(9)]
    together = list(run(frames))
    for index, given in enumerate(frames):
        (alone,) = run([given])
        assert torch.equal(alone.image, together[index].image) and torch.equal(alone.mask, together[index].mask)


def test_the_same_frames_as_a_batch_give_the_same_result() -> None:
    frames = [frame(index != 1, seed=index) for index in range(5)]
    batch = restore_image(torch.stack(frames), Batched(), BlueSquares(), fidelity=0.0)  # type: ignore[arg-type]
    streamed = list(run(frames))
    assert torch.equal(batch.image, torch.stack([result.image for result in streamed]))
    assert torch.equal(batch.mask, torch.stack([result.mask for result in streamed]))


def test_memory_is_bounded_by_the_frames_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_FRAMES_ON_CPU", 3 * 4 * 60 * 80 * 7)  # three frames with result and mask
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def source() -> Iterator[torch.Tensor]:
        nonlocal most
        for index in range(40):
            made = frame(seed=index)
            alive.append(weakref.ref(made))
            yield made
            del made
            most = max(most, sum(reference() is not None for reference in alive))

    class Never(Batched):
        batch_size = 16  # never full: only the limit on frames in flight starts a batch

    restorer = Never()
    assert sum(1 for _ in run(source(), restorer)) == 40
    assert max(restorer.calls) == 3 and most <= 4


def test_the_number_in_flight_follows_from_size_not_from_length() -> None:
    cpu = torch.device("cpu")
    assert memory.frames_in_flight(1 << 40, cpu) == 1
    assert memory.frames_in_flight(1, cpu) == 64
    assert memory.frames_in_flight(4 * 1080 * 1920 * 7, cpu) < memory.frames_in_flight(4 * 540 * 960 * 7, cpu)


def broken(message: str = "the file is damaged") -> Callable[[], torch.Tensor]:
    def load() -> torch.Tensor:
        raise OSError(message)

    return load


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (broken(), "the file is damaged"),
        (ValueError("no picture"), "no picture"),
        (torch.rand(60, 80), r"expected \(height, width, 3 or 4\)"),
        (torch.full((60, 80, 3), float("nan")), "frame 1: 14400 of 14400 values are NaN or infinite"),
        ((torch.rand(60, 80, 3) * 255).to(torch.uint8), "divide by 255"),
        ("a string", "got str"),
        (None, "got NoneType"),
        (torch.tensor([1.0, 0.0, 0.0]).expand(60, 80, 3), "the detector broke"),
    ],
)
def test_a_failing_item_is_an_error_and_its_neighbours_are_unaffected(item: Any, message: str) -> None:
    restorer = Batched()
    results = list(run([frame(seed=0), item, frame(seed=2)], restorer))
    assert [result.index for result in results] == [0, 1, 2]
    assert results[1].image is None and results[1].mask is None
    with pytest.raises((OSError, TypeError, ValueError, RuntimeError), match=message):
        raise results[1].error
    for index in (0, 2):
        (alone,) = run([frame(seed=index)])
        assert results[index].error is None and torch.equal(results[index].image, alone.image)
    assert restorer.calls == [2], "the failure split the batch"


def test_an_iterator_that_fails_once_goes_on() -> None:
    class Source:
        def __init__(self) -> None:
            self.index = -1

        def __iter__(self) -> Source:
            return self

        def __next__(self) -> torch.Tensor:
            self.index += 1
            if self.index == 3:
                raise StopIteration
            if self.index == 1:
                raise RuntimeError("frame 1 cannot be decoded")
            return frame(seed=self.index)

    results = list(run(Source()))
    assert [result.error is None for result in results] == [True, False, True]


def test_a_source_that_only_fails_comes_to_an_end() -> None:
    class Hopeless:
        def __iter__(self) -> Hopeless:
            return self

        def __next__(self) -> torch.Tensor:
            raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        for _ in run(Hopeless()):
            pass


def test_a_face_that_cannot_be_restored_is_its_frames_error_alone() -> None:
    frames = [frame(seed=index) for index in range(4)]
    frames[2] = greener(frames[2])
    restorer = Picky()
    results = list(run(frames, restorer))
    assert [type(result.error) for result in results] == [type(None), type(None), RestoreError, type(None)]
    assert restorer.calls == [4, 1, 1, 1, 1]
    with pytest.raises(RestoreError):
        restore_image(torch.stack(frames), Picky(), BlueSquares())  # type: ignore[arg-type]


def test_what_cancel_raises_is_no_frames_error() -> None:
    class Cancelled(RuntimeError):
        """Old versions of ComfyUI raise an ordinary exception."""

    restorer = Batched()

    def check_cancel() -> None:
        if restorer.calls:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(run([frame(seed=index) for index in range(12)], restorer, check_cancel=check_cancel))
    assert restorer.calls == [4]


def test_masks_originals_and_enlargements_come_one_per_frame() -> None:
    frames = [frame(seed=index) for index in range(4)]
    originals = [None, frames[1].clone(), frames[2] * 0.5, torch.rand(9, 9, 3)]
    results = list(run(frames, original_image=iter(originals)))
    assert [len(result.faces) for result in results] == [0, 0, 1, 0]
    kinds = [[record.kind for record in result.report.skipped] for result in results]
    assert kinds == [["no_original"], ["unchanged"], [], ["no_original_size"]]
    masks = [torch.zeros(64, 64), torch.ones(30, 40), torch.zeros(60, 80), torch.ones(60, 80)]
    results = list(run(frames, mask=iter(masks)))
    assert [bool(result.mask.any()) for result in results] == [False, True, False, True]
    larger = [None, torch.rand(120, 160, 3), torch.rand(60, 90, 3), lambda: torch.rand(180, 240, 4)]
    results = list(run(frames, upscaled_image=larger))
    assert [None if r.image is None else tuple(r.image.shape) for r in results] == [
        (60, 80, 3), (120, 160, 3), None, (180, 240, 4),
    ]  # fmt: skip
    assert "aspect" in str(results[2].error)


def test_a_side_input_that_ends_early_is_named() -> None:
    results = list(run([frame(), frame(seed=1)], original_image=[frame() * 0.5]))
    assert results[0].error is None and "original_image: it ended before frame 1" in str(results[1].error)


@pytest.mark.parametrize("frames", [5, None, torch.tensor(1.0)])
def test_no_iterable_is_refused_at_once(frames: Any) -> None:
    with pytest.raises(TypeError):
        list(run(frames))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("threshold", "0.6", "threshold: expected a number from 0 to 1, got '0.6'"),
        ("fidelity", None, "fidelity: expected a number"),
        ("scale", 5, "scale: expected a number from 1 to 4"),
        ("crop_size", "large", "crop_size: expected auto or a whole number"),
        ("crop_size", 0, "crop_size"),
        ("template", "arcface", "template: expected one of gpen, ffhq"),
        ("feather", float("nan"), "feather"),
    ],
)
def test_options_are_refused_before_the_source_is_read(option: str, value: Any, message: str) -> None:
    def source() -> Iterator[torch.Tensor]:
        raise AssertionError("the source was read")
        yield

    with pytest.raises((TypeError, ValueError), match=message):
        restore_frames(source(), Batched(), BlueSquares(), **{option: value})  # type: ignore[arg-type]


def test_a_report_belongs_to_one_run() -> None:
    class Notices(Batched):
        warnings = ("the file is mislabelled",)
        told = False

        def restore(self, crops: torch.Tensor, check_cancel: Any = None, on_notice: Any = None) -> torch.Tensor:  # type: ignore[override]
            if not self.told:
                self.told = True
                on_notice("widened", {"model": "tiny", "dtype": "fp16", "faces": 1})
            return super().restore(crops)

    restorer = Notices()
    first, second = run([frame(), frame(False)], restorer), run([frame()], restorer)
    results = list(first)
    list(second)
    assert any("fp16 overflowed" in sentence for sentence in first.report.warnings)
    assert any("fp16 overflowed" in sentence for sentence in results[0].report.warnings)
    assert not any("fp16 overflowed" in sentence for sentence in results[1].report.warnings)
    assert second.report.warnings.count("the file is mislabelled") == 1
    assert not any("overflowed" in sentence for sentence in second.report.warnings)


def test_closing_a_run_lets_its_frames_go() -> None:
    given = frame()
    reference = weakref.ref(given)
    stream = run(iter([given, frame(seed=1), frame(seed=2)]), Bare())
    next(stream)
    del given
    stream.close()
    gc.collect()
    assert reference() is None
    assert list(stream) == []


def test_an_input_is_never_written_into() -> None:
    given = [frame(), frame().half(), frame()[:, :, [2, 1, 0]].flip(-1), torch.rand(60, 80, 4)]
    copies = [tensor.clone() for tensor in given]
    for result in run(given, scale=1.5):
        assert result.error is None
    assert all(torch.equal(a, b) for a, b in zip(given, copies, strict=True))


def test_every_crop_is_seen_once_also_where_a_neighbour_fails() -> None:
    frames = [frame(seed=index) for index in range(4)]
    frames[2] = greener(frames[2])
    seen: list[int] = []
    restorer = Picky()
    results = list(run(frames, restorer, on_crops=lambda index, faces, crops: seen.append(index)))
    assert [result.error is None for result in results] == [True, True, False, True]
    assert restorer.calls == [4, 1, 1, 1, 1] and seen == [0, 1, 2, 3]


def test_who_looks_at_crops_and_fails_spoils_that_frame_alone() -> None:
    def on_crops(index: int, faces: Any, crops: torch.Tensor) -> None:
        if index == 1:
            raise OSError("no space left on device")

    restorer = Batched()
    results = list(run([frame(seed=index) for index in range(4)], restorer, on_crops=on_crops))
    assert [type(result.error) for result in results] == [type(None), OSError, type(None), type(None)]
    assert restorer.calls == [3]
