"""A small network that puts five points on a face and says whether there is one.

It looks at a grey square cut out of the photo around a proposed face. Called once on the proposed square and once
more on the square aligned by the first answer, it refines its points and gets a second opinion on what it sees.
The weights come from ``training/landmarks.py``; the module holds no file and no path.

    Convention: photo coordinates are continuous (x, y) in pixels, the origin at the top-left corner of the image.
    Points on a square are (u, v) in [0, 1]², the origin at its top-left corner. A square is the 2×3 matrix that maps
    (u, v, 1) to (x, y). Order of the points: left eye, right eye (as seen in the picture), nose, left and right
    mouth corner.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUT_SIDE = 64  # pixels of the square the network looks at

# Where the points lie on a well-placed square: the mean of the LBP cascade's boxes on the training portraits,
# made symmetric, the box enlarged by a fifth.
MEAN_FACE = torch.tensor(
    [[0.337, 0.353], [0.663, 0.353], [0.500, 0.552], [0.345, 0.672], [0.655, 0.672]],
    dtype=torch.float64,
    device="cpu",
)
BOX_SCALE = 1.2  # side of the square over side of the cascade's box
BOX_CENTRE = (0.5, 0.56)  # centre of the square in the cascade's box

MIRRORED = [1, 0, 2, 4, 3]  # the viewer's left eye of a mirrored face was the right one
_BATCHES = (32, 8, 1)  # how many squares the network is given at once
# scale, shift in sides along x and y, degrees
_SHAKES = (
    (1.15, 0.0, 0.0, 0.0), (0.87, 0.0, 0.0, 0.0), (1.0, 0.07, 0.0, 0.0), (1.0, -0.07, 0.0, 0.0),
    (1.0, 0.0, 0.07, 0.0), (1.0, 0.0, -0.07, 0.0), (1.0, 0.0, 0.0, 12.0), (1.0, 0.0, 0.0, -12.0),
)  # fmt: skip
_SAMPLES_AT_ONCE = 1 << 22  # bounds the memory of the oversampled squares to about 50 MB


class _Layer(nn.Module):
    """Weight and bias, drawn as PyTorch's own layers draw them; used in the type and on the device of what comes in.

    As ComfyUI's layers are and ``nn``'s are not: the weights may be stored narrow, and nobody moves them by hand.
    """

    def __init__(self, *shape: int, bias: bool) -> None:
        super().__init__()
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(shape[0]).uniform_(-bound, bound)) if bias else None

    def of(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.weight.to(x), None if self.bias is None else self.bias.to(x)


class _Convolution(_Layer):
    """[N,I,H,W] -> [N,O,H/stride,W/stride]."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int = 1, *, bias: bool = True) -> None:
        super().__init__(outputs, inputs, side, side, bias=bias)
        self.stride, self.padding = stride, side // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, *self.of(x), self.stride, self.padding)


