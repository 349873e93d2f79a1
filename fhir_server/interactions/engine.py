"""What every interaction works with: one frozen value, made once at start-up and handed down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fhir_server.access import Access
from fhir_server.conformance.held import Held, Installed
from fhir_server.interactions.ids import NewIds
from fhir_server.jobs.record import Jobs
from fhir_server.operations.registry import Operations
from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from fhir_server.store.files import Files
from profiles.validation import Validator, validator

if TYPE_CHECKING:
    from fhir_server.audit import Trail

Resource = dict[str, Any]
Judging = Literal["all", "structure", "nothing"]
WriteRule = Callable[["Engine", Access, Resource | None, Resource], Awaitable[Resource]]
"""(engine, who writes, what stands there now or None, what they sent) → what is stored; raises what it
refuses. Awaited: a rule may read the store, as the one of ServiceRequest does to work out who may see a
télédossier."""


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts an interaction needs. `now` gives UTC microseconds; `write_rules` is by resource type;
    `trail` writes the AuditEvents, None keeps none (a loader, a test); `validator` knows the packages;
    `judging` says how much of a write is judged (a loader's choice); `held` the definitions that the store
    has, `jobs` takes the work that outlives a request."""

    store: Store
    files: Files
    settings: Settings
    now: Callable[[], int]
    write_rules: Mapping[str, WriteRule] = field(default_factory=dict)
    operations: Operations = field(default_factory=Operations)
    trail: Trail | None = None
    validator: Validator = field(default_factory=validator)
    judging: Judging = "all"
    new_id: Callable[[], str] = field(default_factory=NewIds, repr=False, compare=False)
    held: Held = field(init=False, repr=False, compare=False)
    jobs: Jobs = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "held", Held(self.store, Installed(self.settings.packages_path)))
        object.__setattr__(self, "jobs", Jobs(self.store, self.now))
