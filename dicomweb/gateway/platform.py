"""The gateway's only way out: HTTPS requests to the platform, with the token of its own client.

The server's certificate is always verified, redirects are not followed, no proxy or credential is read from
the environment. The token is asked for by client_credentials (private_key_jwt or a secret), renewed before it
ends, and thrown away when the platform refuses it.
RFC 6749 §4.4; RFC 7523 §2.2; SMART App Launch 2.2 backend-services.html
"""

from __future__ import annotations

import base64
import json
import logging
import re
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from dicomweb.gateway.settings import GatewaySettings
from dicomweb.peers.session import Denied, Incapable, PeerError, Unreachable

log = logging.getLogger(__name__)

TOKEN = "/oauth/token"  # noqa: S105 - an address
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
EARLY = 60.0  # seconds before its end that a token is renewed
_CODE = re.compile(r"[a-z0-9-]{1,40}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,20000}=*")  # RFC 6750 §2.1
CLOCK_SECONDS = 30.0  # our clock and the platform's differ by as much without anybody minding
MOST_ANSWER = 4_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]

    def json(self) -> Any:
        """None when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Platform:
    """One platform, one client. Any thread; each request raises Unreachable (to be tried again) or Denied
    (our credentials or rights); other statuses are the caller's to judge."""

    def __init__(self, settings: GatewaySettings) -> None:
        for name in ("httpx", "httpcore"):  # they log addresses
            logging.getLogger(name).setLevel(logging.WARNING)
        self._settings = settings
        self._http = httpx.Client(
            verify=context(settings), timeout=TIMEOUT, follow_redirects=False, trust_env=False
        )
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0
        self._ahead = 0.0  # seconds that the platform's clock is ahead of ours, where that matters

    def close(self) -> None:
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """`path` from the root, such as `/dicom-web/studies`; `timeout`: seconds to wait for the answer where
        it is meant to take longer. Raises PeerError."""
        token = self.token()
        sent = {"Authorization": f"Bearer {token}", "Accept": "application/json", **(headers or {})}
        limits = httpx.Timeout(timeout, connect=10.0) if timeout else TIMEOUT
        try:
            answer = self._send(method, path, content, sent, limits)
        except Unreachable:
            # A refusal of the token may be lost when the body is still on its way: take a new one next time.
            self.forget(token)
            raise
        return self._judged(answer, token)

    def _send(
        self,
        method: str,
        path: str,
        content: bytes | Iterable[bytes] | None,
        headers: Mapping[str, str],
        timeout: httpx.Timeout,
    ) -> Answer:
        with (
            _told(),
            self._http.stream(
                method, self._settings.url + path, content=content, headers=dict(headers), timeout=timeout
            ) as answer,
        ):
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > MOST_ANSWER:
                    raise Unreachable("bad-answer", "the answer is too long")
            return Answer(answer.status_code, bytes(body), answer.headers)

    def download(self, path: str, start: int, take: Callable[[bytes], None]) -> Answer:
        """What is at a path from the byte `start` on, piece by piece to `take`; the answer's body is empty.
        Raises PeerError, and whatever `take` raises. RFC 9110 §14.2"""
        token = self.token()
        headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with _told(), self._http.stream("GET", self._settings.url + path, headers=headers) as answer:
            found = self._judged(Answer(answer.status_code, b"", answer.headers), token)
            if found.status == 200 and start:
                raise Unreachable("bad-answer", "the platform gave the whole for a part")
            if found.status in (200, 206):
                for chunk in answer.iter_raw():
                    take(chunk)
        return found

    def _judged(self, answer: Answer, token: str) -> Answer:
        if answer.status == 401:
            self.forget(token)
            raise Unreachable("token-refused", "the platform refused the token; a new one is asked for")
        if answer.status == 403:
            raise Denied(_slug(answer), "the platform does not let this gateway do that")
        if answer.status >= 500 or answer.status in (408, 425, 429):
            raise Failing(answer)
        return answer

    # -- the token ---------------------------------------------------------------------------------
    def token(self) -> str:
        """A token that is still good for a while. Raises PeerError."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._token, lifetime = self._ask()
                self._until = time.monotonic() + max(lifetime - EARLY, lifetime / 2)
            return self._token

    def forget(self, token: str) -> None:
        with self._lock:
            if token == self._token:
                self._until = 0.0

    def _ask(self) -> tuple[str, float]:
        form, headers = {"grant_type": "client_credentials"}, {"Accept": "application/json"}
        if self._settings.key_file:
            form |= {"client_assertion_type": ASSERTION, "client_assertion": self._assertion()}
        else:
            headers["Authorization"] = self._basic()
        content = urlencode(form).encode()
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        answer = self._send("POST", TOKEN, content, headers, TIMEOUT)
        clock_is_wrong = self._look_at_clock(answer)
        if answer.status >= 500 or answer.status == 429:
            raise Unreachable("peer-failing", f"the platform answered {answer.status}")
        if answer.status != 200:
            slug = "clock-wrong" if clock_is_wrong and self._settings.key_file else "access-refused"
            raise Denied(slug, f"the token endpoint answered {answer.status}")
        return _token_of(answer)

    def _look_at_clock(self, answer: Answer) -> bool:
        """The platform judges an assertion by its own clock: where ours is wrong, the next is dated by it.
        Whether they differ. RFC 9110 §6.6.1 (Date); RFC 7523 §3"""
        try:
            ahead = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return False
        differs = abs(ahead) > CLOCK_SECONDS
        if differs and abs(ahead - self._ahead) > CLOCK_SECONDS:
            log.error("this machine's clock is %.0f s behind the platform's", ahead)
        self._ahead = ahead if differs else 0.0
        return differs

    def _basic(self) -> str:
        """RFC 6749 §2.3.1. Raises Incapable."""
        secret = _read(Path(self._settings.secret_file)).strip()
        if not secret:
            raise Incapable("bad-key", "the secret file is empty")
        told = f"{self._settings.client}:{secret}".encode()
        return "Basic " + base64.b64encode(told).decode()

    def _assertion(self) -> str:
        from joserfc import jwt

        key, algorithm = signing_key(Path(self._settings.key_file))
        at = int(time.time() + self._ahead)
        header = {"alg": algorithm, "typ": "JWT", "kid": key.kid}
        claims = {
            "iss": self._settings.client, "sub": self._settings.client, "aud": self._settings.url + TOKEN,
            "iat": at, "exp": at + 240, "jti": secrets.token_urlsafe(24),
        }  # fmt: skip
        return jwt.encode(header, claims, key, algorithms=[algorithm])


def _token_of(answer: Answer) -> tuple[str, float]:
    """The token and its lifetime in seconds. Raises Unreachable."""
    told = answer.json()
    token = told.get("access_token") if isinstance(told, dict) else None
    lifetime = told.get("expires_in", 300) if isinstance(told, dict) else None
    if (
        not isinstance(token, str)
        or not _TOKEN.fullmatch(token)
        or isinstance(lifetime, bool)
        or not isinstance(lifetime, int | float)
        or not 0 < lifetime < 1e9
    ):
        raise Unreachable("bad-answer", "the token endpoint's answer is no token")
    return token, float(lifetime)


def _read(path: Path) -> str:
    """A file of ours that may change while we run. Raises Incapable."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Incapable("bad-key", f"{path} cannot be read") from error


