from __future__ import annotations

import gzip
import json
import sys
import tarfile
from pathlib import Path

from tests.profiles.fr_core import FILE

with tarfile.open(Path(sys.argv[1])) as package:
    found = {}
    for name in sorted(package.getnames()):
        file = package.extractfile(name) if name.startswith("package/example/") else None
        if file is not None and name.endswith(".json"):
            found[Path(name).stem] = json.load(file)
FILE.write_bytes(gzip.compress(json.dumps(found, ensure_ascii=False).encode(), 9, mtime=0))
