"""A frame as a picture: modality and window as one look-up table, colours, viewport, then JPEG, PNG, WebP,
GIF; several as a film.

stored value → (slope, intercept) → window → 0…255     one table per (encoding, rescale, window), kept
PS3.3 §C.11.2.1.2 (window functions), §C.7.6.3 (pixels), PS3.18 §8.3.5.1 (rendering parameters)
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageDraw, ImageFont

from dicomweb import cine
from dicomweb.attributes import Attributes, first, integer, number, values
from dicomweb.windows import Windows
from profiles.outcomes import Invalid, NotAcceptable

Array = npt.NDArray[Any]
Function = Literal["linear", "linear-exact", "sigmoid"]
Picture: TypeAlias = Image.Image
MAX_VIEWPORT = 8192
_PATIENT = ("00100010", "00100020", "00100030", "00100040")
_TECHNIQUE = ("00080060", "00081030", "0008103E", "00080020", "00200011", "00200013", "00180060", "00181151")


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window in modality units (Hounsfield for CT)."""

    center: float
    width: float
    function: Function = "linear"


@dataclass(frozen=True, slots=True)
class Viewport:
    """Output size in pixels, and the source rectangle it shows (None = all); PS3.18 §8.3.5.1.3."""

    width: int
    height: int
    left: float = 0.0
    top: float = 0.0
    source_width: float | None = None
    source_height: float | None = None
    flip_x: bool = False
    flip_y: bool = False


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a request asks for."""

    media: str
    window: Window | None = None
    viewport: Viewport | None = None
    quality: int = 85
    annotations: frozenset[str] = frozenset()
    profile: bool = False


def parse(params: Mapping[str, str], media: str) -> Rendering:
    """The query's `window`, `viewport`, `quality`, `annotation`, `iccprofile`. Raises Invalid."""
    try:
        window = _window(params["window"]) if "window" in params else None
        viewport = _viewport(params["viewport"]) if "viewport" in params else None
        quality = int(params.get("quality", "85"))
        if not 1 <= quality <= 100:
            raise ValueError("quality")
        annotations = frozenset(filter(None, params.get("annotation", "").lower().split(",")))
        profile = params.get("iccprofile", "no").lower()
        if annotations - {"patient", "technique"} or profile not in ("no", "yes", "srgb"):
            raise ValueError("annotation, iccprofile")
    except ValueError as error:
        raise Invalid(
            "bad-parameter",
            "window=center,width[,function], viewport=width,height[,x,y,width,height], quality=1…100, "
            "annotation=patient,technique, iccprofile=no|yes|srgb",
        ) from error
    return Rendering(media, window, viewport, quality, annotations, profile != "no")


def _window(text: str) -> Window:
    parts = [part.strip() for part in text.split(",")]
    center, width = float(parts[0]), float(parts[1] if len(parts) > 1 else "")
    function = (parts[2] if len(parts) > 2 else "linear").lower().replace("_", "-")
    if (
        function not in ("linear", "linear-exact", "sigmoid")
        or len(parts) > 3
        or not math.isfinite(center)
        or not math.isfinite(width)
        or width <= 0
        or max(abs(center), width) > 1e9
    ):
        raise ValueError("window")
    return Window(center, width, function)  # type: ignore[arg-type]


def _viewport(text: str) -> Viewport:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 6):
        raise ValueError("viewport")
    width, height = int(parts[0]), int(parts[1])
    if not (0 < width <= MAX_VIEWPORT and 0 < height <= MAX_VIEWPORT):
        raise ValueError("viewport")
    if len(parts) == 2:
        return Viewport(width, height)
    left, top = float(parts[2] or 0), float(parts[3] or 0)
    wide, high = (float(part) if part else None for part in parts[4:])
    if not all(math.isfinite(one) for one in (left, top, wide or 1, high or 1)) or wide == 0 or high == 0:
        raise ValueError("viewport")
    return Viewport(
        width,
        height,
        left,
        top,
        None if wide is None else abs(wide),
        None if high is None else abs(high),
        (wide or 1) < 0,
        (high or 1) < 0,
    )


def table(bits: int, signed: bool, slope: float, intercept: float, window: Window, invert: bool) -> Array:
    """uint8 for each stored bit pattern."""
    kinds: dict[int, tuple[type, type]] = {8: (np.uint8, np.int8), 16: (np.uint16, np.int16)}
    stored: Array = np.arange(1 << bits, dtype=np.uint32).astype(kinds[bits][0])
    return shade(stored.view(kinds[bits][1]) if signed else stored, slope, intercept, window, invert)


