"""Does a resource keep FHIR R4, and the profiles it declares?

`validate` is the base structure alone, the fast path: unknown elements, JSON kinds, cardinality, choices,
formats and existing dates, ids, required codes, references, contained resources, narratives, nothing empty.
A `Validator` judges invariants, extensions, bundles, questionnaires and profiles as well, over a set of
packages and, where it is given one, a CodeChecker.
Returns findings and raises nothing: what to do with them is for the interaction to say.

FHIR R4 validation.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from profiles import definitions
from profiles.codes import CodeChecker, Coding, Verdict
from profiles.outcomes import Issue, Severity
from profiles.schema import messages
from profiles.schema.base import Base
from profiles.schema.compile import Profiles
from profiles.schema.packages import Packages, standard
from profiles.schema.report import Report
from profiles.schema.rules.item import Context, Item
from profiles.schema.structure import check_resource

__all__ = ["CodeChecker", "Coding", "Validator", "Verdict", "validate", "validator"]


def validate(resource: dict[str, Any], type: str = "") -> list[Issue]:
    """All findings, at most 200; empty when the resource is sound. With `type`, the resource must be of that
    type, as when it is sent to `[base]/[type]`."""
    found = resource.get("resourceType")
    if type and found != type:
        is_other = isinstance(found, str) and found in definitions.resource_types()
        said, french = (f"a {found}", f"un {found}") if is_other else ("no such resource", "une autre chose")
        where = (None, type, -1), "resourceType", -1
        mismatch = Report()
        mismatch.add(
            where,
            "invalid",
            "resource-type-mismatch",
            f"{said} is here; expected a {type}",
            f"{french} est ici ; attendu : un {type}",
        )
        return mismatch.issues
    report = Report()
    root = found if isinstance(found, str) and found in definitions.resource_types() else "Resource"
    check_resource(resource, (None, root, -1), report)
    return report.issues


@dataclass(frozen=True, slots=True)
class Validator:
    """Everything that can be judged without a store. Profiles compile when first needed and stay with the
    Validator, so one is made per server. `strict` is for who asks what is wrong, rather than
    whether to store it: what no package defines is an error, and recommendations are judged too;
    `refused_systems` are identifier systems that have no place here, as those of test identities in
    production."""

    profiles: Profiles
    base: Base
    codes: CodeChecker | None = None
    strict: bool = False
    refused_systems: frozenset[str] = frozenset()

    def over(self, packages: Packages) -> Validator:
        """The same over other packages, whose profiles it compiles anew."""
        profiles = Profiles(packages)
        return replace(self, profiles=profiles, base=Base(profiles))

    def validate(self, resource: dict[str, Any], type: str = "", profiles: Sequence[str] = ()) -> list[Issue]:
        """All findings, at most 200: of the base, of the profiles in `meta.profile`, and of those named. A
        resource whose structure is wrong is judged no further. A profile that is not known is a warning where
        the resource declares it, an error where the caller names it."""
        issues = validate(resource, type)
        if any(issue.severity in ("error", "fatal") for issue in issues):
            return issues
        report = Report(issues)
        context = Context(report, self.profiles, self.codes, self.strict, self.refused_systems)
        context.enter(resource, resource, {})
        item = Item(resource, resource["resourceType"], None, (None, resource["resourceType"], -1))
        self.base.check(item, context)
        for url in dict.fromkeys([*_declared(resource), *profiles]):
            profile = self.profiles.get(url)
            if profile is None:
                severity: Severity = "error" if url in profiles else "warning"
                report.note(item.where, messages.unknown_profile(url, severity))
            elif not profile.suits(item.type):
                report.note(item.where, messages.unsuited_profile(url, profile.type))
            else:
                profile.check(item, context)
        return report.issues


def validator(
    packages: Packages | None = None,
    codes: CodeChecker | None = None,
    *,
    refused_systems: frozenset[str] = frozenset(),
) -> Validator:
    """A Validator over these packages; without any, over what is built in."""
    profiles = Profiles(packages if packages is not None else standard())
    return Validator(profiles, Base(profiles), codes, refused_systems=refused_systems)


def _declared(resource: dict[str, Any]) -> list[str]:
    meta = resource.get("meta")
    found = meta.get("profile") if isinstance(meta, dict) else None
    return [url for url in found if isinstance(url, str)] if isinstance(found, list) else []
