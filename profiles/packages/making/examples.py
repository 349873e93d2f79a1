"""Examples of the guide's profiles: one valid, and invalid ones made from it by a small change that breaks
one rule.

A path of a change is `identifier[0].value`; the place after a list's last adds to it, null takes away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from profiles.packages.making.common import Json, extension_url, source

_STEP = re.compile(r"([A-Za-z]+)(?:\[(\d+)\])?")


@dataclass(frozen=True, slots=True)
class Example:
    """`profile` is its id. Of an invalid one: the rule it breaks, why in French, and what a validator finds,
    each `slug place`; all three empty for the valid one."""

    profile: str
    name: str
    resource: Json
    breaks: str = ""
    says: str = ""
    found: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The profile's canonical URL."""
        return extension_url(self.profile)


def valid() -> Iterator[Example]:
    """One per profile."""
    for profile, entry in source("examples").items():
        yield Example(profile, "valide", deepcopy(entry["valid"]))


def invalid() -> Iterator[Example]:
    """Several per profile, each with an id of its own."""
    for profile, entry in source("examples").items():
        for name, one in entry["invalid"].items():
            resource = changed(entry["valid"], one["change"])
            resource["id"] = f"{resource['id']}-{name}"[:64]
            yield Example(profile, name, resource, one["breaks"], one["says"], tuple(one["found"]))


def changed(resource: Json, change: Json) -> Json:
    """A copy with these changes. Raises ValueError for a path that leads nowhere."""
    made = deepcopy(resource)
    for path, value in change.items():
        steps: list[str | int] = []
        for name, place in _STEP.findall(path):
            steps += [name, int(place)] if place else [name]
        _put(made, steps, deepcopy(value), path)
    return made


def _put(at: Any, steps: list[str | int], value: Any, path: str) -> None:
    *above, last = steps
    for step in above:
        try:
            at = at[step]
        except (KeyError, IndexError):
            raise ValueError(f"{path} leads nowhere in the example") from None
    if value is None:
        del at[last]
    elif isinstance(at, list) and last == len(at):
        at.append(value)
    else:
        at[last] = value