def shade(stored: Array, slope: float, intercept: float, window: Window, invert: bool) -> Array:
    """Stored values → uint8, by the window function. PS3.3 §C.11.2.1.2–3"""
    x = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    c, w = window.center, window.width
    if window.function == "sigmoid":
        y = 255.0 / (1.0 + np.exp(np.clip(-4.0 * (x - c) / w, -80, 80)))
    elif window.function == "linear-exact":
        y = ((x - c) / w + 0.5) * 255.0
    elif w <= 1:
        y = np.where(x > c - 0.5, 255.0, 0.0)
    else:
        y = ((x - (c - 0.5)) / (w - 1.0) + 0.5) * 255.0
    y = np.nan_to_num(np.clip(y, 0.0, 255.0))
    grey: Array = (y + 0.5).astype(np.uint8)
    return 255 - grey if invert else grey


def native(data: bytes, attributes: Attributes, *, little_endian: bool) -> Array:
    """An uncompressed frame as (rows, columns) or (rows, columns, samples). Raises NotAcceptable."""
    rows, columns = integer(attributes, "00280010") or 0, integer(attributes, "00280011") or 0
    samples, bits = integer(attributes, "00280002") or 1, integer(attributes, "00280100") or 0
    if bits == 1 and samples == 1 and 0 < rows * columns <= len(data) * 8:
        packed = np.frombuffer(data, np.uint8)
        return np.unpackbits(packed, count=rows * columns, bitorder="little").reshape(rows, columns) * 255
    if bits not in (8, 16, 32) or rows <= 0 or columns <= 0 or samples not in (1, 3, 4):
        raise NotAcceptable("cannot-render", "this instance has no pixels that can be rendered here")
    kind = np.dtype(f"{'i' if integer(attributes, '00280103') == 1 else 'u'}{bits // 8}")
    array: Array = np.frombuffer(data, kind.newbyteorder("<" if little_endian else ">"))
    if first(attributes, "00280004") in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        return _full_chroma(array, rows, columns)
    if array.size < rows * columns * samples:
        raise NotAcceptable("cannot-render", "the frame is shorter than its rows and columns say")
    array = array[: rows * columns * samples]
    if samples == 1:
        return array.reshape(rows, columns)
    if integer(attributes, "00280006") == 1:
        return np.moveaxis(array.reshape(samples, rows, columns), 0, -1)
    return array.reshape(rows, columns, samples)


