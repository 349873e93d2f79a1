"""FHIR XML read to a resource: expat's events fill the dict directly, no tree stands between.

The definitions say of every element what it is; what they do not know is refused with line and column, as
nothing else could be made of it. Values are not judged here: a text that is no number where one should be
stays a text, and validation says so with its path. Elements may come in any order, comments and processing
instructions are passed over. FHIR R4 xml.html
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, NoReturn
from xml.sax.saxutils import escape, quoteattr

from profiles import codec, definitions
from profiles.outcomes import Invalid
from profiles.xml import safe
from profiles.xml.members import FHIR, SCHEMA_INSTANCE, XHTML, Member, members

Json = dict[str, Any]
_WHOLE = frozenset({"integer", "unsignedInt", "positiveInt"})
_BLANK = " \t\r\n"


def parse(body: bytes) -> Json:
    """One resource.

    Raises Invalid, naming line and column, for what is not XML in UTF-8, for a DOCTYPE, elements or
    attributes that the definitions do not know, text outside of attributes, nesting deeper than 100.
    """
    return _Reader(body).read()


class _Frame:
    """An element that is open. `member` is what it is for its parent, None for a resource; `value` is the
    object that its content fills: of a primitive, what becomes the `_name` member."""

    __slots__ = ("member", "text", "type", "value")

    def __init__(self, member: Member | None, type: str, value: Json) -> None:
        self.member = member
        self.type = type
        self.value = value
        self.text: str | None = None


class _Reader:
    """One document being read."""

    def __init__(self, body: bytes) -> None:
        self.body = body[3:] if body.startswith(b"\xef\xbb\xbf") else body
        self.parser = safe.parser()
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.parser.StartNamespaceDeclHandler = self.namespace
        self.frames: list[_Frame] = []
        self.div: _Div | None = None
        self.declares: str | None = None
        self.deepest = 0
        self.resource: Json = {}

    def read(self) -> Json:
        safe.run(self.parser, self.body)
        if self.deepest > codec.MAX_DEPTH // 2 - 2:
            codec.check_depth(self.resource)
        return self.resource

    def refuse(self, slug: str, why: str) -> NoReturn:
        safe.refuse(self.parser, slug, why)

    def namespace(self, prefix: str | None, uri: str) -> None:
        """The default namespace that the next start tag declares itself."""
        if prefix is None:
            self.declares = uri

    def start(self, full: str, attributes: list[str]) -> None:
        declares, self.declares = self.declares, None
        if self.div is not None:
            self.div.start(full, attributes)
            return
        namespace, name, prefix = safe.split_name(full)
        if len(self.frames) >= safe.MAX_DEPTH:
            self.refuse("xml-too-deep", f"nesting is deeper than {safe.MAX_DEPTH} elements")
        if not self.frames:
            self.open_resource(namespace, name, attributes, None)
            return
        above = self.frames[-1]
        if above.member is not None and above.member.kind == "resource":
            if above.value:
                self.refuse("xml-several", f"{above.member.name} holds one resource")
            self.open_resource(namespace, name, attributes, above)
            return
        member = members(above.type).get(name)
        expected = XHTML if member is not None and member.kind == "xhtml" else FHIR
        if member is None or member.kind == "attribute" or namespace != expected:
            self.unknown(above.type, name, namespace)
        if not member.repeats and (name in above.value or "_" + name in above.value):
            self.refuse("xml-repeated", f"{name} is repeated, and {above.type} has it once")
        if member.kind == "xhtml":
            self.div = _Div(self.parser.CurrentByteIndex, verbatim=declares == XHTML and not prefix)
            self.div.start(full, attributes)
            self.frames.append(_Frame(member, "xhtml", {}))
            return
        self.open(member, attributes)

    def open(self, member: Member, attributes: list[str]) -> None:
        primitive = member.kind == "primitive"
        frame = _Frame(member, "Element" if primitive else member.type, {})
        for place in range(0, len(attributes), 2):
            name, text = attributes[place], attributes[place + 1]
            if primitive and name == "value":
                frame.text = text
            elif (known := members(frame.type).get(name)) is not None and known.kind == "attribute":
                frame.value[name] = text
            else:
                self.refuse("xml-unknown", f"{member.name} has no attribute {_short(name)}")
        self.push(frame)

    def open_resource(self, namespace: str, name: str, attributes: list[str], above: _Frame | None) -> None:
        if namespace != FHIR or name not in definitions.resource_types():
            where = "" if namespace == FHIR else f" in the namespace {FHIR}"
            near = _near(name, definitions.resource_types())
            self.refuse("xml-unknown", f"{_short(name)} is no resource type of FHIR R4{where}{near}")
        for place in range(0, len(attributes), 2):
            if not attributes[place].startswith(SCHEMA_INSTANCE + " "):
                self.refuse("xml-unknown", f"{name} has no attribute {_short(attributes[place])}")
        value: Json = {"resourceType": name}
        if above is None:
            self.resource = value
        else:
            above.value["resource"] = value
        self.push(_Frame(None, name, value))

    def push(self, frame: _Frame) -> None:
        self.frames.append(frame)
        self.deepest = max(self.deepest, len(self.frames))

    def characters(self, text: str) -> None:
        if self.div is not None:
            self.div.out.append(escape(text))
        elif text.strip(_BLANK):
            self.refuse("xml-text", "text stands here; FHIR has values in attributes")

    def end(self, full: str) -> None:
        if self.div is not None:
            if self.div.end(full):
                return
            text, self.div = self.div.text(self.body, self.parser.CurrentByteIndex), None
            frame = self.frames.pop()
            assert frame.member is not None
            self.frames[-1].value[frame.member.name] = text
            return
        frame = self.frames.pop()
        value, member = frame.value, frame.member
        if type_lists := [name for name in value if name[0] == "_" and isinstance(value[name], list)]:
            _tidy(value, type_lists)
        if member is None:
            return
        above = self.frames[-1].value
        if member.kind == "primitive":
            self.primitive(above, member, frame)
        else:
            if member.kind == "resource":
                if not value:
                    self.refuse("xml-empty", f"{member.name} is empty; it holds a resource")
                value = value["resource"]
            if member.repeats:
                above.setdefault(member.name, []).append(value)
            else:
                above[member.name] = value

    def primitive(self, above: Json, member: Member, frame: _Frame) -> None:
        """Adds a value and its sibling; in lists both keep their place, with nulls for gaps."""
        name, extra = member.name, frame.value or None
        if frame.text is None and extra is None:
            self.refuse("xml-empty", f"{name} has neither a value nor an extension")
        try:
            value = None if frame.text is None else _value(frame.text, member.type)
        except Invalid as error:
            self.refuse("xml-number", str(error))
        if not member.repeats:
            if frame.text is not None:
                above[name] = value
            if extra is not None:
                above["_" + name] = extra
            return
        values: list[Any] = above.setdefault(name, [])
        values.append(value)
        extras: list[Any] | None = above.get("_" + name)
        if extras is None and extra is not None:
            extras = above["_" + name] = [None] * (len(values) - 1)
        if extras is not None:
            extras.append(extra)

    def unknown(self, type: str, name: str, namespace: str) -> NoReturn:
        known = members(type)
        if name in known and known[name].kind == "attribute":
            self.refuse("xml-unknown", f"{name} is an attribute of {type}, not an element")
        if name in known:
            expected = XHTML if known[name].kind == "xhtml" else FHIR
            self.refuse("xml-unknown", f"{name} is not in the namespace {expected}")
        self.refuse("xml-unknown", f"{type} has no element {_short(name)}{_near(name, known)}")


class _Div:
    """A narrative being read: its bytes as written where they stand on their own, else the same written
    anew with the namespace on the div and no prefixes."""

    def __init__(self, begin: int, *, verbatim: bool) -> None:
        self.begin = begin
        self.verbatim = verbatim
        self.depth = 0
        self.out: list[str] = []

    def start(self, full: str, attributes: list[str]) -> None:
        namespace, name, prefix = safe.split_name(full)
        if prefix:
            self.verbatim = False
        self.out.append("<" + (name if namespace == XHTML else _foreign(namespace, name)))
        if not self.depth:
            self.out.append(f' xmlns="{XHTML}"')
        for place in range(0, len(attributes), 2):
            of, attribute, spelt = safe.split_name(attributes[place])
            if of and spelt != "xml":
                self.verbatim = False
            self.out.append(
                f" {'xml:' if spelt == 'xml' else ''}{attribute}={quoteattr(attributes[place + 1])}"
            )
        self.out.append(">")
        self.depth += 1

    def end(self, full: str) -> bool:
        """Whether the narrative goes on."""
        self.depth -= 1
        namespace, name, _ = safe.split_name(full)
        self.out.append(f"</{name if namespace == XHTML else _foreign(namespace, name)}>")
        return self.depth > 0

    def text(self, body: bytes, at: int) -> str:
        """`at` is where the end tag begins."""
        if self.verbatim and body[at : at + 2] == b"</":
            return body[self.begin : body.index(b">", at) + 1].decode("utf-8")
        return "".join(self.out)


def _foreign(namespace: str, name: str) -> str:
    """An element that is not XHTML keeps a name that no narrative may have, so that validation refuses it."""
    return f"foreign-{name}" if namespace else name


def _tidy(value: Json, names: list[str]) -> None:
    """A list of primitives that are all without value is left out, its extensions stay."""
    for name in names:
        if all(item is None for item in value.get(name[1:], ())):
            value.pop(name[1:], None)


def _value(text: str, type: str) -> Any:
    """The JSON value of a primitive's text; the text itself where it is no value of that type."""
    if type == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if type in _WHOLE:
        plain = text.removeprefix("+")
        return int(plain) if codec.is_whole(plain) else text
    return codec.number(text) if type == "decimal" and codec.is_number(text) else text


def _near(name: str, known: Any) -> str:
    near = get_close_matches(name[:64], list(known), 3, 0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _short(name: str) -> str:
    return repr(name.rpartition(" ")[2] if name.count(" ") < 2 else name.split(" ")[1])[:80]
