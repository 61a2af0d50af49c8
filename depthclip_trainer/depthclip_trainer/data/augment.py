# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Paired augmentation: image, depth and intrinsics move together; colour changes the image alone.

Every random number comes from one table `draws` float32 [N, DRAWS] of uniform numbers, one row per sample, so that a
sample's fate does not depend on which process, micro-batch or source group it is handled in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from depthclip_trainer.data.sample import RawBatch

DRAWS = 32


@dataclass(frozen=True)
class AugmentConfig:
    """Strengths; 0 switches a step off. Probabilities are shares of the samples.

    Attributes:
        min_scale: the crop's side is min_scale..max_scale of the largest that fits: a narrower field of view.
        whole: probability that a frame is shown as the engine shows it: the largest crop, neither rolled nor stretched.
        flip: probability of a mirrored frame.
        roll_deg: largest rotation about the optical axis, either way.
        aspect: largest relative change of the crop's aspect, either way.
        brightness, contrast, saturation: largest relative change, either way.
        hue_deg: largest turn of the hue, either way.
        gamma: largest exponent g; drawn in 1/g..g.
        white_balance: largest relative gain of red against blue, either way.
        grey, blur, jpeg, erase: probabilities.
        noise: largest standard deviation of the noise, in units of full scale; half of the samples get some.
    """

    min_scale: float = 0.5
    max_scale: float = 1.0
    whole: float = 0.3
    flip: float = 0.5
    roll_deg: float = 5.0
    aspect: float = 0.1
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.4
    hue_deg: float = 15.0
    gamma: float = 1.4
    white_balance: float = 0.15
    grey: float = 0.05
    blur: float = 0.2
    noise: float = 0.04
    jpeg: float = 0.0
    erase: float = 0.0


NO_AUGMENT = AugmentConfig(
    min_scale=1.0, whole=0.0, flip=0, roll_deg=0, aspect=0, brightness=0, contrast=0, saturation=0, hue_deg=0,
    gamma=1.0, white_balance=0, grey=0, blur=0, noise=0,
)  # fmt: skip


def draw_affine(draws: Tensor, sizes: Tensor, width_px: int, height_px: int, config: AugmentConfig) -> Tensor:
    """Where each output pixel looks in its frame: float32 [N, 2, 3], `source = A[:, :2] @ output + A[:, 2]`.

    Args:
        draws: [N, DRAWS] uniform 0..1.
        sizes: [N, 2] width, height of the frames.
        width_px: of the output.
        height_px: of the output.
        config: strengths.
    """
    frame_w, frame_h = sizes[:, 0], sizes[:, 1]
    moved = draws[:, 31] >= config.whole
    stretch = torch.exp(moved * _symmetric(draws[:, 0]) * math.log1p(config.aspect))  # x against y
    per_y = torch.minimum(frame_w / (width_px * stretch), frame_h / height_px)  # source px per output px, largest
    scale = config.min_scale + (config.max_scale - config.min_scale) * draws[:, 1]
    per_y = per_y * torch.where(moved, scale, 1.0)
    per_x = per_y * stretch
    free_x = (frame_w - per_x * width_px).clamp_min(0)
    free_y = (frame_h - per_y * height_px).clamp_min(0)
    centre_x = (frame_w - 1) / 2 + (draws[:, 2] - 0.5) * free_x
    centre_y = (frame_h - 1) / 2 + (draws[:, 3] - 0.5) * free_y
    roll = torch.deg2rad(moved * _symmetric(draws[:, 4]) * config.roll_deg)
    mirror = torch.where(draws[:, 5] < config.flip, -1.0, 1.0)
    cos, sin = torch.cos(roll), torch.sin(roll)
    # source = centre + R(roll) @ diag(per_x * mirror, per_y) @ (output - output centre)
    linear = torch.stack([cos * per_x * mirror, -sin * per_y, sin * per_x * mirror, cos * per_y], -1).view(-1, 2, 2)
    middle = torch.tensor([(width_px - 1) / 2, (height_px - 1) / 2], device=linear.device)
    shift = torch.stack([centre_x, centre_y], -1) - linear @ middle
    return torch.cat([linear, shift[:, :, None]], -1)


