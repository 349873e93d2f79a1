"""XML Patch: add, replace and remove on the XML form of a resource; all or nothing.

RFC 5261; FHIR R4 http.html#patch
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn

from profiles import xml
from profiles.outcomes import Invalid, NotAcceptable, Unprocessable
from profiles.patch import selectors
from profiles.patch.selectors import Attribute, Declaration, Found, Path, Selection
from profiles.xml import tree
from profiles.xml.tree import Child, Element, Text

Json = dict[str, Any]
MAX_OPERATIONS = 1000
_PREFIX = re.compile(r"[^\W\d][\w.-]*")
_PLACE = re.compile(r"^line \d+, column \d+: ")
_BLANK = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `place` is where it stands in the patch, `content` what it adds or puts in place.
    `type` is an add's `@name` or `namespace::prefix`, `position` its `pos`, `space` a remove's `ws`."""

    place: str
    op: str
    path: Path
    content: tuple[Child, ...] = ()
    type: str = ""
    position: str = ""
    space: str = ""
    scope: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The characters of its content."""
        return "".join(child.text for child in self.content if isinstance(child, Text))


@dataclass(frozen=True, slots=True)
class XmlPatch:
    """The operations in order."""

    operations: tuple[Operation, ...]

    def apply(self, document: Json) -> Json:
        """A patched copy of a resource, narratives that the patch does not touch as they were. Raises
        Unprocessable."""
        try:
            before = xml.dump(document)
        except NotAcceptable as error:
            raise Unprocessable("patch-failed", f"the resource has no XML form: {error}") from error
        try:
            after = xml.parse(tree.dump(self.change(tree.parse(before))))
        except Invalid as error:
            why = _PLACE.sub("", str(error))
            raise Unprocessable("patch-failed", f"what the patch makes is no FHIR: {why}") from error
        restored: Json = _restored(after, _narratives(document))
        return restored

    def change(self, root: Element) -> Element:
        """The document as changed by all operations, in place. Raises Unprocessable."""
        selection = Selection(root)
        for operation in self.operations:
            found = selection.find(operation.path)
            if len(found) != 1:
                _fail(
                    operation,
                    f"the selector finds {'nothing' if not found else 'several nodes'}; one is meant",
                )
            replaced = _DO[operation.op](operation, *found[0])
            if replaced is not None:
                selection.root = replaced
        return selection.root


def read(body: bytes) -> XmlPatch:
    """From the body of a request. Raises Invalid, with line and column."""
    return of(tree.parse(body))


def of(root: Element) -> XmlPatch:
    """From a parsed document; its root is `diff` in whatever namespace. Raises Invalid for what is no
    patch."""
    if root.name[1] not in ("diff", "patch"):
        raise Invalid("bad-patch", f"{root.place}: the root of an XML Patch is diff")
    elements = [child for child in root.children if isinstance(child, Element)]
    if not elements:
        raise Invalid("bad-patch", f"{root.place}: the XML Patch has no operations")
    if len(elements) > MAX_OPERATIONS:
        raise Invalid("bad-patch", f"a patch has at most {MAX_OPERATIONS} operations")
    return XmlPatch(tuple(_operation(element) for element in elements))


def _operation(element: Element) -> Operation:
    op = element.name[1]
    if op not in _DO:
        _malformed(element, f"an operation is one of {', '.join(_DO)}")
    given = {name: value for (_, name), value in element.attributes.items()}
    sel = given.get("sel", "")
    if not sel.strip():
        _malformed(element, f"a {op} has a selector, sel")
    for name, allowed in (("pos", ("before", "after", "prepend")), ("ws", ("before", "after", "both"))):
        if given.get(name, allowed[0]) not in allowed:
            _malformed(element, f"{name} is one of {', '.join(allowed)}")
    try:
        path = selectors.parse(sel, element.scope)
    except Invalid as error:
        _malformed(element, str(error))
    type = given.get("type", "")
    if type and not _PREFIX.fullmatch(type.removeprefix("namespace::").removeprefix("@").replace(":", "", 1)):
        _malformed(element, "type is @name or namespace::prefix")
    if type and not type.startswith(("@", "namespace::")):
        _malformed(element, "type is @name or namespace::prefix")
    return Operation(
        element.place,
        op,
        path,
        tuple(element.children),
        type,
        given.get("pos", ""),
        given.get("ws", ""),
        element.scope,
    )


def _malformed(element: Element, why: str) -> NoReturn:
    raise Invalid("bad-patch", f"{element.place}: {why}")


def _add(operation: Operation, at: Found, above: Element | None) -> None:
    if operation.type:
        _add_named(operation, at)
        return
    content = [tree.copy(child) for child in operation.content]
    if operation.position in ("before", "after"):
        if above is None or isinstance(at, Attribute | Declaration):
            _fail(operation, "nothing stands beside the root, an attribute or a namespace")
        parent, index = above, _index(above, at) + (operation.position == "after")
    elif isinstance(at, Element):
        parent, index = at, 0 if operation.position == "prepend" else len(at.children)
    else:
        _fail(operation, "the selector finds no element to add to")
    parent.children[index:index] = content
    tree.merge(parent)


def _add_named(operation: Operation, at: Found) -> None:
    """An attribute or a namespace declaration. RFC 5261 §4.3"""
    if not isinstance(at, Element):
        _fail(operation, "the selector finds no element to add to")
    if operation.type.startswith("@"):
        prefix, colon, local = operation.type[1:].rpartition(":")
        scope = {**selectors.PREFIXES, **operation.scope}
        if prefix not in scope:
            _fail(operation, f"the prefix {prefix[:64]!r} is not declared")
        name = (scope[prefix] if colon else "", local)
        if name in at.attributes:
            _fail(operation, "the attribute is there already")
        at.attributes[name] = operation.text
        return
    prefix = operation.type.removeprefix("namespace::")
    if prefix in at.declared:
        _fail(operation, "the namespace prefix is there already")
    at.declared[prefix] = operation.text


def _replace(operation: Operation, at: Found, above: Element | None) -> Element | None:
    """The new root, where that is what was replaced."""
    match at:
        case Attribute():
            at.owner.attributes[at.name] = operation.text
        case Declaration():
            at.owner.declared[at.prefix] = operation.text
        case Text():
            at.text = operation.text
            assert above is not None  # text stands in an element
            tree.merge(above)
        case _:
            new = tree.copy(_one(operation, type(at)))
            if above is not None:
                above.children[_index(above, at)] = new
            elif isinstance(new, Element):
                return new
    return None


def _one(operation: Operation, kind: type[Child]) -> Child:
    """The one node of that kind that the operation holds, beside white space. RFC 5261 §4.4"""
    content = [c for c in operation.content if not (isinstance(c, Text) and not c.text.strip(_BLANK))]
    if len(content) != 1 or not isinstance(content[0], kind):
        _fail(operation, f"one node of the kind that it replaces is expected ({kind.__name__.lower()})")
    return content[0]


def _remove(operation: Operation, at: Found, above: Element | None) -> None:
    match at:
        case Attribute():
            del at.owner.attributes[at.name]
        case Declaration():
            del at.owner.declared[at.prefix]
        case _:
            if above is None:
                _fail(operation, "the root cannot be removed")
            index = _index(above, at)
            del above.children[index]
            if operation.space in ("after", "both"):
                _remove_space(operation, above, index)
            if operation.space in ("before", "both"):
                _remove_space(operation, above, index - 1)
            tree.merge(above)


def _remove_space(operation: Operation, parent: Element, index: int) -> None:
    node = parent.children[index] if 0 <= index < len(parent.children) else None
    if not isinstance(node, Text) or node.text.strip(_BLANK):
        _fail(operation, "no white space stands where ws says")
    del parent.children[index]


def _index(parent: Element, node: Child) -> int:
    return next(place for place, child in enumerate(parent.children) if child is node)


def _fail(operation: Operation, why: str) -> NoReturn:
    raise Unprocessable("patch-failed", f"{operation.op} ({operation.place}): {why}")


_DO: Mapping[str, Callable[[Operation, Found, Element | None], Element | None]] = MappingProxyType(
    {"add": _add, "replace": _replace, "remove": _remove}
)


def _narratives(document: Json) -> dict[str, str]:
    """How each narrative looks once it has been through the tree → as it was written."""
    found: dict[str, str] = {}
    for div in _divs(document):
        trip = {"resourceType": "Basic", "text": {"div": div}}
        again = xml.parse(tree.dump(tree.parse(xml.dump(trip))))
        found[again["text"]["div"]] = div
    return found


def _divs(node: Any) -> list[str]:
    if isinstance(node, list):
        return [div for item in node for div in _divs(item)]
    if not isinstance(node, dict):
        return []
    own = [value for name, value in node.items() if name == "div" and isinstance(value, str)]
    return own + [div for value in node.values() for div in _divs(value)]


def _restored(node: Any, written: Mapping[str, str]) -> Any:
    if isinstance(node, list):
        return [_restored(item, written) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        name: written.get(value, value)
        if name == "div" and isinstance(value, str)
        else _restored(value, written)
        for name, value in node.items()
    }