def _slug(answer: Answer) -> str:
    """The platform's own word for why it refuses, when it gives one."""
    told = answer.json()
    code = told.get("code") if isinstance(told, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "not-allowed"


class Failing(Unreachable):
    """The platform answered, and cannot now; what it said of single instances is worth reading."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("peer-failing", f"the platform answered {answer.status}")
        self.answer = answer


def context(settings: GatewaySettings) -> ssl.SSLContext:
    """TLS 1.2 or later, certificate and name checked. RFC 9325"""
    made = ssl.create_default_context(cafile=settings.ca_file or None)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def signing_key(path: Path) -> tuple[Any, str]:
    """The private key (a JWK, or PEM) and its algorithm. Raises Incapable."""
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, RSAKey

    text = _read(path)
    try:
        if text.lstrip().startswith("{"):
            raw = json.loads(text)
            kind = RSAKey if raw.get("kty") == "RSA" else ECKey
            key = kind.import_key(raw)
        else:
            try:
                key = ECKey.import_key(text)
            except (JoseError, ValueError):
                key = RSAKey.import_key(text)
        if not key.is_private:
            raise ValueError("not private")
        if not key.kid:
            key.ensure_kid()
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise Incapable("bad-key", "the key file holds no private RSA or P-384 key") from error
    return key, "RS384" if key.key_type == "RSA" else "ES384"


@contextmanager
def _told() -> Iterator[None]:
    """The HTTP library's errors in our words."""
    try:
        yield
    except PeerError:
        raise
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise Unreachable("no-connection", type(error).__name__) from error