def _full_chroma(array: Array, rows: int, columns: int) -> Array:
    """Y1 Y2 Cb Cr → one triple per pixel. PS3.3 §C.7.6.3.1.2"""
    if columns % 2 or array.size < rows * columns * 2:
        raise NotAcceptable("cannot-render", "the frame is shorter than its rows and columns say")
    quads = array[: rows * columns * 2].reshape(rows, columns // 2, 4)
    full = np.empty((rows, columns, 3), array.dtype)
    full[:, 0::2, 0], full[:, 1::2, 0] = quads[..., 0], quads[..., 1]
    full[..., 1], full[..., 2] = np.repeat(quads[..., 2], 2, 1), np.repeat(quads[..., 3], 2, 1)
    return full


def picture(
    pixels: Array,
    photometric: str,
    attributes: Attributes,
    rendering: Rendering,
    windows: Windows,
    palette: Array | None = None,
) -> Picture:
    """Not yet encoded. `palette` is (entries, 3) uint8 for PALETTE COLOR."""
    if palette is not None and pixels.ndim == 2:
        start = _palette_start(attributes)
        image = Image.fromarray(palette[np.clip(pixels.astype(np.int64) - start, 0, len(palette) - 1)])
    elif pixels.ndim == 3:
        image = _colour(pixels, photometric)
    else:
        image = Image.fromarray(_grey(pixels, photometric, attributes, rendering.window, windows))
    if rendering.viewport:
        image = _fit(image, rendering.viewport)
    return annotated(image, attributes, rendering.annotations) if rendering.annotations else image


def encode(pictures: Sequence[Picture], rendering: Rendering, milliseconds: int = 100) -> bytes:
    """JPEG, PNG or WebP of one picture; GIF of one or several, MP4 of several, `milliseconds` each."""
    out, first_one = io.BytesIO(), pictures[0]
    options: dict[str, Any] = {"icc_profile": srgb()} if rendering.profile else {}
    match rendering.media:
        case cine.MP4:
            return cine.encode(pictures, rendering.quality, milliseconds)
        case "image/png":
            first_one.save(out, "PNG", compress_level=3, **options)
        case "image/webp":
            first_one.save(out, "WEBP", quality=rendering.quality, method=2, **options)
        case "image/gif":
            rest = list(pictures[1:])
            moving = {"save_all": True, "append_images": rest, "duration": milliseconds, "loop": 0}
            first_one.save(out, "GIF", **(moving if rest else {}))
        case _:
            first_one.save(out, "JPEG", quality=rendering.quality, **options)
    return out.getvalue()


@lru_cache(maxsize=1)
def srgb() -> bytes:
    """The profile that a picture's colours are told to be in."""
    made: bytes = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return made


def annotated(image: Picture, attributes: Attributes, wanted: frozenset[str]) -> Picture:
    """The patient or the technique written into the picture's corners. PS3.18 §8.3.5.1.1"""
    image = image.convert("RGB") if image.mode not in ("L", "RGB") else image
    size = max(9, min(28, image.height // 28))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    bright: Any = 255 if image.mode == "L" else (255, 255, 255)
    dark: Any = 0 if image.mode == "L" else (0, 0, 0)
    for name, tags, x in (("patient", _PATIENT, 0.01), ("technique", _TECHNIQUE, 0.55)):
        lines = [text for tag in tags if (text := first(attributes, tag).replace("^", " ").strip())]
        if name in wanted and lines:
            place = (x * image.width, 0.01 * image.height)
            draw.multiline_text(
                place, "\n".join(lines), bright, font, stroke_width=1, stroke_fill=dark, spacing=2
            )
    return image


def _palette_start(attributes: Attributes) -> int:
    descriptor = values(attributes, "00281101")
    return int(descriptor[1]) if len(descriptor) == 3 else 0


def _colour(pixels: Array, photometric: str) -> Image.Image:
    if pixels.dtype.itemsize > 1:
        pixels = (pixels >> (8 * (pixels.dtype.itemsize - 1))).astype(np.uint8)
    pixels = np.ascontiguousarray(pixels[..., :3].astype(np.uint8, copy=False))
    if photometric.startswith("YBR"):
        size = (pixels.shape[1], pixels.shape[0])
        return Image.frombytes("YCbCr", size, pixels.tobytes()).convert("RGB")
    return Image.fromarray(pixels)


def _grey(
    pixels: Array, photometric: str, attributes: Attributes, asked: Window | None, windows: Windows
) -> Array:
    slope, intercept = number(attributes, "00281053"), number(attributes, "00281052")
    slope, intercept = 1.0 if slope is None or slope == 0 else slope, intercept or 0.0
    window = asked or default_window(attributes) or spread(pixels, slope, intercept)
    invert = photometric == "MONOCHROME1"
    bits, signed = pixels.dtype.itemsize * 8, pixels.dtype.kind == "i"
    if bits > 16 or pixels.dtype.kind == "f":
        return shade(pixels, slope, intercept, window, invert)
    unsigned = np.uint8 if bits == 8 else np.uint16
    native_order = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    key = (bits, signed, slope, intercept, window, invert)
    shades: Array = windows.table(key, lambda: table(*key))
    return np.take(shades, native_order.view(unsigned))


def default_window(attributes: Attributes) -> Window | None:
    """The dataset's first window, if it has a usable one."""
    center, width = number(attributes, "00281050"), number(attributes, "00281051")
    if center is None or width is None or width <= 0:
        return None
    function = first(attributes, "00281056").lower().replace("_", "-")
    return Window(center, width, function if function in ("linear-exact", "sigmoid") else "linear")  # type: ignore[arg-type]


def spread(pixels: Array, slope: float, intercept: float) -> Window:
    """The window that shows the 1st to the 99th percentile."""
    low, high = (float(one) * slope + intercept for one in np.percentile(pixels[::2, ::2], (1, 99)))
    low, high = min(low, high), max(low, high)
    return Window((low + high) / 2, max(high - low, 1.0) + 1.0)


def _fit(image: Image.Image, viewport: Viewport) -> Image.Image:
    """Crop, flip, scale into the viewport keeping the proportions."""
    wide, high = image.size
    if (
        viewport.source_width is not None
        or viewport.source_height is not None
        or viewport.left
        or viewport.top
    ):
        left, top = min(max(viewport.left, 0), wide - 1), min(max(viewport.top, 0), high - 1)
        right = min(left + (viewport.source_width or wide), wide)
        bottom = min(top + (viewport.source_height or high), high)
        image = image.crop(
            (int(left), int(top), max(int(right), int(left) + 1), max(int(bottom), int(top) + 1))
        )
    if viewport.flip_x:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if viewport.flip_y:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    scale = min(viewport.width / image.width, viewport.height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)
