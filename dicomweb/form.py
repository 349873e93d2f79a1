"""multipart/form-data as it arrives: small fields kept, files streamed to the spool. RFC 7578"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import anyio.to_thread
from starlette.requests import Request

from dicomweb.files import SLOW_SPOOL, DicomFiles
from dicomweb.multipart import Data, End, Head, Reader, boundary_of, content_type
from dicomweb.stow import Spooled
from profiles.outcomes import Invalid, TooLarge

MOST_FIELDS = 20
MOST_FILES = 100
MOST_TEXT = 2000  # bytes of a field
MOST_BYTES = 4_000_000_000  # of a whole form


@dataclass(slots=True)
class Form:
    """What was sent; `files` are those of the field `file` that are not empty, in their order."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


@asynccontextmanager
async def received(request: Request, files: DicomFiles) -> AsyncIterator[Form]:
    """The form; its files are gone at the end. Raises Invalid, TooLarge."""
    media, parameters = content_type(request.headers.get("content-type", ""))
    if media != "multipart/form-data":
        raise Invalid("bad-form", "a form with files is needed")
    intake = _Intake(files)
    try:
        reader = Reader(boundary_of(parameters))
        async for chunk in request.stream():
            for event in reader.feed(chunk):
                await intake.take(event)
        reader.finish()
        yield intake.form
    finally:
        intake.drop()


class _Intake:
    def __init__(self, files: DicomFiles) -> None:
        self.form = Form()
        self._files, self._size = files, 0
        self._name, self._text = "", bytearray()
        self._file: Spooled | None = None

    async def take(self, event: Head | Data | End) -> None:
        if isinstance(event, Head):
            await self._begin(event)
        elif isinstance(event, Data):
            self._size += len(event.content)
            if self._size > MOST_BYTES:
                raise TooLarge("too-large", f"at most {MOST_BYTES // 10**6} MB together")
            if self._file is not None:
                await self._file.write(event.content)
            else:
                self._text += event.content
                if len(self._text) > MOST_TEXT:
                    raise Invalid("bad-form", "a field is too long")
        else:
            await self._end()

    async def _begin(self, head: Head) -> None:
        _kind, parameters = content_type(head.fields.get("content-disposition", ""))
        self._name, self._text = parameters.get("name", ""), bytearray()
        if "filename" in parameters and self._name == "file":
            self._files.room()
            if len(self.form.files) >= MOST_FILES:
                raise TooLarge("too-many", f"at most {MOST_FILES} files")
            path = self._files.spool / f"{SLOW_SPOOL}{uuid4().hex}"
            self._file = Spooled(path)
            self.form.files.append(path)

    async def _end(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            await anyio.to_thread.run_sync(file.close)
            if not file.size:
                file.drop()
                self.form.files.remove(file.path)
        elif len(self.form.fields) < MOST_FIELDS:
            self.form.fields[self._name] = self._text.decode("utf-8", "replace").strip()

    def drop(self) -> None:
        if self._file is not None:
            self._file.drop()
        for path in self.form.files:
            path.unlink(missing_ok=True)
