"""Whether every indexed instance still has the bytes that were acknowledged. One line per finding; UIDs name
instances, nothing names a patient."""

from __future__ import annotations

from collections.abc import Iterator

from dicomweb.files import DicomFiles, sha256_of
from dicomweb.index.contract import Index, Query

PAGE = 500


def findings(index: Index, files: DicomFiles) -> Iterator[str]:
    """Everything wrong in the stored instances; reads every file, in bounded memory."""
    offset = 0
    while studies := index.find(Query("study", limit=PAGE, offset=offset)):
        for study in studies:
            for file in index.files(study.study):
                path = files.path(file.path)
                if not path.exists():
                    yield f"instance {file.uid}: its file is missing"
                elif path.stat().st_size != file.size or sha256_of(path) != file.sha256:
                    yield f"instance {file.uid}: its file is not what was acknowledged"
        offset += PAGE


def notes(index: Index, files: DicomFiles) -> Iterator[str]:
    """What a person has to judge: another content that came under the UID of a stored instance. Nothing is
    wrong: the first is served, the other is kept."""
    for uid in index.conflicted():
        for other in index.conflicts(uid):
            yield f"instance {uid}: another content came, kept as {files.path(other.path)}"