class _Dense(_Layer):
    """[N,I] -> [N,O]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(outputs, inputs, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, *self.of(x))


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = _Convolution(inputs, outputs, 3, stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = nn.Sequential(_Convolution(channels, channels, 3, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class LandmarkNet(nn.Module):
    """Five heat maps of 16×16 whose centres of mass are the points, and one logit for "this is a face".

    Input: (N, 1, 64, 64) float, grey, any brightness and contrast (every square is normalised by itself).
    Output: points (N, 5, 2) in [0, 1]² of the square, logits (N,).
    """

    def __init__(self) -> None:
        super().__init__()
        self.to_32 = _conv(1, 16, 2)
        self.to_16 = nn.Sequential(_conv(16, 32, 2), _Residual(32))
        self.to_8 = nn.Sequential(_conv(32, 64, 2), _Residual(64))
        self.to_4 = nn.Sequential(_conv(64, 96, 2), _Residual(96))
        self.lift_4 = _Convolution(96, 64, 1)
        self.up_8 = _conv(64, 64)
        self.lift_8 = _Convolution(64, 32, 1)
        self.up_16 = _conv(32, 32)
        self.heat = _Convolution(32, 5, 1)
        self.face_features = _Convolution(96, 24, 1)
        self.face = nn.Sequential(_Dense(24 * 16, 64), nn.ReLU(inplace=True), nn.Dropout(0.2), _Dense(64, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert x.shape[1:] == (1, INPUT_SIDE, INPUT_SIDE), f"expected (N, 1, 64, 64), got {tuple(x.shape)}"
        x = x - x.mean((2, 3), keepdim=True)
        x = x / (x.square().mean((2, 3), keepdim=True).sqrt() + 0.02)
        at_16 = self.to_16(self.to_32(x))  # [N,32,16,16]
        at_8 = self.to_8(at_16)  # [N,64,8,8]
        at_4 = self.to_4(at_8)  # [N,96,4,4]
        up = self.up_8(at_8 + F.interpolate(self.lift_4(at_4), scale_factor=2.0))
        up = self.up_16(at_16 + F.interpolate(self.lift_8(up), scale_factor=2.0))
        logits = self.face(F.relu(self.face_features(at_4)).flatten(1))[:, 0]
        return centres_of_mass(self.heat(up)), logits


def centres_of_mass(heat: Tensor) -> Tensor:
    """Soft arg-max: (N, P, S, S) scores -> (N, P, 2) points (u, v) in [0, 1]²."""
    side = heat.shape[-1]
    weight = heat.flatten(2).softmax(-1).unflatten(-1, (side, side))
    at = (torch.arange(side, dtype=heat.dtype, device=heat.device) + 0.5) / side
    return torch.stack([(weight.sum(-2) * at).sum(-1), (weight.sum(-1) * at).sum(-1)], -1)


def load_landmark_net(state_dict: Mapping[str, Tensor]) -> LandmarkNet:
    """The network with these weights (any float type; computed in float32 on the CPU), ready to be called.

    Raises ValueError, naming the keys, if they are not this network's.
    """
    with torch.device("cpu"):  # a host may have set another default device, or another default dtype
        net = LandmarkNet().float()
    wanted = {key: tuple(value.shape) for key, value in net.state_dict().items() if value.is_floating_point()}
    given = {key: tuple(value.shape) for key, value in state_dict.items() if value.is_floating_point()}
    wrong = sorted(key for key in wanted.keys() | given.keys() if wanted.get(key) != given.get(key))
    if wrong:
        raise ValueError(
            f"these are not the weights of the landmark network: expected {len(wanted)} tensors, got {len(given)}; "
            f"differing keys: {', '.join(wrong[:5])}. Take models/builtin/face-landmarks.safetensors."
        )
    floats = {key: value.float() for key, value in state_dict.items() if value.is_floating_point()}
    net.load_state_dict(floats, strict=False)  # batch counters are of no use here and are not stored
    return net.eval().requires_grad_(False)


def run_landmark_net(net: LandmarkNet, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Points (M, 5, 2) and logits (M,) of any number of squares (M, 1, 64, 64), in batches of a few fixed sizes.

    oneDNN keeps memory for every batch size that it has seen, so batches of any size would fill it.
    """
    points, logits = [squares.new_zeros(0, 5, 2)], [squares.new_zeros(0)]
    start = 0
    while start < len(squares):
        left = len(squares) - start
        size = next((size for size in _BATCHES if size <= left), _BATCHES[-1])
        some_points, some_logits = net(squares[start : start + size])
        points.append(some_points)
        logits.append(some_logits)
        start += size
    return torch.cat(points), torch.cat(logits)


def shaken_squares(squares: Tensor) -> Tensor:
    """Squares (M, 2, 3) a little larger, smaller, beside and turned: (M, 8, 2, 3)."""
    shaken = []
    for scale, x, y, degrees in _SHAKES:
        cos, sin = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
        turn = squares.new_tensor([[cos, -sin], [sin, cos]])
        linear = squares[:, :, :2] @ turn
        centre = squares @ squares.new_tensor([0.5 + x, 0.5 + y, 1.0])
        shaken.append(torch.cat([linear, (centre - linear @ squares.new_tensor([0.5, 0.5]))[..., None]], -1))
    return torch.stack(shaken, 1)


