"""Small urlencoded bodies, read with a limit before anything is parsed."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

from profiles.outcomes import Invalid, TooLarge, UnsupportedMedia

LIMIT = 64 * 1024
"""Bytes: a client assertion of an RSA key with a certificate chain stays well below."""


async def read(request: Request, limit: int = LIMIT) -> dict[str, str]:
    """The fields of an `application/x-www-form-urlencoded` body, each at most once.

    Raises Invalid, TooLarge, UnsupportedMedia. RFC 6749 §3.2: parameters must not be included more than once.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/x-www-form-urlencoded":
        raise UnsupportedMedia("form-expected", "the body must be application/x-www-form-urlencoded")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge("form-too-large", f"the form exceeds {limit} bytes")
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=100,
        )
    except ValueError as error:
        raise Invalid("form-malformed", "the form cannot be read as UTF-8 fields") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Invalid("form-repeated-field", "a field is given more than once")
    return fields
