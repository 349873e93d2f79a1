"""`python -m simulators.pacs --ae AUCH --port 11200 --folder var/pacs/auch`: becomes an Orthanc that speaks
DICOM alone, on loopback, and knows the platform as the destination of its C-MOVE."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import click


@click.command()
@click.option("--ae", required=True, help="Its AE title.")
@click.option("--port", type=click.IntRange(1, 65535), required=True)
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--platform", default="TELEDOSSIER@127.0.0.1:11112", show_default=True)
def main(ae: str, port: int, folder: Path, platform: str) -> None:
    """Run a PACS until it is stopped."""
    program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
    if not Path(program).exists():
        raise click.ClickException("Orthanc is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration(ae, port, folder, platform), indent=1), "utf-8")
    os.execv(program, [program, "--logfile=" + str(folder / "orthanc.log"), str(path)])  # noqa: S606


def configuration(ae: str, port: int, folder: Path, platform: str) -> dict[str, Any]:
    """Whoever reaches the port may ask and store: it listens for the demonstration alone, and holds only
    fiction. Orthanc has no setting for the address its DICOM port listens on."""
    title, _, address = platform.partition("@")
    host, _, destination = address.rpartition(":")
    always = {f"DicomAlwaysAllow{service}": True for service in ("Echo", "Find", "Get", "Move", "Store")}
    return {
        "Name": ae,
        "StorageDirectory": str((folder / "files").absolute()),
        "IndexDirectory": str((folder / "files").absolute()),
        "HttpServerEnabled": False,
        "Plugins": [],
        "DicomAet": ae,
        "DicomPort": port,
        "DicomCheckCalledAet": True,
        "DicomCheckModalityHost": False,
        "OverwriteInstances": True,  # a corrected instance takes the place of the first
        **always,
        "DicomModalities": {"platform": [title, host, int(destination)]},
        "ConcurrentJobs": 2,
    }


if __name__ == "__main__":
    main()
