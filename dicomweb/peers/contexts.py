"""What is proposed to a peer by DIMSE: presentation contexts for what it is to send us and for what it gets.
PS3.8 §7.1.1.13"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pynetdicom import build_context, build_role
from pynetdicom.presentation import PresentationContext, StoragePresentationContexts
from pynetdicom.sop_class import (  # type: ignore[attr-defined,unused-ignore]
    StudyRootQueryRetrieveInformationModelGet as GET,
)

from dicomweb.syntaxes import EXPLICIT_LITTLE, IMPLICIT_LITTLE, MESSAGES

# What we take by C-GET, each its own presentation context so that the peer need not convert. PS3.5 §10
TAKEN = (
    EXPLICIT_LITTLE, IMPLICIT_LITTLE, "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.57",
)  # fmt: skip
MOST_CONTEXTS = 127  # one is left for the query's own


def receiving(classes: set[str]) -> tuple[list[PresentationContext], list[Any]]:
    """Contexts for C-GET with us as SCP of storage: each class in each transfer syntax where there is
    room; else the usual classes uncompressed."""
    known = sorted(one for one in classes if one)
    if known and "" not in classes and len(known) * len(TAKEN) <= MOST_CONTEXTS:
        contexts = [build_context(name, syntax) for name in known for syntax in TAKEN]
    else:
        usual = [str(one.abstract_syntax) for one in StoragePresentationContexts]
        names = list(dict.fromkeys([*known, *usual]))[: MOST_CONTEXTS - 1]
        contexts = [build_context(name, [EXPLICIT_LITTLE, IMPLICIT_LITTLE]) for name in names]
    roles = [
        build_role(name, scp_role=True)
        for name in dict.fromkeys(str(one.abstract_syntax) for one in contexts)
    ]
    return [build_context(GET, list(MESSAGES)), *contexts], roles


def sending(pairs: Sequence[tuple[str, str]]) -> list[PresentationContext]:
    """Each transfer syntax by itself, so that the peer cannot choose another than the file's."""
    with_plain = [(name, plain) for name, _ in pairs for plain in (EXPLICIT_LITTLE, IMPLICIT_LITTLE)]
    wanted = list(dict.fromkeys([*pairs[-1:], *with_plain[-2:], *pairs]))[: MOST_CONTEXTS + 1]
    return [build_context(name, syntax) for name, syntax in wanted]
