"""A peer by DICOMweb: QIDO-RS, WADO-RS and STOW-RS as a client, through dicomweb-client and its HTTP session.

What comes and goes is streamed between the socket and a file, one instance at a time. A redirect is not
followed: credentials go to the address that the operator gave and nowhere else. PS3.18 §10.4–10.6
"""

from __future__ import annotations

import logging
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import requests
from dicomweb_client.web import DICOMwebClient

from dicomweb import media, multipart
from dicomweb.media import DICOM, JSON
from dicomweb.peers.peer import Credentials, Peer
from dicomweb.peers.questions import RETURNED
from dicomweb.peers.session import (
    Attributes,
    Denied,
    Fetched,
    Incapable,
    Level,
    PeerError,
    Sendable,
    Taker,
    Unreachable,
    Wanted,
)
from dicomweb.reasons import Refused
from profiles.outcomes import Invalid

TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two bytes
PAGE = 500
MOST_ANSWER = 4_000_000  # bytes of an answer to STOW-RS that are read


@dataclass(frozen=True, slots=True)
class WebSession:
    """One peer; its connection is kept alive."""

    client: DICOMwebClient
    spool: Path

    @property
    def _http(self) -> requests.Session:
        session: requests.Session = self.client._session
        return session

    def close(self) -> None:
        self._http.close()

    def echo(self) -> None:
        """Whether a search of studies is answered. Raises PeerError."""
        with _told():
            self.client.search_for_studies(limit=1)

    def find(self, level: Level, keys: Mapping[str, str], most: int) -> list[Attributes]:
        """QIDO-RS, page by page. PS3.18 §10.6"""
        if level == "order":
            raise Denied("service-refused", "DICOMweb has no modality worklist")
        places = {"StudyInstanceUID": "study_instance_uid", "SeriesInstanceUID": "series_instance_uid"}
        search = {
            "study": self.client.search_for_studies,
            "series": self.client.search_for_series,
            "instance": self.client.search_for_instances,
        }[level]
        within = {places[name]: value for name, value in keys.items() if name in places and level != "study"}
        filters = {
            name: value for name, value in keys.items() if value and (level == "study" or name not in places)
        }
        found: list[Attributes] = []
        while len(found) < most:
            with _told():
                page = search(
                    **within, search_filters=filters, fields=RETURNED[level],
                    limit=min(PAGE, most - len(found)), offset=len(found),
                )  # fmt: skip
            known = {str(one.get("00080018", one.get("0020000D"))) for one in found} if found else set()
            fresh = [one for one in page if str(one.get("00080018", one.get("0020000D"))) not in known]
            found += fresh if level != "series" else page
            if len(page) < PAGE or not fresh:  # also a peer that knows no offset
                break
        return found

    def fetch(self, wanted: Sequence[Wanted], take: Taker) -> Iterator[Fetched]:
        """WADO-RS in the transfer syntax that the peer has stored. PS3.18 §10.4"""
        for one in wanted:
            yield self._fetch(one, take)

    def _fetch(self, one: Wanted, take: Taker) -> Fetched:
        address = f"{self.client.base_url}/studies/{one.study}/series/{one.series}/instances/{one.instance}"
        accept = {"Accept": f'multipart/related; type="{DICOM}"; transfer-syntax=*'}
        with (
            _told(),
            self._http.get(
                address, headers=accept, stream=True, timeout=TIMEOUT, allow_redirects=False
            ) as answer,
        ):
            if answer.status_code in (404, 410):
                return Fetched(one.instance, missing="not-given")
            _judge(answer)
            spooled = self._spooled(answer)
        try:
            take(spooled)
        except Refused as refused:
            return Fetched(one.instance, refused)
        finally:
            spooled.unlink(missing_ok=True)
        return Fetched(one.instance)

    def _spooled(self, answer: requests.Response) -> Path:
        """The one DICOM part of an answer, as a spool file. Raises Unreachable when it is cut off."""
        outer, parameters = multipart.content_type(answer.headers.get("Content-Type", ""))
        descriptor, name = tempfile.mkstemp(dir=self.spool, prefix="peer-")
        path = Path(name)
        try:
            with open(descriptor, "wb") as file:
                if outer == DICOM:
                    for chunk in answer.iter_content(1 << 18):
                        file.write(chunk)
                else:
                    _first_part(answer, multipart.Reader(multipart.boundary_of(parameters)), file)
        except Invalid as error:
            path.unlink(missing_ok=True)
            raise Unreachable("bad-answer", "the peer's answer is no whole multipart body") from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def send(self, one: Sendable) -> str:
        """STOW-RS of one file. PS3.18 §10.5"""
        boundary = secrets.token_hex(16)
        head = f"--{boundary}\r\nContent-Type: {DICOM}\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f'multipart/related; type="{DICOM}"; boundary={boundary}',
            "Content-Length": str(len(head) + one.path.stat().st_size + len(tail)),
            "Accept": JSON,
        }
        address = f"{self.client.base_url}/studies"
        with _told(), self._http.post(
            address, data=_Body(head, one.path, tail), headers=headers, timeout=TIMEOUT, stream=True,
            allow_redirects=False,
        ) as answer:  # fmt: skip
            if answer.status_code not in (200, 202, 409):
                _judge(answer)
            body = answer.raw.read(MOST_ANSWER, decode_content=True)
        _stored(body, one.instance, answer.status_code)
        return one.transfer_syntax


