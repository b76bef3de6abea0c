"""The training loop of the landmark network: resumable, with a time budget and hard negative mining."""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..detectors.builtin.detector import BuiltinDetector
from ..detectors.builtin.landmark_net import LandmarkNet
from .landmarks_augment import face_batch, non_face_batch
from .landmarks_data import LEARNED_PICTURES, Portraits, read_portraits, read_rgb, skimage_pictures
from .landmarks_measure import measure
from .landmarks_negatives import NonFaces, find_non_faces, mine, squares_as_bank

log = logging.getLogger(__name__)

AVERAGE_DECAY = 0.998
HIGHEST_RATE = 2e-3


def main(argv: list[str] | None = None) -> int:
    """The command line of ``training/landmarks.py``; returns the exit code."""
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(prog="landmarks.py", description="Train the built-in detector's landmark network.")
    parser.add_argument("portraits", type=Path, help="folder with pictures of one size and landmarks.json")
    parser.add_argument("--run", type=Path, default=root / "training/runs/landmarks", help="folder of the checkpoint")
    parser.add_argument("--out", type=Path, default=root / "models/builtin/face-landmarks.safetensors")
    parser.add_argument("--no-faces", type=Path, help="a folder of further pictures without faces")
    parser.add_argument("--steps", type=int, default=4000, help="length of the learning-rate schedule, in batches")
    parser.add_argument("--batch", type=int, default=96, help="examples per batch, half of them faces")
    parser.add_argument("--time-budget", type=float, default=3600.0, help="seconds; call again to resume")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", action="store_true", help="do not train; measure the weights in --out")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    if args.measure:
        detector = BuiltinDetector(cascade_file(), load_file(args.out))
        for what, value in measure(detector, args.portraits).items():
            print(f"{what}: {value:.4g}")
        return 0
    args.run.mkdir(parents=True, exist_ok=True)
    portraits = read_portraits(args.portraits, held_out=False)
    pictures = skimage_pictures(LEARNED_PICTURES) + skimage_pictures(LEARNED_PICTURES, long_side=384)
    if args.no_faces:
        pictures += [read_rgb(path) for path in sorted(args.no_faces.iterdir())]
    boxes_of, generator = BuiltinDetector.cascade_boxes_of(cascade_file()), torch.Generator().manual_seed(args.seed)
    kept = args.run / "non-faces.pt"
    non_faces = kept_or_found(kept, lambda: find_non_faces(pictures, portraits, boxes_of, generator))
    fit(portraits, non_faces, args.run / "checkpoint.pt", args.steps, args.batch, args.time_budget, args.seed)
    export(args.run / "checkpoint.pt", args.out)
    return 0


def kept_or_found(path: Path, find: Callable[[], list[NonFaces]]) -> list[NonFaces]:
    """The result of ``find``, cached in ``path``, since it takes minutes."""
    if not path.is_file():
        log.info("collecting squares without a face and false positives of the cascade")
        torch.save([(one.grey, one.squares, one.face) for one in find()], path)
    return [NonFaces(*parts) for parts in torch.load(path, weights_only=True)]


def cascade_file() -> str:
    """Path of the cascade's XML in scikit-image's package."""
    from skimage.data import lbp_frontal_face_cascade_filename

    return lbp_frontal_face_cascade_filename()


