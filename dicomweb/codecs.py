"""Frames decoded and encoded, and whole instances put into another transfer syntax. Runs in child processes
only: the native codecs may crash on hostile data.

Decoding is pydicom's, with imagecodecs for what its own plugins do not read (JPEG with 12 bits, lossless
JPEG, HTJ2K).
Everything is encoded without loss, but for JPEG baseline, which is offered for single frames of 8 bits.
PS3.5 §8.2, §A.4 (transfer syntaxes)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from dicomweb import layout, rendered
from dicomweb.attributes import Attributes, first, integer
from dicomweb.dataset import syntax_flags
from dicomweb.decoding import Pixels
from dicomweb.layout import Layout
from dicomweb.syntaxes import (
    BASELINE,
    DEFLATED,
    EXPLICIT_LITTLE,
    HTJ2K_ALL,
    IMPLICIT_LITTLE,
    J2K_ALL,
    JPEG_LOSSLESS_ALL,
    JPEG_LS_ALL,
    RLE,
)

Array = rendered.Array
MAX_FRAME = 400_000_000  # bytes of one decoded frame
_PLUGIN = "imagecodecs"


# -- decoding
def is_available(uid: str) -> bool:
    """pydicom asks a decoding plugin."""
    return uid in DECODER_DEPENDENCIES


DECODER_DEPENDENCIES = dict.fromkeys(
    (BASELINE, "1.2.840.10008.1.2.4.51", *JPEG_LOSSLESS_ALL, *HTJ2K_ALL), ("numpy", "imagecodecs")
)


def imagecodecs_frame(src: bytes, runner: Any) -> bytes:
    """pydicom's decoding plugin: one frame as interleaved samples."""
    import imagecodecs

    syntax = str(runner.transfer_syntax)
    if syntax in HTJ2K_ALL:
        array = imagecodecs.htj2k_decode(src)
    elif runner.samples_per_pixel == 1:
        array = imagecodecs.jpeg8_decode(src)
    else:
        kept = runner.photometric_interpretation if syntax not in JPEG_LOSSLESS_ALL else "RGB"
        array = imagecodecs.jpeg8_decode(src, outcolorspace="YCBCR" if kept.startswith("YBR") else None)
    kind = np.dtype(f"u{runner.bits_allocated // 8}")
    if array.dtype.kind == "i":
        kind = np.dtype(f"i{runner.bits_allocated // 8}")
    made: bytes = np.ascontiguousarray(array.astype(kind.newbyteorder("<"), copy=False)).tobytes()
    return made


def register() -> None:
    """Make the plugin known to pydicom; once per process."""
    from pydicom.pixels import get_decoder

    for syntax in DECODER_DEPENDENCIES:
        decoder = get_decoder(syntax)
        if _PLUGIN not in decoder.available_plugins:
            decoder.add_plugin(_PLUGIN, ("dicomweb.codecs", "imagecodecs_frame"))


def decode(data: bytes, syntax: str, attributes: Attributes, colours: bool) -> Pixels | None:
    """One compressed frame; `colours`: converted to RGB, else as the codec gives it. None when it cannot be
    decoded here."""
    try:
        array, photometric = _decoded(data, syntax, attributes, colours)
    except Exception:  # whatever a codec stumbles on
        return None
    array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    return Pixels(array.tobytes(), array.dtype.str, array.shape, photometric)


def decode_file(path: str, number: int, colours: bool) -> Pixels | None:
    """Frame `number` (1 is the first) of a file whose frames have no place of their own."""
    from pydicom import dcmread
    from pydicom.pixels import pixel_array

    register()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = dcmread(path)
            size = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel", 1))
            if size * int(dataset.BitsAllocated) // 8 > MAX_FRAME:
                return None
            array = np.ascontiguousarray(pixel_array(dataset, index=number - 1, raw=not colours))
            if dataset.BitsAllocated == 1:
                array = array * 255 if colours else _packed(array)
        except Exception:  # whatever a codec stumbles on
            return None
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if colours and array.ndim == 3:
        photometric = "RGB"
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return Pixels(array.tobytes(), array.dtype.str, array.shape, photometric)


def _packed(array: Array) -> Array:
    """One bit a pixel, as it is stored. PS3.5 §8.1.1"""
    return np.packbits(array.reshape(-1), bitorder="little")


