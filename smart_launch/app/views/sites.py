"""A site's gateway and systems as its administration reads them. Pure. DOMAIN screen 20; R086"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from smart_launch.app import words
from smart_launch.app.views.people import Directory
from smart_launch.app.views.reading import Json, by_type, codes, many, own_reference, reference
from smart_launch.app.views.times import ago, date_at_time, moment

MEGABYTE, GIGABYTE = 1e6, 1e9


@dataclass(frozen=True, slots=True)
class Gateway:
    """`facts` are label and text; `alarms` sentences, the worst first."""

    id: str
    name: str
    tone: str
    state: str
    active: bool
    alarms: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class System:
    """A PACS, a RIS or a DICOMweb service. `way`: how it is reached; `uses`: what for; `untold`: what it was
    not told of exams that were done."""

    id: str
    name: str
    tone: str
    state: str
    active: bool
    address: str
    uses: str
    way: str
    untold: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Community:
    name: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Site:
    id: str
    name: str
    tone: str
    state: str
    gateways: tuple[Gateway, ...]
    systems: tuple[System, ...]


def site(found: Json, zone: tzinfo, now: datetime) -> Site:
    """From `/gateway/sites`."""
    gateways = tuple(gateway(one, zone, now) for one in found["gateways"])
    systems = tuple(system(one, zone, now) for one in found["peers"])
    tone, state = _summary(gateways, systems)
    return Site(str(found["id"]), str(found["name"]), tone, state, gateways, systems)


def ordered(found: Iterable[Site]) -> list[Site]:
    """What a person should look at first, then what is in service, then by name."""
    return sorted(found, key=lambda one: (one.tone != "alerte", not (one.gateways or one.systems), one.name))


def _summary(gateways: Iterable[Gateway], systems: Iterable[System]) -> tuple[str, str]:
    gateways, systems = list(gateways), list(systems)
    for one in gateways:
        if one.tone == "alerte":
            return one.tone, one.state
    if not gateways and not systems:
        return "", words.SITE_STATES["none"]
    if not any(one.active for one in systems):
        return "attente", words.SITE_STATES["closed"]
    return "fait", words.SITE_STATES["open"]


def gateway(found: Json, zone: tzinfo, now: datetime) -> Gateway:
    alarms = tuple(words.GATEWAY_ALARMS.get(str(one), str(one)) for one in found.get("alarms", ()))
    if not found["active"]:
        tone, state = "", words.GATEWAY_STATES["off"]
    elif "never" in found["alarms"] or "silent" in found["alarms"]:
        tone, state = "alerte", words.GATEWAY_STATES["silent"]
    elif alarms:
        tone, state = "alerte", words.GATEWAY_STATES["alarm"]
    else:
        tone, state = "fait", words.GATEWAY_STATES["well"]
    facts = tuple((words.GATEWAY_FACTS[name], text) for name, text in _facts(found, zone, now) if text)
    return Gateway(str(found["id"]), str(found["name"]), tone, state, bool(found["active"]), alarms, facts)


def _facts(found: Json, zone: tzinfo, now: datetime) -> list[tuple[str, str]]:
    report = found.get("report") or {}
    waiting, disk = report.get("waiting") or {}, report.get("disk") or {}
    made = [("seen", _when(found.get("seen"), zone, now))]
    if not report:
        return made
    return [
        *made,
        ("waiting", _waiting(waiting)),
        ("delivered", _when(report.get("delivered"), zone, now)),
        ("refused", words.plural(report["refused"], "image") if report.get("refused") else ""),
        ("steps", _steps(report.get("steps") or {})),
        ("disk", _disk(disk)),
        ("clock", words.SECONDS_OFF.format(n=round(abs(found["clockOff"]))) if _is_off(found) else ""),
        ("version", str(report.get("version", ""))),
    ]


def _is_off(found: Json) -> bool:
    return bool(abs(found.get("clockOff", 0)) >= 5)


def _when(text: object, zone: tzinfo, now: datetime) -> str:
    at = moment(text, zone)
    return f"{date_at_time(at)} ({ago(at, now)})" if at else ""


def _waiting(waiting: Json) -> str:
    count = int(waiting.get("instances", 0))
    if not count:
        return words.NOTHING_WAITS
    size = f"{waiting.get('bytes', 0) / MEGABYTE:.0f}"
    minutes = int(waiting.get("oldest", 0) // 60)
    return words.WAITING.format(images=words.plural(count, "image"), size=size, minutes=minutes)


def _steps(steps: Json) -> str:
    """Messages that wait, and those that the platform does not take; "" for none."""
    parts = [text.format(n=steps[name]) for name, text in words.STEPS_AT_GATEWAY.items() if steps.get(name)]
    return ", ".join(parts)


def _disk(disk: Json) -> str:
    total = disk.get("total", 0)
    if not total:
        return ""
    free = disk.get("free", 0)
    return words.DISK_FREE.format(free=f"{free / GIGABYTE:.0f}", percent=round(100 * free / total))


def system(found: Json, zone: tzinfo, now: datetime) -> System:
    name = str(found.get("name") or found["id"])
    if found.get("fault"):
        return System(str(found["id"]), name, "alerte", words.SYSTEM_STATES["wrong"], False, "", "", "")
    if not found["active"]:
        tone, state = "", words.SYSTEM_STATES["off"]
    elif found.get("reachable") is False:
        tone, state = "alerte", words.SYSTEM_STATES["away"]
    else:
        tone, state = "fait", words.SYSTEM_STATES["on"]
    uses = ", ".join(words.SYSTEM_USES[one] for one in found["uses"] if one in words.SYSTEM_USES)
    way = words.SYSTEM_WAYS["via" if found["via"] else "direct"]
    return System(
        str(found["id"]), name, tone, state, bool(found["active"]), str(found["address"]), uses, way,
        _untold(found.get("steps") or {}, zone, now),
    )  # fmt: skip


def _untold(steps: Json, zone: tzinfo, now: datetime) -> tuple[str, ...]:
    made = []
    if steps.get("waiting"):
        messages, since = words.plural(steps["waiting"], "message"), _when(steps["oldest"], zone, now)
        made.append(words.STEPS_WAITING.format(messages=messages, since=since))
    if steps.get("refused"):
        made.append(words.STEPS_REFUSED[steps["refused"] > 1].format(n=steps["refused"]))
    return tuple(made)


def communities(
    organizations: Iterable[Json], roles: Iterable[Json], directory: Directory
) -> list[Community]:
    """By name, each with its members in the order of their names."""
    members: dict[str, list[Member]] = {}
    for role in by_type(roles, "PractitionerRole"):
        if role.get("active", True):
            labels = [_role(one) for one in many(role, "code")]
            post = directory.post(own_reference(role))
            where = reference(role.get("organization"))
            members.setdefault(where, []).append(Member(post.name, ", ".join(filter(None, labels))))
    found = [
        Community(
            str(one.get("name", "")),
            tuple(sorted(members.get(own_reference(one), ()), key=lambda each: each.name)),
        )
        for one in by_type(organizations, "Organization")
        if "communaute" in codes(one.get("type"))
    ]
    return sorted(found, key=lambda one: one.name)


def _role(concept: Mapping[str, object]) -> str:
    codings = concept.get("coding")
    first = codings[0] if isinstance(codings, list) and codings else {}
    return str(first.get("display") or first.get("code") or "") if isinstance(first, dict) else ""
