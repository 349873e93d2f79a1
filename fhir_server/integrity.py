"""Whether what is stored is whole: every current resource readable and named as it is filed, every
attachment's bytes those that were acknowledged. One line per finding, without patient data."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from fhir_server.interactions.content import content_of
from fhir_server.store.contract import Store, Version
from fhir_server.store.files import Files
from profiles import codec
from profiles.outcomes import TeledossierError


async def findings(store: Store, files: Files) -> AsyncIterator[str]:
    """Everything wrong in the store and its attachments; reads all of it, in bounded memory."""
    for line in await store.integrity():
        yield f"store: {line}"
    async for version in store.scan():
        problem = _of_body(version)
        if problem:
            yield f"{version.type}/{version.id}: {problem}"
        elif version.type == "Binary":
            async for line in _of_binary(version, files):
                yield f"Binary/{version.id}: {line}"


def _of_body(version: Version) -> str:
    if version.body is None:
        return "the current version has no body"
    try:
        resource = codec.parse(version.body)
    except TeledossierError as error:
        return f"cannot be read: {error}"
    named = (resource.get("resourceType"), resource.get("id"), resource.get("meta", {}).get("versionId"))
    filed = (version.type, version.id, str(version.version))
    return "" if named == filed else "its type, id or version is not what it is filed under"


async def _of_binary(version: Version, files: Files) -> AsyncIterator[str]:
    content = content_of(codec.parse(version.body or b"{}"))
    if not content.sha256:
        return
    if not files.exists(content.sha256):
        yield "its file is missing"
        return
    digest = hashlib.sha256()
    try:
        async for chunk in files.read(content.sha256):
            digest.update(chunk)
    except OSError:
        yield "its file cannot be read"
        return
    if digest.hexdigest() != content.sha256:
        yield "its file is not what was acknowledged"