def _decoded(data: bytes, syntax: str, attributes: Attributes, colours: bool) -> tuple[Array, str]:
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder

    register()
    options = _options(attributes)
    if options["rows"] * options["columns"] * options["samples_per_pixel"] * 8 > MAX_FRAME * 8:
        raise ValueError("too large")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array, told = get_decoder(syntax).as_array(
            encapsulate([data], has_bot=False),
            index=0,
            raw=not colours,
            decoding_plugin=_PLUGIN if syntax in DECODER_DEPENDENCIES and syntax != BASELINE else "",
            **options,
        )
    photometric = str(told["photometric_interpretation"])
    return array, _upsampled(photometric)


def _options(attributes: Attributes) -> dict[str, Any]:
    def number(tag: str, default: int) -> int:
        found = integer(attributes, tag)
        return default if found is None else found

    bits = number("00280100", 8)
    return {
        "rows": number("00280010", 0),
        "columns": number("00280011", 0),
        "number_of_frames": 1,
        "samples_per_pixel": number("00280002", 1),
        "bits_allocated": bits,
        "bits_stored": number("00280101", bits),
        "photometric_interpretation": first(attributes, "00280004") or "MONOCHROME2",
        "pixel_representation": number("00280103", 0),
        "planar_configuration": number("00280006", 0),
        "pixel_keyword": "PixelData",
    }


def _upsampled(photometric: str) -> str:
    """What decoded samples are: a codec hands out full chroma."""
    return (
        "YBR_FULL" if photometric in ("YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420") else photometric
    )


# -- encoding
def encode(array: Array, photometric: str, target: str) -> tuple[bytes, str]:
    """One frame in a transfer syntax, and the photometric interpretation it then has. Raises ValueError."""
    for syntaxes, encoder in _ENCODERS:
        if target in syntaxes:
            return encoder(np.ascontiguousarray(array), photometric, target)
    raise ValueError(target)


def _rle(array: Array, photometric: str, _target: str) -> tuple[bytes, str]:
    from rle.utils import encode_pixel_data

    rows, columns = array.shape[:2]
    samples = array.shape[2] if array.ndim == 3 else 1
    data = encode_pixel_data(
        array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(),
        byteorder="<",
        rows=rows,
        columns=columns,
        samples_per_pixel=samples,
        bits_allocated=array.dtype.itemsize * 8,
    )
    return bytes(data), photometric


def _jpeg_lossless(array: Array, photometric: str, _target: str) -> tuple[bytes, str]:
    import imagecodecs

    samples = _unsigned(array)
    bits = samples.dtype.itemsize * 8
    space: dict[str, Any] = {"colorspace": "RGB", "outcolorspace": "RGB"} if array.ndim == 3 else {}
    return bytes(
        imagecodecs.jpeg8_encode(samples, lossless=True, predictor=1, bitspersample=bits, **space)
    ), photometric


def _jpeg_baseline(array: Array, photometric: str, _target: str) -> tuple[bytes, str]:
    import imagecodecs

    if array.dtype.itemsize != 1:
        raise ValueError("JPEG baseline has 8 bits")
    if array.ndim == 2:
        return bytes(imagecodecs.jpeg8_encode(_unsigned(array), level=95)), photometric
    space = "YCBCR" if photometric.startswith("YBR") else "RGB"
    data = imagecodecs.jpeg8_encode(
        array, level=95, colorspace=space, outcolorspace="YCBCR", subsampling="422"
    )
    return bytes(data), "YBR_FULL_422"


def _jpeg_ls(array: Array, photometric: str, _target: str) -> tuple[bytes, str]:
    import imagecodecs

    return bytes(imagecodecs.jpegls_encode(_unsigned(array))), photometric


def _j2k(array: Array, photometric: str, _target: str) -> tuple[bytes, str]:
    import imagecodecs

    data = imagecodecs.jpeg2k_encode(array, codecformat="j2k", reversible=True, mct=False)
    return bytes(data), photometric


def _htj2k(array: Array, photometric: str, target: str) -> tuple[bytes, str]:
    """OpenJPH's progression is RPCL; the syntax with RPCL options asks for the tile-part lengths too."""
    import imagecodecs

    data = bytes(imagecodecs.htj2k_encode(array, reversible=True, tlm=target == HTJ2K_ALL[1]))
    return data, "YBR_RCT" if array.ndim == 3 and photometric == "RGB" and _transforms(data) else photometric


