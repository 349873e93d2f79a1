"""Pictures that look like something: a head, a trunk, a heart, an ultrasound fan; each slice another, always
the same.

Values: CT in Hounsfield units, MR and PT in arbitrary units 0…4000, US in 0…255 RGB. `z` runs from 0 (lowest
slice) to 1. The right of the patient is on the left of the picture, as radiologists see it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@lru_cache(maxsize=8)
def _grid(size: int) -> tuple[Array, Array]:
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(axis, axis)
    return x, y


@lru_cache(maxsize=8)
def _texture(size: int, seed: int) -> Array:
    """Smooth noise of mean 0 and deviation about 1."""
    noise = np.random.default_rng(seed).standard_normal((size, size)).astype(np.float32)
    return (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, -1, 0)) / 2


def _inside(size: int, cx: float, cy: float, rx: float, ry: float) -> Array:
    x, y = _grid(size)
    return ((x - cx) / max(rx, 1e-3)) ** 2 + ((y - cy) / max(ry, 1e-3)) ** 2 <= 1


def _noise(size: int, seed: int, z: float) -> Array:
    return np.roll(_texture(size, seed), (int(z * 997) % size, int(z * 613) % size), (0, 1))


def head(size: int, z: float, kind: str, seed: int, lesion: str = "") -> Array:
    """A head. `kind`: CT, or an MR weighting (DWI, ADC, FLAIR, T2*, T1, TOF). `lesion`: `mca-left` (a recent
    infarct of the left middle cerebral artery) or `subdural-right`."""
    scale = float(np.sqrt(max(1 - (1.5 * z - 0.75) ** 2, 0.05)))
    rx, ry = 0.66 * scale, 0.82 * scale
    air, scalp, bone, grey, white, water = _TISSUES[kind]
    picture: Array = np.full((size, size), air, np.float32)
    picture[_inside(size, 0, 0, rx + 0.09, ry + 0.09)] = scalp
    picture[_inside(size, 0, 0, rx + 0.05, ry + 0.05)] = bone
    brain = _inside(size, 0, 0, rx, ry)
    picture[brain] = grey
    picture[_inside(size, 0, 0, rx * 0.86, ry * 0.88)] = white
    for side in (-1, 1):
        picture[_inside(size, side * rx * 0.42, 0.05, rx * 0.2, ry * 0.22)] = grey
        if 0.35 < z < 0.8:
            picture[_inside(size, side * rx * 0.17, -0.08, rx * 0.1, ry * (0.34 - abs(z - 0.55)))] = water
    x, _y = _grid(size)
    picture[brain & (np.abs(x) < 0.012)] = water
    if lesion == "mca-left" and 0.38 < z < 0.78:
        picture = _infarct(picture, size, z, kind, rx, ry)
    if lesion == "subdural-right" and 0.3 < z < 0.85 and kind == "CT":
        shift = brain & ~_inside(size, 0.09 * scale, 0, rx * 0.97, ry * 1.02) & (x < 0)
        picture[shift] = 68
    if kind == "TOF":
        picture = _vessels(picture, size, z, seed)
    shown: Array = picture + _noise(size, seed, z) * (6 if kind == "CT" else 45)
    return shown


# air, scalp, bone, grey matter, white matter, water
_TISSUES = {
    "CT": (-1000, 20, 1100, 38, 28, 6),
    "DWI": (0, 260, 40, 900, 780, 160),
    "ADC": (0, 700, 60, 800, 720, 3000),
    "FLAIR": (0, 1300, 120, 1150, 900, 120),
    "T2*": (0, 900, 30, 1300, 1100, 2300),
    "T1": (0, 1900, 150, 950, 1350, 320),
    "TOF": (0, 420, 60, 480, 430, 120),
}


def _infarct(picture: Array, size: int, z: float, kind: str, rx: float, ry: float) -> Array:
    extent = 1 - abs(z - 0.58) / 0.2
    if kind not in ("DWI", "ADC"):
        return picture  # a few hours old: FLAIR and T2* show nothing yet
    zone = _inside(size, rx * 0.56, 0.04, rx * 0.3 * extent, ry * 0.36 * extent)
    picture[zone] = 2600 if kind == "DWI" else 330
    return picture


def _vessels(picture: Array, size: int, z: float, seed: int) -> Array:
    """Bright arteries; the left middle cerebral artery stops short."""
    for n in range(10):
        angle = n * 0.628 + z * 2.2 + seed % 3
        left = np.cos(angle) > 0.2
        if left and abs(np.sin(angle)) < 0.5:
            continue
        radius = 0.16 + 0.4 * abs(z - 0.4)
        spot = _inside(size, float(np.cos(angle)) * radius, float(np.sin(angle)) * radius, 0.035, 0.035)
        picture[spot] = 3400
    return picture


def trunk(size: int, z: float, kind: str, seed: int) -> Array:
    """A trunk from pelvis (0) to neck (1); `kind` CT or PT."""
    body = _inside(size, 0, 0, 0.86 - 0.12 * z, 0.58 - 0.05 * z)
    if kind == "PT":
        return _activity(size, z, seed, body)
    picture: Array = np.full((size, size), -1000, np.float32)
    picture[body] = -90
    picture[_inside(size, 0, 0, 0.78 - 0.12 * z, 0.5 - 0.05 * z)] = 45
    if z > 0.55:
        for side in (-1, 1):
            picture[_inside(size, side * 0.36, -0.02, 0.27, 0.36)] = -850
        picture[_inside(size, 0.1, -0.12, 0.19, 0.17)] = 140
        if 0.7 < z < 0.78:
            picture[_inside(size, -0.4, -0.05, 0.07, 0.07)] = 35
    else:
        if z > 0.3:
            picture[_inside(size, -0.34, -0.08, 0.32, 0.27)] = 105
        for side in (-1, 1):
            picture[_inside(size, side * 0.36, 0.2, 0.12, 0.14)] = 170
        picture[_inside(size, 0.04, 0.1, 0.06, 0.06)] = 290
    picture[_inside(size, 0, 0.33, 0.1, 0.1)] = 480
    shown: Array = picture + _noise(size, seed, z) * 9
    return shown


def _activity(size: int, z: float, seed: int, body: Array) -> Array:
    """Tracer uptake: liver, heart, bladder, and a tumour of the right upper lobe."""
    picture = np.zeros((size, size), np.float32)
    picture[body] = 320
    for low, high, value, place in (
        (0.35, 0.6, 700, (-0.38, -0.1, 0.3, 0.26)),
        (0.62, 0.82, 1500, (0.12, -0.12, 0.17, 0.15)),
        (0.7, 0.78, 3600, (-0.4, -0.05, 0.07, 0.07)),
        (0.0, 0.12, 3900, (0.0, -0.1, 0.13, 0.11)),
    ):
        if low < z < high:
            picture[_inside(size, *place)] = value
    shown: Array = np.maximum(picture + _noise(size, seed, z) * 50, 0)
    return shown


def heart(size: int, z: float, phase: float, seed: int) -> Array:
    """A short-axis view; `phase` 0…1 is the moment of the beat."""
    picture: Array = np.full((size, size), 180, np.float32)
    picture[_inside(size, 0, 0, 0.9, 0.75)] = 620
    picture[_inside(size, -0.55, 0.1, 0.3, 0.5)] = 60
    beat = 0.75 + 0.25 * float(np.cos(2 * np.pi * phase))
    outer, inner = 0.36 * (1 - 0.4 * z), 0.24 * (1 - 0.4 * z) * beat
    picture[_inside(size, 0.1, 0, outer + 0.22, outer * 0.9)] = 1500 * beat + 500
    picture[_inside(size, 0.12, 0, outer, outer)] = 700
    picture[_inside(size, 0.12, 0, inner, inner)] = 2600
    shown: Array = picture + _noise(size, seed, z + phase) * 60
    return shown


def fan(size: int, z: float, seed: int) -> Array:
    """An ultrasound fan with a kidney, as RGB."""
    x, y = _grid(size)
    depth, angle = np.hypot(x, y + 1.05), np.arctan2(x, y + 1.05)
    lit = (depth < 1.95) & (np.abs(angle) < 0.62) & (depth > 0.2)
    grey = 90 + _noise(size, seed, z) * 28 - depth * 20
    kidney = _inside(size, 0.05 * np.sin(6 * z), 0.15, 0.36, 0.22 + 0.06 * float(np.sin(3 * z)))
    grey[kidney] -= 42
    grey[_inside(size, 0.05, 0.15, 0.16, 0.07)] += 80
    picture = np.where(lit, np.clip(grey, 0, 255), 0).astype(np.uint8)
    coloured: Array = np.repeat(picture[..., None], 3, 2)
    coloured[size // 16 : size // 8, size // 16 : size // 4] = (255, 200, 60)
    return coloured
