"""An XML document as a small tree that can be changed, for XML Patch: elements, text, comments, instructions.

Read with the same parser as all XML here (`safe`), so depth is bounded and nothing external is reached.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from profiles.outcomes import Invalid
from profiles.xml import safe

XML = "http://www.w3.org/XML/1998/namespace"
MAX_PREFIXES = 64
"""In scope at a time; each element that declares one has a copy of those around it."""
Name = tuple[str, str]
"""(namespace or "", local name)."""


@dataclass(slots=True, eq=False)
class Text:
    """A run of characters."""

    text: str


@dataclass(slots=True, eq=False)
class Comment:
    """`<!-- text -->`."""

    text: str


@dataclass(slots=True, eq=False)
class Instruction:
    """`<?target text?>`."""

    target: str
    text: str


@dataclass(slots=True, eq=False)
class Element:
    """`attributes` without namespace declarations; `scope` holds the prefixes known here, the default
    namespace under ""; `declared` those that a patch declares on it."""

    name: Name
    attributes: dict[Name, str] = field(default_factory=dict)
    children: list[Element | Text | Comment | Instruction] = field(default_factory=list)
    scope: dict[str, str] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)
    place: str = ""

    @property
    def text(self) -> str:
        """All the characters in it: its string value. XPath 1.0 §5.2"""
        pieces: list[str] = []
        pending: list[Element | Text | Comment | Instruction] = [self]
        while pending:
            node = pending.pop()
            if isinstance(node, Text):
                pieces.append(node.text)
            elif isinstance(node, Element):
                pending.extend(reversed(node.children))
        return "".join(pieces)


Child = Element | Text | Comment | Instruction


def parse(body: bytes) -> Element:
    """The root. Raises Invalid, naming line and column."""
    root = Element(("", ""))
    open_elements, prefixes = [root], dict[str, str]()
    made = safe.parser()

    def start(full: str, attributes: list[str]) -> None:
        namespace, name, _ = safe.split_name(full)
        above = open_elements[-1]
        if len(open_elements) > safe.MAX_DEPTH:
            safe.refuse(made, "xml-too-deep", f"nesting is deeper than {safe.MAX_DEPTH} elements")
        place = f"line {made.CurrentLineNumber}, column {made.CurrentColumnNumber + 1}"
        scope = {**above.scope, **prefixes} if prefixes else above.scope
        if len(scope) > MAX_PREFIXES:
            safe.refuse(
                made, "xml-too-many-namespaces", f"more than {MAX_PREFIXES} namespace prefixes are known"
            )
        element = Element((namespace, name), scope=scope, place=place)
        prefixes.clear()
        for at in range(0, len(attributes), 2):
            element.attributes[safe.split_name(attributes[at])[:2]] = attributes[at + 1]
        above.children.append(element)
        open_elements.append(element)

    def declare(prefix: str | None, uri: str | None) -> None:
        prefixes[prefix or ""] = uri or ""

    def text(data: str) -> None:
        open_elements[-1].children.append(Text(data))

    made.StartElementHandler = start
    made.EndElementHandler = lambda full: merge(open_elements.pop())
    made.CharacterDataHandler = text
    made.CommentHandler = lambda data: open_elements[-1].children.append(Comment(data))
    made.ProcessingInstructionHandler = lambda target, data: open_elements[-1].children.append(
        Instruction(target, data)
    )
    made.StartNamespaceDeclHandler = declare
    safe.run(made, body[3:] if body.startswith(b"\xef\xbb\xbf") else body)
    for child in root.children:
        if isinstance(child, Element):
            return child
    raise Invalid("xml-empty", "line 1, column 1: there is no element")


def merge(element: Element) -> None:
    """Neighbouring runs of text become one, empty ones go."""
    merged: list[Child] = []
    for child in element.children:
        if isinstance(child, Text):
            if not child.text:
                continue
            if merged and isinstance(last := merged[-1], Text):
                last.text += child.text
                continue
        merged.append(child)
    element.children = merged


def copy(node: Child) -> Child:
    """A deep copy."""
    match node:
        case Element():
            return Element(
                node.name,
                dict(node.attributes),
                [copy(child) for child in node.children],
                node.scope,
                dict(node.declared),
            )
        case Text():
            return Text(node.text)
        case Comment():
            return Comment(node.text)
        case Instruction():
            return Instruction(node.target, node.text)


def dump(root: Element) -> bytes:
    """Its XML in UTF-8, namespaces declared where they change. Raises Invalid for a comment or instruction
    that cannot be written."""
    out: list[str] = []
    _write(root, "", out)
    return "".join(out).encode("utf-8")


def _write(node: Child, namespace: str, out: list[str]) -> None:
    match node:
        case Text():
            out.append(escape(node.text, {"\r": "&#13;"}))
        case Comment():
            out.append(f"<!--{node.text}-->")
        case Instruction():
            out.append(f"<?{node.target} {node.text}?>")
        case Element():
            _write_element(node, namespace, out)


def _write_element(node: Element, namespace: str, out: list[str]) -> None:
    own, name = node.name
    out.append(f"<{name}")
    if own != namespace:
        out.append(f" xmlns={quoteattr(own)}")
    for prefix, uri in node.declared.items():
        out.append(f" xmlns:{prefix}={quoteattr(uri)}")
    for number, ((of, attribute), value) in enumerate(node.attributes.items()):
        written = quoteattr(value, {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"})
        if of == XML:
            out.append(f" xml:{attribute}={written}")
        elif of:
            out.append(f" xmlns:n{number}={quoteattr(of)} n{number}:{attribute}={written}")
        else:
            out.append(f" {attribute}={written}")
    out.append(">")
    for child in node.children:
        _write(child, own, out)
    out.append(f"</{name}>")