def _transforms(codestream: bytes) -> bool:
    """Whether a JPEG 2000 codestream has a multiple component transformation. ITU-T T.800 §A.6.1"""
    at = codestream.find(b"\xff\x52")
    return at > 0 and codestream[at + 8] == 1


def _unsigned(array: Array) -> Array:
    if array.dtype.itemsize > 2:
        raise ValueError("more than 16 bits")
    unsigned: Array = array.view(f"u{array.dtype.itemsize}") if array.dtype.kind == "i" else array
    return unsigned


_ENCODERS: tuple[tuple[tuple[str, ...], Callable[[Array, str, str], tuple[bytes, str]]], ...] = (
    ((RLE,), _rle),
    (JPEG_LOSSLESS_ALL, _jpeg_lossless),
    ((BASELINE,), _jpeg_baseline),
    (JPEG_LS_ALL, _jpeg_ls),
    (J2K_ALL, _j2k),
    (HTJ2K_ALL, _htj2k),
)


def recode(data: bytes, syntax: str, attributes: Attributes, target: str) -> bytes | None:
    """One frame as it is stored → in another transfer syntax; None when that cannot be done here."""
    try:
        array, photometric = _samples(data, syntax, attributes)
        if target in (EXPLICIT_LITTLE, IMPLICIT_LITTLE, DEFLATED):
            plain: bytes = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            return plain
        return encode(array, photometric, target)[0]
    except Exception:  # whatever a codec stumbles on
        return None


def _samples(data: bytes, syntax: str, attributes: Attributes) -> tuple[Array, str]:
    flags = syntax_flags(syntax)
    if flags.encapsulated:
        return _decoded(data, syntax, attributes, False)
    if integer(attributes, "00280100") == 1:
        raise ValueError("packed bits")
    array = rendered.native(data, attributes, little_endian=flags.little_endian)
    native: Array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native, _upsampled(first(attributes, "00280004"))


# -- whole instances
def transcode(source: str, where: bytes, attributes: Mapping[str, Any], target: str, to: str) -> bool:
    """Write the instance at `source` in the transfer syntax `target` to `to`; `where` is its frames' layout.
    False when that cannot be done here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _transcode(Path(source), layout.load(where), attributes, target, Path(to))
    except Exception:  # hostile data, or a codec that does not take it
        Path(to).unlink(missing_ok=True)
        return False
    return True


def _transcode(source: Path, where: Layout, attributes: Attributes, target: str, to: Path) -> None:
    from pydicom import dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    dataset = dcmread(source, stop_before_pixels=where.kind in ("native", "encapsulated"))
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if not syntax_flags(syntax).little_endian:
        from pydicom.pixels import iter_pixels

        whole = dcmread(source)
        turned = [_packed(one) if whole.BitsAllocated == 1 else one for one in iter_pixels(whole, raw=True)]
        dataset = _turned(dataset)
    else:
        turned = []
    dataset.file_meta.TransferSyntaxUID = UID(target)
    compressed = syntax_flags(target).encapsulated
    if where.kind not in ("native", "encapsulated"):
        if "PixelData" in dataset and (compressed or syntax_flags(syntax).encapsulated):
            raise ValueError("pixels that cannot be told apart")
        dataset.save_as(
            to, enforce_file_format=True, implicit_vr=target == IMPLICIT_LITTLE, little_endian=True
        )
        return
    source_flags = syntax_flags(syntax)
    if not compressed and not source_flags.encapsulated and source_flags.little_endian:
        _plain(dataset, _copied(source, where), target, to)
        return
    frames = _frames(source, where, syntax, attributes)
    if turned:
        frames = iter([(one, _upsampled(first(attributes, "00280004"))) for one in turned])
    if compressed:
        made = [encode(array, photometric, target) for array, photometric in frames]
        _described(dataset, made[0][1])
        dataset.add_new(0x7FE00010, "OB", encapsulate([data for data, _photometric in made]))
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(to, enforce_file_format=True)
        return
    first_array, photometric = next(frames)
    _described(dataset, photometric)
    arrays = chain((first_array,), (array for array, _photometric in frames))
    _plain(dataset, (_little(array) for array in arrays), target, to)


def _little(array: Array) -> bytes:
    plain: bytes = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return plain


def _turned(dataset: Any) -> Any:
    """A big-endian dataset, its elements read so that they can be written little-endian."""
    from pydicom.dataset import Dataset, FileDataset

    made = Dataset.from_json(dataset.to_json_dict())
    for element in made:
        if element.VR == "OW" and element.value:
            element.value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()
    return FileDataset("", made, file_meta=dataset.file_meta, preamble=dataset.preamble)


def _copied(source: Path, where: Layout) -> Iterator[bytes]:
    """The frames' bytes as they are."""
    with source.open("rb") as file:
        for number in range(1, where.frames + 1):
            yield layout.read(file.fileno(), where.frame(number))


