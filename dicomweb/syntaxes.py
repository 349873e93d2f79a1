"""Transfer syntaxes: which are stored, decoded and made here, and the media type of their frames.

PS3.6 Table A-1; PS3.18 §8.7.3 (media types, defaults)
"""

from __future__ import annotations

from collections.abc import Mapping

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
BASELINE = "1.2.840.10008.1.2.4.50"
EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS_ALL = ("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57")
JPEG_LS_ALL = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
J2K_ALL = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
HTJ2K_ALL = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
RLE = "1.2.840.10008.1.2.5"
AVC, AVC_42 = "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.104"  # High Profile at level 4.1, 4.2
HEVC, HEVC_10 = "1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108"  # Main and Main 10 at level 5.1
_FILMS = (*(f"1.2.840.10008.1.2.4.{n}" for n in range(100, 107)),)
# one coded stream, not frames: PS3.5 §8.2.5–8.2.11, and those that may be cut into fragments
FILMS = frozenset({*_FILMS, *(f"{one}.1" for one in _FILMS), HEVC, HEVC_10})

# what queries, answers and steps come in: deflated, a few bytes would unfold to gigabytes in pynetdicom
MESSAGES = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG)
UNCOMPRESSED = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, DEFLATED)
LOSSLESS = (*JPEG_LOSSLESS_ALL, *JPEG_LS_ALL, *J2K_ALL, *HTJ2K_ALL, RLE)  # all are made without loss here
DECODED = frozenset({EXPLICIT_LITTLE, IMPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG, BASELINE, EXTENDED, *LOSSLESS})
LOSSY = frozenset({BASELINE, EXTENDED, JPEG_LS_ALL[1], J2K_ALL[1], HTJ2K_ALL[2]})

# media type of a frame → the transfer syntaxes it may have, the default first
FRAME_SYNTAXES: Mapping[str, tuple[str, ...]] = {
    "image/jpeg": (*JPEG_LOSSLESS_ALL, BASELINE, EXTENDED),
    "image/jls": JPEG_LS_ALL,
    "image/jp2": J2K_ALL,
    "image/jphc": HTJ2K_ALL,
    "image/dicom-rle": (RLE,),
}
FRAME_MEDIA: Mapping[str, str] = {
    syntax: media for media, syntaxes in FRAME_SYNTAXES.items() for syntax in syntaxes
}
ALIASES: Mapping[str, str] = {
    "image/x-dicom-rle": "image/dicom-rle",
    "image/x-jls": "image/jls",
    "image/j2c": "image/jp2",
}
MADE_FRAMES = frozenset({*UNCOMPRESSED[:1], *LOSSLESS, BASELINE})  # what a frame can be put into
MADE = frozenset({*UNCOMPRESSED, *LOSSLESS})  # what an instance can be put into