def move_intrinsics(intrinsics: Tensor, affine: Tensor) -> Tensor:
    """Intrinsics of the warped frame, [N, 4].

    Rotation about the optical axis leaves depth alone and turns into a rotated camera; crop and scale move the
    focal length and the principal point; a mirrored frame is that of a mirrored world. Exact where fx = fy.
    """
    linear = affine[:, :, :2]
    scale_x = linear[:, :, 0].norm(dim=1)
    scale_y = linear[:, :, 1].norm(dim=1)
    x, y = (intrinsics[:, 2:] - affine[:, :, 2]).unbind(1)
    (a, b), (c, d) = (row.unbind(1) for row in linear.unbind(1))
    determinant = a * d - b * c  # by hand: a solver would wait for the GPU
    centre = torch.stack([d * x - b * y, a * y - c * x], 1) / determinant[:, None]
    return torch.stack([intrinsics[:, 0] / scale_x, intrinsics[:, 1] / scale_y, centre[:, 0], centre[:, 1]], -1)


def warp(frames: RawBatch, affine: Tensor, width_px: int, height_px: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Images float32 [N, 3, h, w] 0..1 and depth float32 [N, h, w], 0 where there is none.

    Where frames shrink, colour is averaged as the engine averages it (`preprocess.network_pixels`): sampled finer, then
    brought to size with antialias. Depth is the reading nearest to the middle of each pixel, of those within it: none
    is invented at an edge, and a sparse one is found.

    Third comes the confidence float32 [N, h, w] 0..1 of frames that have one, else None.
    """
    n, _, canvas_h, canvas_w = frames.images.shape
    finer = round(min(MAX_FINER, max(1.0, canvas_w / width_px, canvas_h / height_px)))
    grid, flat, inside = _look_up(frames, affine, width_px, height_px)
    fine_grid, fine_flat = grid, flat
    if finer > 1:
        fine = affine.clone()
        fine[:, :, :2] /= finer  # output pixel centres stay where they are: (u + 0.5) / finer - 0.5
        fine[:, :, 2] += affine[:, :, :2].sum(2) * (0.5 / finer - 0.5)
        fine_grid, fine_flat, _ = _look_up(frames, fine, width_px * finer, height_px * finer)
    images = F.grid_sample(frames.images.float(), fine_grid, mode="bilinear", align_corners=False) / 255
    if finer > 1:
        images = F.interpolate(images, (height_px, width_px), mode="bilinear", antialias=True)
    readings = frames.depth_m.view(n, -1)
    depth = readings.gather(1, flat).view(n, height_px, width_px).float()
    if finer > 1:
        cells = readings.gather(1, fine_flat).view(n, height_px, finer, width_px, finer).float()
        cells = cells.transpose(2, 3).flatten(3)  # [N, h, w, finer^2]
        first = (cells > 0).to(torch.uint8).argmax(-1, keepdim=True)
        depth = torch.where(depth > 0, depth, cells.gather(-1, first)[..., 0])
    if frames.confidence is None:
        return images, depth * inside, None
    confidence = frames.confidence.view(n, -1).gather(1, flat).view(n, height_px, width_px).float() / 255
    return images, depth * inside, confidence


MAX_FINER = 3
"""Samples a side of each output pixel, at most."""


def _look_up(frames: RawBatch, affine: Tensor, width_px: int, height_px: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where pixels look: grid [N, h, w, 2] of `grid_sample`, nearest pixel int64 [N, h * w], whether in the frame."""
    n, _, canvas_h, canvas_w = frames.images.shape
    device = frames.images.device
    u = torch.arange(width_px, dtype=torch.float32, device=device)
    v = torch.arange(height_px, dtype=torch.float32, device=device)
    a = affine[:, :, :, None, None]  # [N, 2, 3, 1, 1]
    source = a[:, :, 0] * u[None, None, None, :] + a[:, :, 1] * v[None, None, :, None] + a[:, :, 2]  # [N, 2, h, w]
    last = (frames.sizes - 1)[:, :, None, None]
    inside = ((source > -0.5) & (source < last + 0.5)).all(1)
    held = torch.minimum(source.clamp_min(0), last)  # the border's colour beyond the border
    canvas = torch.tensor([canvas_w, canvas_h], dtype=torch.float32, device=device)
    grid = ((2 * held + 1) / canvas[None, :, None, None] - 1).permute(0, 2, 3, 1)
    nearest = held.round().long()
    return grid, (nearest[:, 1] * canvas_w + nearest[:, 0]).view(n, -1), inside


def change_colours(images: Tensor, draws: Tensor, noise_seeds: list[int], config: AugmentConfig) -> Tensor:
    """Colour, blur, noise, JPEG and erasing on float32 [N, 3, h, w] 0..1; the same shape and range comes back.

    `draws` lie on the CPU, so that no choice makes a GPU's queue run empty.
    """
    matrix, offset = (part.to(images.device, non_blocking=True) for part in _colour_matrix(draws, config))
    n, _, height, width = images.shape
    images = torch.baddbmm(offset, matrix, images.view(n, 3, -1)).view(n, 3, height, width).clamp_(0, 1)
    if config.gamma != 1.0:
        exponent = torch.exp(_symmetric(draws[:, 14]) * math.log(config.gamma))
        exponent = exponent.to(images.device, non_blocking=True)
        images = images.clamp_min_(1e-4).log_().mul_(exponent[:, None, None, None]).exp_()  # faster than pow
    blurred = (draws[:, 15] < config.blur).nonzero().flatten()
    if len(blurred):
        sigma_px = (0.4 + 1.2 * draws[blurred, 16]).to(images.device)
        blurred = blurred.to(images.device)
        images[blurred] = _blur(images[blurred], sigma_px)
    for i in ((draws[:, 17] < 0.5) & (config.noise > 0)).nonzero().flatten().tolist():
        generator = torch.Generator(images.device).manual_seed(noise_seeds[i])
        sigma = float(draws[i, 18]) ** 2 * config.noise
        images[i] += sigma * torch.randn(images.shape[1:], device=images.device, generator=generator)
    images.clamp_(0, 1)
    for i in (draws[:, 19] < config.jpeg).nonzero().flatten().tolist():
        images[i] = _jpeg(images[i], round(30 + 60 * float(draws[i, 20])))
    for i in (draws[:, 21] < config.erase).nonzero().flatten().tolist():
        _erase(images[i], draws[i, 22:31])
    return images


def _symmetric(uniform: Tensor) -> Tensor:
    return 2 * uniform - 1


def _colour_matrix(draws: Tensor, config: AugmentConfig) -> tuple[Tensor, Tensor]:
    """Brightness, contrast, saturation, hue, white balance and grey as one matrix [N, 3, 3] and offset [N, 3, 1]."""
    n, device = len(draws), draws.device
    brightness = 1 + _symmetric(draws[:, 6]) * config.brightness
    contrast = 1 + _symmetric(draws[:, 7]) * config.contrast
    saturation = 1 + _symmetric(draws[:, 8]) * config.saturation
    saturation = torch.where(draws[:, 9] < config.grey, 0.0, saturation)
    hue = torch.deg2rad(_symmetric(draws[:, 10]) * config.hue_deg)
    warmth = _symmetric(draws[:, 11]) * config.white_balance
    tint = _symmetric(draws[:, 12]) * config.white_balance / 2
    # YIQ: hue is a rotation of the I-Q plane, saturation its length.
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], device=device)
    from_yiq = torch.linalg.inv(to_yiq)
    turn = torch.zeros(n, 3, 3, device=device)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * torch.cos(hue)
    turn[:, 1, 2] = -saturation * torch.sin(hue)
    turn[:, 2, 1] = saturation * torch.sin(hue)
    gains = torch.stack([1 + warmth, 1 + tint, 1 - warmth], -1) * (brightness * contrast)[:, None]
    matrix = (from_yiq @ turn @ to_yiq) * gains[:, None, :]  # gains first, then the turn
    offset = (0.5 * (1 - contrast))[:, None, None].expand(n, 3, 1)
    return matrix, offset


