"""Every page as HTML: it parses, every control has a name for those who do not see it, ids are single,
nothing is inline. WCAG 2.2 1.3.1, 4.1.2
"""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from tests.portal.platform import platform

VOID = frozenset({"meta", "link", "input", "img", "br", "hr", "source", "path", "rect", "use"})
CONTROLS = frozenset({"select", "textarea", "input"})


class Markup(HTMLParser):
    """Collects what is wrong with a page in `faults`."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.labelled: set[str] = set()
        self.controls: list[str] = []
        self.pointed: list[str] = []
        self.headings = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self.open.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        self.faults += [f"inline {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "h1":
            self.headings += 1
        if tag == "script" and "src" not in given:
            self.faults.append("inline script")
        if tag == "label" and "for" in given:
            self.labelled.add(given["for"])
        self.pointed += given.get("aria-describedby", "").split() + given.get("aria-labelledby", "").split()
        if tag in CONTROLS and given.get("type") not in ("hidden", "submit"):
            named = "label" in self.open or "aria-label" in given
            if not named:
                self.controls.append(given.get("id", f"{tag} without id"))
        if tag == "img" and "alt" not in given:
            self.faults.append("img without alt")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")


def faults(text: str, *, headings: int = 1) -> list[str]:
    page = Markup()
    page.feed(text)
    page.close()
    found = page.faults + [f"{tag} stays open" for tag in page.open if tag not in ("p", "li")]
    found += [f"id {one} twice" for one in set(page.ids) if page.ids.count(one) > 1]
    found += [f"no label for {one}" for one in page.controls if one not in page.labelled]
    found += [f"{one} is pointed at and is not there" for one in page.pointed if one not in page.ids]
    return found + ([f"{page.headings} h1"] if page.headings != headings else [])


def test_the_check_finds_faults() -> None:
    wrong = '<h1>A</h1><b><i></b></i><input id="a"><img><p id="a" style="x" aria-describedby="z"></p>'
    assert set(faults(wrong)) >= {
        "inline style",
        "img without alt",
        "id a twice",
        "no label for a",
        "z is pointed at and is not there",
    }


async def test_every_page_is_sound(tmp_path: Path) -> None:
    async with platform(tmp_path) as here:
        sent, draft = await here.sent(), await here.draft()
        study = await here.exam(sent, tmp_path / "exam", series=1, images=2)
        async with here.as_("p08") as caller, here.as_("p05") as expert:
            seen = {
                address: await client.get(address)
                for client, address in [
                    (caller, "/dossiers"),
                    (caller, "/dossiers?vue=tous"),
                    (caller, "/dossiers/nouveau"),
                    (caller, f"/dossiers/{draft}/formulaire"),
                    (caller, f"/dossiers/{sent}"),
                    (caller, "/dossiers/unknown"),
                    (expert, f"/dossiers/{sent}?a"),
                    (expert, "/dossiers?vue=recus"),
                ]
            }
            refused = await caller.post(
                f"/dossiers/{draft}/formulaire", data={"action": "envoyer", "priorite": "routine"}
            )
            empty = await caller.post("/dossiers/nouveau", data={})
            viewer = await expert.get(f"/dossiers/{sent}/images/{study}")
        assert (refused.status_code, empty.status_code, viewer.status_code) == (422, 422, 200)
        assert [address for address, answer in seen.items() if answer.status_code != 200] == [
            "/dossiers/unknown"
        ]
        for name, answer in {**seen, "refused": refused, "empty": empty}.items():
            assert faults(answer.text) == [], name
        assert faults(viewer.text, headings=0) == []
