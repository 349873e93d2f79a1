"""Earlier exams found at other sites, as the télédossier's page shows them. Pure. R097"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from smart_launch.app import words
from smart_launch.app.views import transfers
from smart_launch.app.views.reading import Json, many


@dataclass(frozen=True, slots=True)
class FoundPrior:
    """One that waits for a person. `why`: by what it is the patient's; `certain`: by a number, not by
    traits."""

    study: str
    title: str
    detail: str
    why: str
    certain: bool


@dataclass(frozen=True, slots=True)
class Priors:
    """`note` says what is still being asked, `silent` which sites did not answer."""

    found: list[FoundPrior] = field(default_factory=list)
    note: str = ""
    silent: str = ""


def priors(said: Json, names: Mapping[str, str], here: Collection[str]) -> Priors:
    """`said` as `/dicom-web/requests/…/priors` has it; `names` of the peers; `here`: study UIDs that are in
    the télédossier."""
    found = [
        _found(one, names)
        for one in many(said, "priors")
        if one.get("state") == "proposed" and str(one.get("study")) not in here
    ]
    searches = many(said, "searches")
    asked = [one for one in searches if one.get("state") == "waiting" and not one.get("attempts")]
    silent = [one for one in searches if one.get("state") == "failed" or one.get("attempts")]
    silent = [one for one in silent if one.get("state") != "done"]
    places = ", ".join(sorted(names.get(str(one.get("peer")), words.A_PACS) for one in silent))
    return Priors(
        found,
        words.PRIORS_ASKED if asked else "",
        words.PRIORS_SILENT.format(places=places) if places else "",
    )


def _found(one: Json, names: Mapping[str, str]) -> FoundPrior:
    study = next(iter(transfers.studies([one.get("row") or {}])), None)
    how = str(one.get("how"))
    place = names.get(str(one.get("peer")), "") or words.PRIOR_HERE
    if study is None:
        return FoundPrior(str(one.get("study")), words.EXAM, place, words.label(words.PRIOR_HOW, how), False)
    certain = how != "traits"
    identity = " ".join(filter(None, (study.patient, study.birth)))
    why = words.label(words.PRIOR_HOW, how)
    return FoundPrior(
        study.uid,
        study.title or study.modality or words.EXAM,
        " · ".join(filter(None, (study.modality, study.day, study.counts, place))),
        why if certain else f"{why} : {identity}",
        certain,
    )
