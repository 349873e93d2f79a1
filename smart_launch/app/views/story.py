"""What was said and done: documents, the report, messages, consent, the timeline (R104, R121)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, tzinfo

from smart_launch.app import words
from smart_launch.app.views import times
from smart_launch.app.views.exams import exam_title
from smart_launch.app.views.people import Directory, Post
from smart_launch.app.views.reading import (
    BASE,
    Json,
    by_type,
    code,
    display,
    extension,
    many,
    own_reference,
    reference,
    short_reference,
)


@dataclass(frozen=True, slots=True)
class Document:
    """A joined file, or the report."""

    title: str
    href: str
    kind: str
    size: str
    by: str = ""
    when: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A Communication: an answer, a call, an information."""

    kind: str
    by: Post
    when: str
    when_iso: str
    text: str
    minutes: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the timeline: who, what, when; the text when there is one."""

    step: str
    title: str
    who: str
    place: str
    when: str
    when_iso: str
    time: str
    text: str
    on_behalf: str = ""
    day: str = ""


def binary_href(url: str) -> str:
    """The address of a Binary on this host, or empty when the attachment is elsewhere: we link to nobody
    else.
    """
    ref = short_reference(url)
    return f"/fhir/{ref}" if ref.startswith("Binary/") else ""


def size_words(size: object) -> str:
    """`210 Ko`, `1,4 Go`."""
    try:
        value = float(str(size))
    except ValueError:
        return ""
    units = iter(words.BYTES)
    unit = next(units)
    for larger in units:
        if value < 1000:
            break
        value, unit = value / 1000, larger
    text = f"{value:.1f}".replace(".", ",") if unit == "Go" else f"{value:.0f}"
    return f"{text}\u00a0{unit}"


def _document(attachment: Json, title: str, by: str, at: datetime | None) -> Document:
    name = str(attachment.get("title") or title)
    kind = name.rsplit(".", 1)[-1].upper()[:4] if "." in name else ""
    if not kind and attachment.get("contentType"):
        kind = str(attachment["contentType"]).split("/")[-1].upper()[:4]
    return Document(
        title=name,
        href=binary_href(str(attachment.get("url", ""))),
        kind=kind,
        size=size_words(attachment["size"]) if attachment.get("size") else "",
        by=by,
        when=times.date_at_time(at) if at else "",
    )


def documents(found: Iterable[Json], directory: Directory, zone: tzinfo) -> list[Document]:
    """The joined documents in the order they came."""
    listed: list[Document] = []
    for item in sorted(found, key=lambda each: str(each.get("date", ""))):
        by = next((directory.who(reference(who)) for who in many(item, "author")), "")
        for content in many(item, "content"):
            attachment = content.get("attachment", {})
            title = str(item.get("description") or words.DOCUMENT)
            listed.append(_document(attachment, title, by, times.moment(item.get("date"), zone)))
    return listed


def report(found: Iterable[Json], directory: Directory, zone: tzinfo) -> Document | None:
    """The last signed report as a PDF to open."""
    for item in sorted(found, key=lambda each: str(each.get("issued", "")), reverse=True):
        for form in many(item, "presentedForm"):
            by = next((directory.who(reference(who)) for who in many(item, "resultsInterpreter")), "")
            return _document(form, words.REPORT, by, times.moment(item.get("issued"), zone))
    return None


def messages(found: Iterable[Json], directory: Directory, zone: tzinfo) -> list[Message]:
    """The Communications in time."""
    return [
        message(item, directory, zone) for item in sorted(found, key=lambda each: str(each.get("sent", "")))
    ]


def message(item: Json, directory: Directory, zone: tzinfo) -> Message:
    at = times.moment(item.get("sent"), zone)
    texts = [str(part["contentString"]) for part in many(item, "payload") if part.get("contentString")]
    return Message(
        kind=code(item.get("category"), f"{BASE}/CodeSystem/communication"),
        by=directory.post(reference(item.get("sender"))),
        when=times.date_at_time(at) if at else "",
        when_iso=at.isoformat() if at else "",
        text="\n".join(texts),
        minutes=int(extension(item, "duration-minutes") or 0),
    )


def consent_words(found: Iterable[Json]) -> tuple[str, str]:
    """The consent's state in words and what was said about it (R151)."""
    state, text = consent_codes(found)
    return (words.label(words.CONSENTS, state) if state else ""), text


def consent_codes(found: Iterable[Json]) -> tuple[str, str]:
    """The consent's state as a code, and its text."""
    for item in found:
        state = str(extension(item, "consent-state") or "") or code(
            item.get("category"), f"{BASE}/CodeSystem/consent-state"
        )
        text = str(extension(item, "consent-text") or "")
        return state, text or " ".join(str(note.get("text", "")) for note in many(item, "note"))
    return "", ""


def timeline(resources: list[Json], directory: Directory, zone: tzinfo) -> list[Event]:
    """The Provenances in the order of what they tell."""
    by_ref = {own_reference(item): item for item in resources}
    found = [event(item, by_ref, directory, zone) for item in by_type(resources, "Provenance")]
    return sorted(found, key=lambda each: each.when_iso)


def event(item: Json, by_ref: dict[str, Json], directory: Directory, zone: tzinfo) -> Event:
    step = code(item.get("activity"), f"{BASE}/CodeSystem/step") or code(item.get("activity"))
    at = times.moment(item.get("occurredDateTime") or item.get("recorded"), zone)
    agent: Json = next(iter(many(item, "agent")), {})
    who = reference(agent.get("who"))
    behalf = reference(agent.get("onBehalfOf"))
    post = directory.post(who) if who else Post()
    targets = [by_ref.get(reference(target), {}) for target in many(item, "target")]
    return Event(
        step=step,
        title=words.STEPS_DONE.get(step) or display(item.get("activity")) or step,
        who=post.short_name or str(agent.get("who", {}).get("display", "")) or words.PLATFORM,
        place=post.service or post.community or post.establishment,
        when=times.date_at_time(at) if at else "",
        when_iso=at.isoformat() if at else "",
        time=times.time_of(at) if at else "",
        text=event_text(targets) or " ".join(str(one.get("text", "")) for one in many(item, "reason")),
        on_behalf=directory.who(behalf) if behalf and behalf != who else "",
        day=times.date_of(at) if at else "",
    )


def event_text(targets: Iterable[Json]) -> str:
    """What a step wrote, in a line: its message, the exam's or document's title."""
    texts: list[str] = []
    for target in targets:
        kind = target.get("resourceType")
        if kind == "Communication":
            minutes = extension(target, "duration-minutes")
            texts += [f"{minutes} min"] if minutes else []
            texts += [
                str(part["contentString"]) for part in many(target, "payload") if part.get("contentString")
            ]
        elif kind == "ImagingStudy":
            texts.append(exam_title(target))
        elif kind == "DocumentReference":
            attachment: Json = next((part.get("attachment", {}) for part in many(target, "content")), {})
            texts.append(str(attachment.get("title") or target.get("description") or words.DOCUMENT))
    return " · ".join(text for text in texts if text)
