"""The scenario file, and what others need of it: the accounts to create, the exams to generate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Account:
    """Someone who can sign in: `id` is the sign-in name, `practitioner` `Practitioner/<id>`, `roles` their
    PractitionerRoles."""

    id: str
    practitioner: str
    roles: tuple[str, ...]
    name: str


@cache
def read() -> dict[str, Any]:
    """The whole scenario as written in `scenario.yaml`."""
    text = (files("fhir_server.demo") / "scenario.yaml").read_text("utf-8")
    scenario: dict[str, Any] = yaml.safe_load(text)
    return scenario


def communities_of(person: Entry) -> list[Entry]:
    """The communities a professional belongs to, as member or secretariat."""
    return [
        one
        for one in read()["communautes"]
        if person["id"] in one.get("membres", ()) or person["id"] == one.get("secretariat")
    ]


def posts_of(person: Entry) -> list[str]:
    """The ids of the Organizations a professional has a PractitionerRole in: communities, else the service,
    else the establishment; "" for a post in no organization."""
    posts = [str(one["id"]) for one in communities_of(person)]
    if not posts and person.get("org"):
        posts = [f"{person['org']}-uf-{person['uf']}" if person.get("uf") else str(person["org"])]
    return [*(posts or [""]), *person.get("consultations", ())]


def role_id(person: Entry, post: str) -> str:
    """The id of a PractitionerRole."""
    return f"{person['id']}-{post or 'region'}"


def name_of(person: Entry) -> str:
    return f"{person['civ']} {person['prenom']} {person['nom']}"


def accounts() -> list[Account]:
    """Every professional who has an account; a guest has none."""
    return [
        Account(
            person["id"],
            f"Practitioner/{person['id']}",
            tuple(f"PractitionerRole/{role_id(person, post)}" for post in posts_of(person)),
            name_of(person),
        )
        for person in read()["professionnels"]
        if person.get("compte", True)
    ]


def exams() -> list[Entry]:
    """The exams to generate, as the scenario names them, each with its patient's entry under `identite`."""
    patients = {one["id"]: one for one in read()["patients"]}
    return [{**one, "identite": patients[one["patient"]]} for one in read()["examens"]]


def teledossiers() -> list[Entry]:
    """The télédossiers of the past: the five and their variants."""
    return list(read()["teledossiers"])
