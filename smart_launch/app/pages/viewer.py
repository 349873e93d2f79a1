"""The image viewer's page. The pictures themselves come from DICOMweb, frame by frame, asked by the page's
script.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from smart_launch.app.desk import Desk
from smart_launch.app.fhir import FhirError
from smart_launch.app.pages.answers import guarded
from smart_launch.app.pages.dossier import load
from smart_launch.app.rendering import render
from smart_launch.app.views.exams import Exam

UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def routes(desk: Desk) -> list[BaseRoute]:
    async def show(request: Request) -> Response:
        fhir, id, study = desk.fhir(request), request.path_params["id"], request.path_params["study"]
        me, opened = await load(desk, request, fhir, id)
        exam = next((exam for exam in opened.exams if exam.uid == study), None)
        if exam is None or not UID.fullmatch(study):
            raise FhirError(404, {})
        beside = request.query_params.get("avec", "")
        context = {
            "moi": me,
            "dossier": opened,
            "examen": exam,
            "avec": beside if any(one.uid == beside for one in opened.exams) else "",
            "donnees": [_said(one) for one in opened.exams],
        }
        return render("visionneuse.html", context)

    return [Route("/dossiers/{id}/images/{study}", guarded(show), methods=["GET"])]


def _said(exam: Exam) -> dict[str, object]:
    """An exam as the script knows it."""
    return {
        "uid": exam.uid, "titre": exam.title, "modalite": exam.modality, "date": exam.date,
        "anterieur": exam.prior,
    }  # fmt: skip
