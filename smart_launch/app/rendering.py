"""Templates to HTML answers, with the headers that keep a page ours.

`render` is also what the sign-in and the DPI launch use for their pages (`connexion.html`, `erreur.html`,
`choix_workflow.html`). No script, style, font or picture comes from outside this host, and none is inline.
CSP Level 3 §6.1; OWASP Secure Headers
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from smart_launch.app import words

HERE = Path(__file__).parent
STATIC = HERE / "static"

CONTENT_SECURITY_POLICY = "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
PAGE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@lru_cache(maxsize=64)
def static(name: str) -> str:
    """The address of a static file, with its fingerprint: a new version is a new address, so old ones may
    be cached.
    """
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(static=static, words=words, moi=None, fait="")
    environment.filters.update(capitalize_first=_capitalized, codes=_with_codes)
    return environment


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _with_codes(text: str) -> Markup:
    """Text whose parts between back quotes are code; all of it is escaped."""
    parts = (escape(part) for part in text.split("`"))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )


@lru_cache(maxsize=1)
def environment() -> Environment:
    return _environment()


def markup(name: str, context: Mapping[str, Any]) -> str:
    """A template's text."""
    return environment().get_template(name).render(**context)


def render(
    name: str,
    context: Mapping[str, Any] | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """A page as an answer. Every page is `no-store`: it shows a patient, or leads to one."""
    return HTMLResponse(markup(name, context or {}), status, {**PAGE_HEADERS, **(headers or {})})


def fragment(request: Request, name: str, context: Mapping[str, Any]) -> Response:
    """A part of a page for the live refresh, or 304 when the reader already has it. RFC 9110 §13.1.2"""
    text = markup(name, context)
    etag = '"' + hashlib.sha256(text.encode()).hexdigest()[:32] + '"'
    headers = {**PAGE_HEADERS, "ETag": etag, "Cache-Control": "private, no-cache"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return HTMLResponse(text, 200, headers)


def failure(status: int, *, detail: str = "", back: str = "/dossiers", me: Any = None) -> HTMLResponse:
    """The French error page of a status."""
    title, sentence = words.FAILURES.get(status, words.FAILURES[500])
    context = {
        "status": status,
        "titre": title,
        "message": sentence,
        "detail": detail,
        "retour": back,
        "moi": me,
    }
    return render("erreur.html", context, status)
