"""OHIF's static build (MIT): fetched once by npm, kept outside the repository, served as a site of its own.

TELEDOSSIER_TEST_OHIF names a folder that has the build already (its index.html). Otherwise the package of
exactly VERSION is fetched into the user's cache; what npm brings is used only when its SHA-512 is the one
below.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VERSION = "3.12.10"
SHA512 = "0kuF66Mq9c9dMD++bUsTjMrJpXJwaZhz9B4uS244DawAjSkTwIYFU93pxPuRUQixaRi7QAHlF3Fe1qudBlZrmA=="
NAME = f"ohif-app-{VERSION}"


class NotFetched(Exception):
    """The build is not to be had on this machine; the text says why."""


def build() -> Path:
    """The folder with index.html. Raises NotFetched."""
    given = os.environ.get("TELEDOSSIER_TEST_OHIF", "")
    if given:
        if not (Path(given) / "index.html").is_file():
            raise NotFetched("TELEDOSSIER_TEST_OHIF names no folder with OHIF's index.html")
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "teledossier"
    built = cache / NAME
    if not (built / "index.html").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as made:
            unpacked = _unpacked(Path(made))
            try:
                unpacked.rename(built)
            except OSError:  # another run was faster
                if not (built / "index.html").is_file():
                    raise
    return built


def _unpacked(folder: Path) -> Path:
    """The build as npm's archive has it, its content checked. Raises NotFetched."""
    npm = shutil.which("npm")
    if npm is None:
        raise NotFetched("npm is not installed: OHIF's static build cannot be fetched")
    command = [npm, "pack", f"@ohif/app@{VERSION}", "--pack-destination", str(folder), "--silent"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)
    except subprocess.TimeoutExpired:
        raise NotFetched("OHIF's static build was not fetched in 280 s") from None
    archive = folder / f"{NAME}.tgz"
    if done.returncode != 0 or not archive.is_file():
        raise NotFetched(f"OHIF's static build cannot be fetched: {done.stderr.strip()[-300:]}")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != SHA512:
        raise NotFetched("what npm brought is not the build that these tests were written for")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / "package" / "dist"


def configuration(base: str) -> dict[str, Any]:
    """OHIF's app-config.js for a DICOMweb address; docs/viewers.md gives the same to its readers."""
    return {
        "routerBasename": "/", "extensions": [], "modes": [], "showStudyList": True,
        "showWarningMessageForCrossOrigin": False, "showCPUFallbackMessage": False,
        "showLoadingIndicator": True, "strictZSpacingForVolumeViewport": True,
        "investigationalUseDialog": {"option": "never"}, "defaultDataSourceName": "teledossier",
        "dataSources": [{
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb", "sourceName": "teledossier",
            "configuration": {
                "friendlyName": "Teledossier", "name": "teledossier", "qidoRoot": base, "wadoRoot": base,
                "wadoUriRoot": f"{base}/wado", "qidoSupportsIncludeField": True, "supportsReject": False,
                "supportsStow": True, "imageRendering": "wadors", "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True, "supportsFuzzyMatching": True, "supportsWildcard": True,
                "omitQuotationForMultipartRequest": True, "bulkDataURI": {"enabled": True},
            },
        }],
    }  # fmt: skip


@contextmanager
def site(folder: Path, config: Callable[[], dict[str, Any]]) -> Iterator[str]:
    """The build as a site on a free port; any address that is no file is its one page. Cross-origin isolated,
    as OHIF asks for its shared memory."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, directory=str(folder), **named)

        def log_message(self, *_arguments: Any) -> None:
            pass

        def end_headers(self) -> None:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "credentialless")
            super().end_headers()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/app-config.js":
                content = f"window.config = {json.dumps(config())};".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/javascript")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                return
            if not (folder / path.lstrip("/")).is_file():
                self.path = "/index.html"
            super().do_GET()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