class _Plain(requests.Session):
    """Leaves in an address what RFC 3986 lets stand in a query: some servers compare `*` before they
    decode it, and none needs `+` for a space."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        address, mark, query = (request.url or "").partition("?")
        query = query.replace("%2A", "*").replace("%2C", ",").replace("+", "%20")
        request.url = address + mark + query
        return super().send(request, **options)


class _Body:
    """A multipart body of known length, read piece by piece."""

    def __init__(self, head: bytes, path: Path, tail: bytes) -> None:
        self._head, self._path, self._tail = head, path, tail
        self._length = len(head) + path.stat().st_size + len(tail)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        yield from media.pieces(self._path)
        yield self._tail


def _first_part(answer: requests.Response, reader: multipart.Reader, file: Any) -> None:
    parts = 0
    for chunk in answer.iter_content(1 << 18):
        for event in reader.feed(chunk):
            if isinstance(event, multipart.Head):
                parts += 1
            elif isinstance(event, multipart.Data) and parts == 1:
                file.write(event.content)
    reader.finish()
    if parts != 1:
        raise Invalid("bad-multipart", "one instance was asked for")


def _stored(body: bytes, instance: str, status: int) -> None:
    """Raises Incapable unless the answer says that the instance is stored. PS3.18 §10.5.3"""
    found: Any = {}
    with suppress(orjson.JSONDecodeError):
        found = orjson.loads(body)
    if isinstance(found, list):
        found = found[0] if found else {}
    stored = {_uid(one) for one in _items(found, "00081199")}
    if instance in stored:
        return
    failed = [one for one in _items(found, "00081198") if _uid(one) in (instance, "")]
    codes = [value for one in failed for value in one.get("00081197", {}).get("Value", ())]
    if any(isinstance(code, int) and code & 0xFF00 == 0xA700 for code in codes):
        raise Unreachable("out-of-resources", "the peer has no room")
    reason = f"{codes[0]:#06x}" if codes and isinstance(codes[0], int) else str(status)
    raise Incapable("refused-by-peer", f"the peer answered {reason}")


def _items(found: Any, tag: str) -> list[Mapping[str, Any]]:
    element = found.get(tag) if isinstance(found, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return [one for one in values or () if isinstance(one, dict)]


def _uid(item: Mapping[str, Any]) -> str:
    value = item.get("00081155", {}).get("Value", [""])
    return str(value[0]) if value else ""


def _judge(answer: requests.Response) -> None:
    code = answer.status_code
    if code in (401, 403):
        raise Denied("access-refused", f"the peer answered {code}")
    if code >= 500 or code in (408, 425, 429):
        raise Unreachable("peer-failing", f"the peer answered {code}")
    if not 200 <= code < 300:
        raise Incapable("refused-by-peer", f"the peer answered {code}")


@contextmanager
def _told() -> Iterator[None]:
    """The HTTP library's errors in our words."""
    try:
        yield
    except requests.HTTPError as error:
        if error.response is not None:
            _judge(error.response)
        raise PeerError("bad-answer", "an unusable answer") from error
    except (requests.RequestException, OSError) as error:
        raise Unreachable("no-connection", type(error).__name__) from error
    except ValueError as error:
        raise PeerError("bad-answer", "an answer that is no DICOM JSON") from error


def open_web(peer: Peer, credentials: Credentials, spool: Path) -> WebSession:
    """Nothing is sent yet."""
    for name in ("dicomweb_client", "urllib3"):  # they log addresses, and addresses carry search keys
        logging.getLogger(name).setLevel(logging.WARNING)
    session = _Plain()
    session.trust_env = False
    if authority := credentials.authority(peer):
        session.verify = str(authority)
    if client := credentials.client(peer):
        session.cert = str(client)
    if authorization := credentials.authorization(peer):
        session.headers["Authorization"] = authorization
    made = DICOMwebClient(peer.url, session=session, permissive_uid=True, timeout=TIMEOUT)
    made.set_http_retry_params(retry=False)
    return WebSession(made, spool)
