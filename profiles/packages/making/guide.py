"""The whole guide: every definition, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator

from profiles.packages.making import conformance, others, structures, vocabularies, workflows
from profiles.packages.making.common import Json

_MAKERS = (
    vocabularies.code_systems,
    vocabularies.value_sets,
    vocabularies.naming_systems,
    structures.extensions,
    structures.profiles,
    workflows.questionnaires,
    workflows.plan_definitions,
    others.search_parameters,
    others.operations,
    others.topics,
    conformance.capability_statement,
)


def definitions() -> Iterator[Json]:
    """Every definition of the guide, the guide's own resource last."""
    made = [one for maker in _MAKERS for one in maker()]
    yield from made
    yield conformance.implementation_guide(made)
