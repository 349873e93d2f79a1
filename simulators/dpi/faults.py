"""Failures on demand: each name is one thing that a real DPI gets wrong, switched on by an administrator's
POST.

POST /panne  {"pannes": ["nonce", …]}    replaces the set; an empty list heals
GET  /panne                              what is on, and what there is
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FAULTS: Mapping[str, str] = {
    "decouverte-500": "discovery answers 500",
    "decouverte-html": "discovery answers a page",
    "decouverte-enorme": "discovery answers several megabytes",
    "decouverte-redirection": "discovery redirects elsewhere",
    "decouverte-liste": "discovery answers a JSON list",
    "jeton-ailleurs": "discovery announces a token endpoint on another origin",
    "sans-s256": "discovery announces no S256",
    "autorisation-refusee": "authorize answers access_denied",
    "autorisation-autre-iss": "authorize names another issuer (RFC 9207)",
    "autorisation-sans-code": "authorize answers without a code",
    "code-faux": "authorize hands out a code that is not known",
    "jeton-500": "token answers 500",
    "jeton-html": "token answers a page",
    "jeton-enorme": "token answers several megabytes",
    "jeton-sans-acces": "token answers without access_token",
    "sans-id-token": "token answers without id_token",
    "sans-patient": "token answers without patient",
    "sans-venue": "token answers without encounter",
    "alg-none": "id_token with alg none",
    "alg-hs256": "id_token signed with the public key as a secret",
    "signature": "id_token signed with another key",
    "sans-kid": "id_token without kid (allowed with a single key)",
    "kid-inconnu": "id_token with a kid that is not published",
    "iss": "id_token of another issuer",
    "aud": "id_token for another client",
    "azp": "id_token with another authorized party",
    "nonce": "id_token with another nonce",
    "sans-nonce": "id_token without nonce",
    "expire": "id_token expired",
    "futur": "id_token issued in the future",
    "sans-fhiruser": "id_token without fhirUser",
    "fhiruser-ailleurs": "fhirUser at another server",
    "fhiruser-absolu": "fhirUser as an absolute address of this server (allowed)",
    "cles-500": "jwks answers 500",
    "cles-vides": "jwks holds no key",
    "praticien-404": "Practitioner is not there",
    "praticien-anonyme": "Practitioner has no identifier",
    "praticien-inconnu": "Practitioner has an RPPS that nobody knows",
    "patient-404": "Patient is not there",
    "patient-autre": "Patient answers another patient",
    "patient-sans-nom": "Patient has no name",
    "patient-sans-identifiant": "Patient has no identifier",
    "patient-html": "Patient answers a page",
    "patient-tordu": "Patient has elements of the wrong kind",
    "sans-intention": "token answers without intent",
}


class Faults:
    """The ones that are on."""

    def __init__(self) -> None:
        self._on: frozenset[str] = frozenset()

    def set(self, names: Any) -> bool:
        """False when a name is not one of FAULTS; then nothing changes."""
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return False
        if not set(names) <= FAULTS.keys():
            return False
        self._on = frozenset(names)
        return True

    def __contains__(self, name: str) -> bool:
        if name not in FAULTS:
            raise KeyError(name)
        return name in self._on

    def names(self) -> list[str]:
        return sorted(self._on)
