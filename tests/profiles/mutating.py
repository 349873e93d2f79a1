"""Resources that went wrong: a sound one with some of its values taken away, doubled, or replaced."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=8),
    st.sampled_from(
        ["", "#", "http://example.org/x", "2020-01-01", "urn:uuid:1", "Patient/1", [], {}, [None]]
    ),
    st.sampled_from(["url", "system", "code", "valueString", "resourceType", "extension"]).map(
        lambda name: {name: "x"}
    ),
)


def _holders(node: Any) -> list[Any]:
    """Every object and list within."""
    found = [node]
    for one in node.values() if isinstance(node, dict) else node:
        if isinstance(one, dict | list):
            found += _holders(one)
    return found


@st.composite
def mutated(draw: st.DrawFn, sound: Json) -> Json:
    """One to four changes anywhere in a copy."""
    resource = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 4))):
        holder = draw(st.sampled_from(_holders(resource)))
        places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not places:
            continue
        place = draw(st.sampled_from(places))
        match draw(st.sampled_from(["remove", "replace", "rename", "wrap", "swap"])):
            case "remove":
                del holder[place]
            case "replace":
                holder[place] = draw(ODD)
            case "wrap":
                holder[place] = [holder[place], copy.deepcopy(holder[place])]
            case "swap":
                other = draw(st.sampled_from(places))
                holder[place], holder[other] = holder[other], holder[place]
            case _ if isinstance(holder, dict):
                holder[draw(st.sampled_from(["_" + place, place + "X", "value", "id", "extension"]))] = (
                    holder.pop(place)
                )
    return resource