def fit(
    portraits: Portraits, non_faces: list[NonFaces], checkpoint: Path, steps: int, batch: int, seconds: float, seed: int
) -> None:
    """Train until ``steps`` batches are done or ``seconds`` have passed; ``checkpoint`` holds the whole state."""
    torch.manual_seed(seed)
    net, average = LandmarkNet(), LandmarkNet()
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.AdamW(net.parameters(), lr=HIGHEST_RATE, weight_decay=1e-2)
    bank, done = squares_as_bank(non_faces), 0
    hard = bank[:0]
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        done, hard = state["done"], state["hard"]
    generator = torch.Generator().manual_seed(seed + done)
    log.info("%d portraits, %d squares without a face, from step %d of %d", len(portraits), len(bank), done, steps)
    started, shown = time.monotonic(), [0.0, 0.0, 0.0]
    while done < steps and time.monotonic() - started < seconds:
        optimizer.param_groups[0]["lr"] = learning_rate(done / steps)
        losses = step(net, optimizer, portraits, bank, hard, batch, done < 0.7 * steps, generator)
        done += 1
        follow(average, net, min(AVERAGE_DECAY, done / (done + 10)))
        shown = [0.99 * old + 0.01 * new for old, new in zip(shown, losses, strict=True)]
        if done % 200 == 0:
            line = "step %d  points %.4f  face %.4f  no face %.4f  hard %d  %.0f s"
            log.info(line, done, *shown, len(hard), time.monotonic() - started)
        if done % 750 == 0:
            part = non_faces[done // 750 % 3 :: 3]  # a third at a time, which takes as long as a hundred batches
            hard = torch.cat([hard, mine(average.eval(), part, above=-3.0)])[-6000:]
        if done % 1000 == 0:
            save(checkpoint, net, average, optimizer, done, hard)
    save(checkpoint, net, average, optimizer, done, hard)


def learning_rate(share: float) -> float:
    """Up over the first twentieth of the training, then down along a cosine; ``share`` of it is done, in [0, 1]."""
    if share < 0.05:
        return HIGHEST_RATE * (share / 0.05 + 0.02)
    return HIGHEST_RATE * (0.5 + 0.5 * math.cos(math.pi * (share - 0.05) / 0.95))


def step(
    net: LandmarkNet, optimizer: torch.optim.Optimizer, portraits: Portraits, bank: Tensor, hard: Tensor, batch: int,
    coarse: bool, generator: torch.Generator,
) -> tuple[float, float, float]:  # fmt: skip
    """Train on one batch: half faces, and a quarter of the others from ``hard`` if it holds any.

    Args:
        coarse: compute in bfloat16.

    Returns:
        The losses of the points, of faces and of non-faces.
    """
    net.train()
    faces, points = face_batch(portraits, batch // 2, generator)
    from_hard = batch // 8 if len(hard) else 0
    others = [non_face_batch(portraits, bank, batch - batch // 2 - from_hard, generator)]
    if from_hard:
        chosen = hard[torch.randint(len(hard), (from_hard,), generator=generator)].float() / 255
        mirror = torch.rand(from_hard, 1, 1, 1, generator=generator) < 0.5
        chosen = torch.where(mirror, chosen.flip(-1), chosen)
        others.append(chosen + 0.02 * torch.randn(chosen.shape, generator=generator))
    images = torch.cat([faces, *others])
    with torch.autocast("cpu", torch.bfloat16, enabled=coarse):
        found, logits = net(images.to(memory_format=torch.channels_last))
    found, logits = found.float(), logits.float()
    count = len(faces)
    # in units of the eye distance in the reference square; the loss turns linear at 5 % of it
    points_loss = F.smooth_l1_loss(found[:count] / 0.326, points / 0.326, beta=0.05)
    face_loss = F.softplus(-logits[:count]).mean()
    other_loss = F.softplus(logits[count:]).mean()
    optimizer.zero_grad(set_to_none=True)
    (10 * points_loss + face_loss + other_loss).backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
    optimizer.step()
    return points_loss.item(), face_loss.item(), other_loss.item()


@torch.no_grad()
def follow(average: LandmarkNet, net: LandmarkNet, decay: float) -> None:
    """Update the moving average of the weights and of the batch statistics."""
    for old, new in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)


def save(checkpoint: Path, net: LandmarkNet, average: LandmarkNet, optimizer: torch.optim.Optimizer,
         done: int, hard: Tensor) -> None:  # fmt: skip
    """Write the whole state of ``fit`` atomically."""
    state = {
        "net": net.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict(),
        "done": done, "hard": hard,
    }  # fmt: skip
    part = checkpoint.with_suffix(".part")
    torch.save(state, part)
    part.replace(checkpoint)


def export(checkpoint: Path, out: Path) -> None:
    """Write the averaged weights as fp16 ``.safetensors``."""
    average = torch.load(checkpoint, weights_only=True)["average"]
    out.parent.mkdir(parents=True, exist_ok=True)
    halves = {key: value.half().contiguous() for key, value in average.items() if value.is_floating_point()}
    save_file(halves, out, metadata={"format": "pt", "what": "five face landmarks and a face logit"})
    out.chmod(0o644)  # safetensors writes files that only the owner may read
    log.info("wrote %s, %d bytes", out, out.stat().st_size)