def _blur(images: Tensor, sigma_px: Tensor) -> Tensor:
    """Gaussian 7x7 with its own width for each of [n, 3, h, w], as two one-dimensional passes."""
    n, c, h, w = images.shape
    x = torch.arange(-3, 4, device=images.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (x / sigma_px[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)  # [n*3, 7]
    flat = F.pad(images.reshape(1, n * c, h, w), (3, 3, 3, 3), mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=n * c)
    return F.conv2d(flat, kernel[:, None, :, None], groups=n * c).view(n, c, h, w)


def _jpeg(image: Tensor, quality: int) -> Tensor:
    pixels = (image.permute(1, 2, 0) * 255).round().byte().cpu().numpy()
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(np.asarray(data), cv2.IMREAD_COLOR)
    return torch.from_numpy(decoded).permute(2, 0, 1).to(image.device).float() / 255


def _erase(image: Tensor, draws: Tensor) -> None:
    """Fills one rectangle of at most a third of each side with one colour, in place."""
    _, height, width = image.shape
    w, h = int(width * (0.05 + 0.3 * float(draws[0]))), int(height * (0.05 + 0.3 * float(draws[1])))
    left, top = int((width - w) * float(draws[2])), int((height - h) * float(draws[3]))
    image[:, top : top + h, left : left + w] = draws[4:7, None, None].to(image.device)
