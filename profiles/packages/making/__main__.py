"""`python -m profiles.packages.making`: writes every definition of the guide into
`profiles/packages/teledossier`, one file each, and takes away those that no source names any more."""

from __future__ import annotations

from pathlib import Path

from profiles.packages.making.common import laid_out
from profiles.packages.making.guide import definitions


def main() -> None:
    folder = Path(__file__).parent.parent / "teledossier"
    made = {f"{one['resourceType']}-{one['id']}.json": laid_out(one) + "\n" for one in definitions()}
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    for file in folder.glob("*.json"):
        if file.name not in made:
            file.unlink()


if __name__ == "__main__":
    main()