def _frames(source: Path, where: Layout, syntax: str, attributes: Attributes) -> Iterator[tuple[Array, str]]:
    with source.open("rb") as file:
        for number in range(1, where.frames + 1):
            yield _samples(layout.read(file.fileno(), where.frame(number)), syntax, attributes)


def _plain(dataset: Any, frames: Iterator[bytes], target: str, to: Path) -> None:
    """Uncompressed, through a file of the samples, so that a long multiframe needs no more memory than one
    frame."""
    samples, implicit = to.with_name(to.name + ".samples"), target == IMPLICIT_LITTLE
    try:
        with samples.open("w+b") as file:
            for frame in frames:
                file.write(frame)
            if file.tell() % 2:
                file.write(b"\0")
            file.seek(0)
            narrow = int(dataset.get("BitsAllocated", 16)) <= 8
            dataset.add_new(0x7FE00010, "OB" if narrow and not implicit else "OW", file)
            dataset["PixelData"].is_undefined_length = False
            dataset.save_as(to, enforce_file_format=True, implicit_vr=implicit, little_endian=True)
    finally:
        samples.unlink(missing_ok=True)


def _described(dataset: Any, photometric: str) -> None:
    dataset.PhotometricInterpretation = photometric
    if int(dataset.get("SamplesPerPixel", 1)) > 1:
        dataset.PlanarConfiguration = 0


# -- photographs
def picture(path: str) -> Any:
    """A JPEG with upright pixels as it is; any other JPEG or PNG as upright samples. None for other files."""
    from PIL import Image, ImageOps

    from dicomweb.creating import Picture

    Image.MAX_IMAGE_PIXELS = MAX_FRAME // 6  # in the child alone
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    with Image.open(path, formats=("JPEG", "PNG")) as opened:
        turned = opened.getexif().get(0x0112, 1) != 1
        if (
            opened.format == "JPEG"
            and opened.mode in ("RGB", "L")
            and not turned
            and not _progressive(opened)
        ):
            opened.load()  # a broken file is none
            photometric = "MONOCHROME2" if opened.mode == "L" else "YBR_FULL_422"
            samples = len(opened.getbands())
            data = _bare(Path(path).read_bytes())
            return Picture(opened.height, opened.width, samples, photometric, BASELINE, data)
        upright = ImageOps.exif_transpose(opened)
        grey = upright.mode in ("1", "L")
        plain = upright.convert("L" if grey else "RGB")
        photometric = "MONOCHROME2" if grey else "RGB"
        samples = 1 if grey else 3
        return Picture(plain.height, plain.width, samples, photometric, EXPLICIT_LITTLE, plain.tobytes())


def _progressive(opened: Any) -> bool:
    """Or coded in other colours than those that a viewer expects of JPEG baseline."""
    coded = opened.info
    return bool(coded.get("progressive") or coded.get("progression") or coded.get("adobe_transform") == 0)


def _bare(data: bytes) -> bytes:
    """A JPEG without what the camera wrote about place and owner: of its application segments only JFIF's and
    Adobe's stay, no comments. ITU-T T.81 §B.2.4"""
    kept, at = bytearray(data[:2]), 2
    while data[at : at + 1] == b"\xff" and data[at + 1] != 0xDA:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if not (0xE1 <= marker <= 0xEF or marker == 0xFE) or marker == 0xEE:
            kept += data[at : at + 2 + length]
        at += 2 + length
    return bytes(kept + data[at:])
