"""What a coded video says of itself: the sequence parameter set of H.264 (AVC) and H.265 (HEVC). Pure.

A container's boxes can lie; these bits are what a decoder goes by. ITU-T H.264 §7.3.2.1.1, §E; H.265 §7.3.2.2
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_SIDE = 16_384  # pixels
_HIGH = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


class Unreadable(ValueError):
    """Bits that are no sequence parameter set."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """`level`: ten times the level (41 is 4.1). `chroma`: 1 is 4:2:0. `constraints`: AVC's flags."""

    profile: int
    level: int
    width: int
    height: int
    chroma: int
    bits: int
    constraints: int = 0


class Bits:
    """A raw byte sequence payload, its emulation prevention bytes taken out. Raises Unreadable at its end."""

    def __init__(self, unit: bytes) -> None:
        self._data = unit.replace(b"\0\0\3", b"\0\0")
        self._at = 0

    def take(self, count: int) -> int:
        """`count` bits as a number."""
        end = self._at + count
        if end > 8 * len(self._data):
            raise Unreadable("the parameter set ends early")
        first, last = self._at // 8, (end + 7) // 8
        value = int.from_bytes(self._data[first:last], "big") >> (8 * last - end)
        self._at = end
        return value & ((1 << count) - 1)

    def unsigned(self) -> int:
        """ue(v). H.264 §9.1"""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 31:
                raise Unreadable("a number of more than 32 bits")
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """se(v). H.264 §9.1.1"""
        value = self.unsigned()
        return (value + 1) // 2 if value % 2 else -(value // 2)


def avc(unit: bytes) -> Sequence:
    """An H.264 sequence parameter set, its NAL header included. Raises Unreadable."""
    bits = Bits(unit[:4096])
    if bits.take(8) & 31 != 7:
        raise Unreadable("no sequence parameter set")
    profile, constraints, level = bits.take(8), bits.take(8), bits.take(8)
    bits.unsigned()
    chroma, depth = _avc_format(bits, profile)
    _avc_order(bits)
    width, height = 16 * (bits.unsigned() + 1), 16 * (bits.unsigned() + 1)
    fields = 2 - bits.take(1)
    if fields == 2:
        bits.take(1)
    bits.take(1)
    across, down = (2 if chroma in (1, 2) else 1), (2 if chroma == 1 else 1) * fields
    width, height = _cropped(bits, width, height * fields, (across, down))
    return Sequence(profile, level, width, height, chroma, depth, constraints)


def _avc_format(bits: Bits, profile: int) -> tuple[int, int]:
    """Chroma format and the greater bit depth."""
    if profile not in _HIGH:
        return 1, 8
    chroma = bits.unsigned()
    if chroma == 3:
        bits.take(1)
    depth = 8 + max(bits.unsigned(), bits.unsigned())
    bits.take(1)
    if bits.take(1):
        for number in range(12 if chroma == 3 else 8):
            if bits.take(1):
                _skip_scaling(bits, 16 if number < 6 else 64)
    return chroma, depth


def _skip_scaling(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _avc_order(bits: Bits) -> None:
    """Past frame numbers and picture order."""
    bits.unsigned()
    kind = bits.unsigned()
    if kind == 0:
        bits.unsigned()
    elif kind == 1:
        bits.take(1)
        bits.signed(), bits.signed()
        for _ in range(_few(bits.unsigned(), 255)):
            bits.signed()
    bits.unsigned()
    bits.take(1)


def hevc(unit: bytes) -> Sequence:
    """An H.265 sequence parameter set, its NAL header included. Raises Unreadable."""
    bits = Bits(unit[:4096])
    if bits.take(16) >> 9 & 63 != 33:
        raise Unreadable("no sequence parameter set")
    bits.take(4)
    layers = bits.take(3)
    bits.take(1)
    bits.take(3)
    profile = bits.take(5)
    bits.take(32), bits.take(48)
    level = bits.take(8)
    _skip_layers(bits, layers)
    bits.unsigned()
    chroma = bits.unsigned()
    if chroma == 3:
        bits.take(1)
    width, height = bits.unsigned(), bits.unsigned()
    units = {1: (2, 2), 2: (2, 1)}.get(chroma, (1, 1))
    width, height = _cropped(bits, width, height, units)
    depth = 8 + max(bits.unsigned(), bits.unsigned())
    return Sequence(profile, level // 3, width, height, chroma, depth)


def _skip_layers(bits: Bits, layers: int) -> None:
    """Past the profile and level of each sub-layer. H.265 §7.3.3"""
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    if layers:
        bits.take(2 * (8 - layers))
    for with_profile, with_level in present:
        bits.take(88 * with_profile + 8 * with_level)


def _cropped(bits: Bits, width: int, height: int, units: tuple[int, int]) -> tuple[int, int]:
    if bits.take(1):
        left, right, top, bottom = (bits.unsigned() for _ in range(4))
        width, height = width - units[0] * (left + right), height - units[1] * (top + bottom)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise Unreadable("an impossible size")
    return width, height


def _few(value: int, most: int) -> int:
    if value > most:
        raise Unreadable("an impossible count")
    return value