def squares_of_boxes(boxes: Tensor) -> Tensor:
    """Squares to look at, for the cascade's boxes: (M, 4) x0, y0, x1, y1 in the photo -> (M, 2, 3) float64."""
    boxes = boxes.to(torch.float64)
    corner, extent = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    side = extent.amax(-1) * BOX_SCALE
    centre = corner + extent * extent.new_tensor(BOX_CENTRE)
    squares = boxes.new_zeros(len(boxes), 2, 3)
    squares[:, 0, 0] = squares[:, 1, 1] = side
    squares[:, :, 2] = centre - side[:, None] / 2
    return squares


def squares_of_points(points: Tensor) -> Tensor:
    """The squares on which these points lie as ``MEAN_FACE`` does: (M, 5, 2) photo -> (M, 2, 3) float64.

    Convention: least-squares similarity from (u, v) to (x, y), without reflection. With points as complex numbers it
    is z = a·w + b, a = sum of (z - mean(z))·conj(w - mean(w)) / sum of |w - mean(w)|².
    """
    points = points.to(torch.float64)
    mean = points.mean(1)
    z, w = points - mean[:, None], MEAN_FACE - MEAN_FACE.mean(0)
    norm = w.square().sum()
    real = (z * w).sum((1, 2)) / norm
    imag = (z[..., 1] * w[:, 0] - z[..., 0] * w[:, 1]).sum(1) / norm
    linear = torch.stack([torch.stack([real, -imag], -1), torch.stack([imag, real], -1)], -2)  # [M,2,2]
    return torch.cat([linear, (mean - linear @ MEAN_FACE.mean(0))[..., None]], -1)


def points_on_photo(squares: Tensor, points: Tensor) -> Tensor:
    """Points on squares to the photo: (M, 2, 3), (M, 5, 2) in [0, 1]² -> (M, 5, 2) float64 in photo pixels."""
    return points.to(torch.float64) @ squares[:, :, :2].transpose(1, 2) + squares[:, None, :, 2]


def mirror_points(points: Tensor) -> Tensor:
    """Points (M, 5, 2) in [0, 1]² of a mirrored square, on the square itself: left and right change places."""
    return torch.stack([1 - points[..., 0], points[..., 1]], -1)[:, MIRRORED]


def cut_squares(grey: Tensor, squares: Tensor) -> Tensor:
    """Cut squares out of a photo: (H, W) float32, (M, 2, 3) -> (M, 1, 64, 64) float32.

    A square larger than 64 pixels is sampled on a grid finer by a whole factor and averaged, so nothing aliases;
    outside the photo the nearest pixel of its edge counts. Convention: as in the head of this file.
    """
    height, width = grey.shape
    out = grey.new_zeros(len(squares), 1, INPUT_SIDE, INPUT_SIDE)
    sides = torch.linalg.det(squares[:, :, :2]).clamp(min=0).sqrt()
    factors = [min(32, max(1, math.ceil(side / INPUT_SIDE))) for side in sides.tolist()]
    # unit square -> photo -> grid_sample's [-1, 1] between the photo's edges, in one matrix
    to_grid = squares * squares.new_tensor([[2.0 / width], [2.0 / height]]) - squares.new_tensor([0.0, 0.0, 1.0])
    to_grid = to_grid.to(grey.dtype)
    for factor in sorted(set(factors)):
        members = [index for index, value in enumerate(factors) if value == factor]
        fine = INPUT_SIDE * factor
        at = (torch.arange(fine, dtype=grey.dtype, device=grey.device) + 0.5) / fine
        uv = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).view(1, -1, 2)  # rows are v, columns are u
        step = max(1, _SAMPLES_AT_ONCE // (fine * fine))
        for start in range(0, len(members), step):
            chosen = members[start : start + step]
            matrix = to_grid[chosen]
            grid = (uv @ matrix[:, :, :2].transpose(1, 2) + matrix[:, None, :, 2]).view(len(chosen), fine, fine, 2)
            source = grey.expand(len(chosen), 1, height, width)
            cut = F.grid_sample(source, grid, mode="bilinear", padding_mode="border", align_corners=False)
            out[chosen] = F.avg_pool2d(cut, factor) if factor > 1 else cut
    return out
