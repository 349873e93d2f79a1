"""A waveform (an electrocardiogram, most often) drawn as SVG: a row for each lead, on paper of 25 mm a second
and 10 mm a millivolt. Pure.

Drawn for orientation: no filter, no measurement; the first TWENTY seconds. PS3.3 §C.10.9 (Waveform)
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from dicomweb.attributes import Attributes, first, integer, number, values
from profiles.outcomes import NotAcceptable

SVG = "image/svg+xml"
DATA = "54000100/1/54001010"  # the samples of the first multiplex group
TWENTY = 20.0  # seconds
MAX_LEADS = 24
MAX_SAMPLES = 2_000_000  # of all leads
SPEED, GAIN = 25.0, 10.0  # mm a second, mm a millivolt
ROW, LEFT, STEP = 24.0, 14.0, 0.25  # mm
_KINDS = {("SS", 16): "<i2", ("US", 16): "<u2", ("SB", 8): "i1", ("UB", 8): "u1", ("SL", 32): "<i4"}
_MILLIVOLTS = {"mV": 1.0, "uV": 0.001, "V": 1000.0, "nV": 1e-6}


def is_waveform(attributes: Attributes) -> bool:
    """Whether there is a multiplex group to draw."""
    return bool(values(attributes, "54000100"))


def drawn(attributes: Attributes, data: bytes) -> str:
    """The first multiplex group, of which `data` is the samples. Raises NotAcceptable."""
    group = values(attributes, "54000100")[0]
    channels = values(group, "003A0200")
    rate = number(group, "003A001A") or 0.0
    kind = _KINDS.get((first(group, "54001006"), integer(group, "54001004") or 0))
    if not (0 < len(channels) <= MAX_LEADS and 1 <= rate <= 100_000) or kind is None:
        raise NotAcceptable("cannot-render", "this waveform cannot be drawn here")
    count = min(len(data) // np.dtype(kind).itemsize // len(channels), int(TWENTY * rate))
    if not 1 < count * len(channels) <= MAX_SAMPLES:
        raise NotAcceptable("cannot-render", "this waveform cannot be drawn here")
    samples = np.frombuffer(data, kind, count * len(channels)).reshape(count, len(channels))
    width, height = LEFT + SPEED * count / rate + 2, ROW * len(channels) + 6
    rows = (
        _row(channel, samples[:, place].astype(np.float64), rate, place)
        for place, channel in enumerate(channels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}mm" '
        f'height="{height:g}mm"><defs><pattern id="a" width="1" height="1" patternUnits="userSpaceOnUse">'
        '<path d="M1 0H0V1" fill="none" stroke="#f3c6c6" stroke-width=".08"/></pattern>'
        '<pattern id="b" width="5" height="5" patternUnits="userSpaceOnUse"><rect width="5" height="5" '
        'fill="url(#a)"/><path d="M5 0H0V5" fill="none" stroke="#e58f8f" stroke-width=".15"/></pattern>'
        "</defs>"
        f'<rect width="100%" height="100%" fill="#fffafa"/><rect width="100%" height="100%" fill="url(#b)"/>'
        f'<g font-family="sans-serif" font-size="4">{"".join(rows)}</g><text x="1" y="{height - 1:g}" '
        'font-family="sans-serif" font-size="3">25 mm/s · 10 mm/mV</text></svg>\n'
    )


def _row(channel: Any, raw: npt.NDArray[np.float64], rate: float, place: int) -> str:
    """One lead: its name and its line about the middle of its row."""
    middle = ROW * (place + 0.5)
    scale = (number(channel, "003A0210") or 1.0) * (number(channel, "003A0212") or 1.0)
    values_of = (raw + (number(channel, "003A0213") or 0.0)) * scale
    unit = next((first(one, "00080100") for one in values(channel, "003A0211")), "")
    if unit in _MILLIVOLTS:
        heights = values_of * _MILLIVOLTS[unit] * GAIN
    else:  # another quantity: fitted into its row
        middle_of = float(np.mean(values_of))
        heights = (values_of - middle_of) * (
            ROW / 2 / max(1e-9, float(np.max(np.abs(values_of - middle_of))))
        )
    heights = np.clip(np.nan_to_num(heights), -ROW, ROW)
    name = next((first(one, "00080104") for one in values(channel, "003A0208")), "") or first(
        channel, "003A0203"
    )
    points = " ".join(f"{x:.2f},{middle - y:.2f}" for x, y in _points(heights, rate))
    label = escape(name.removeprefix("Lead ").split(" (")[0][:12])
    return (
        f'<text x="1" y="{middle - 4:g}">{label}</text>'
        f'<polyline points="{points}" fill="none" stroke="#111" stroke-width=".3" stroke-linejoin="round"/>'
    )


def _points(heights: npt.NDArray[np.float64], rate: float) -> Iterator[tuple[float, float]]:
    """Places in mm; where several samples fall on one step, the lowest and the highest of them."""
    many = max(1, int(rate * STEP / SPEED))
    if many == 1:
        yield from ((LEFT + SPEED * at / rate, float(y)) for at, y in enumerate(heights))
        return
    for start in range(0, len(heights), many):
        piece = heights[start : start + many]
        low, high = int(np.argmin(piece)), int(np.argmax(piece))
        for at in sorted({low, high}):
            yield LEFT + SPEED * (start + at) / rate, float(piece[at])
