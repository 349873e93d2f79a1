"""From FHIR's refusals to words a person can use, and the wrapper that makes every page answer in French."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Message, Receive

from smart_launch.app import words
from smart_launch.app.fhir import FhirError
from smart_launch.app.rendering import failure
from smart_launch.app.views.reading import Json, display

log = logging.getLogger("teledossier.portal")
MOST_FORM = 2_000_000  # bytes of a form without files
Page = Callable[[Request], Awaitable[Response]]


def reasons(error: FhirError) -> list[str]:
    """The sentences of a refusal for people: `details.text` (the domain writes it in French), without
    doubles.
    """
    found = [str(issue.get("details", {}).get("text", "")) for issue in error.issues if _is_problem(issue)]
    return list(dict.fromkeys(text for text in found if text))


def _is_problem(issue: Json) -> bool:
    return issue.get("severity") in ("error", "fatal")


def reason(error: FhirError) -> str:
    """One text: the domain's own sentences, else the general one of the status."""
    found = reasons(error)
    if found:
        return " ".join(found)
    return words.FAILURES.get(error.status, words.FAILURES[500])[1]


def possible_now(error: FhirError) -> str:
    """What a 409 says is possible, as a sentence; empty when it does not say."""
    steps = [display(issue.get("details")) for issue in error.issues if "possible-step" in _slugs(issue)]
    return words.POSSIBLE_NOW.format(steps=", ".join(steps)) if steps else ""


def _slugs(issue: Json) -> Iterable[str]:
    return [str(item.get("code", "")) for item in issue.get("details", {}).get("coding", [])]


def guarded(page: Page, most: int = MOST_FORM) -> Page:
    """A page whose refusals are French pages: no traceback, no OperationOutcome, no patient data. A form of
    more than `most` bytes is refused before it fills memory or disk."""

    async def answer(request: Request) -> Response:
        try:
            return await page(Request(request.scope, _at_most(request.receive, most)))
        except FhirError as error:
            if error.status == 401 and request.method == "GET":
                return RedirectResponse(f"/connexion?suite={quote(request.url.path)}", 303)
            status = error.status if error.status in words.FAILURES else 500
            if status >= 500:
                log.warning("FHIR answered %s to a page", error.status)
            return failure(status, detail=" ".join(reasons(error)))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except HTTPException as error:
            # Starlette's word for a form that cannot be read, or has too much in it
            return failure(error.status_code if error.status_code in words.FAILURES else 400)
        except Exception as error:
            # the error's text may hold patient data: only its type and the code's place are logged
            last = traceback.extract_tb(error.__traceback__)[-1]
            log.error("a page failed: %s at %s:%s", type(error).__name__, last.filename, last.lineno)
            return failure(500)

    return answer


def _at_most(receive: Receive, most: int) -> Receive:
    """Raises HTTPException 413 as soon as more has come."""
    come = 0

    async def receiving() -> Message:
        nonlocal come
        message = await receive()
        come += len(message.get("body", b""))
        if come > most:
            raise HTTPException(413)
        return message

    return receiving
