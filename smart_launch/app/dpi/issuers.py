"""The registered DPIs: records of kind "dpi", by issuer address.

    {organization, display, client_id, client_secret?, origins: []}

`iss` is compared letter by letter; nothing is ever fetched from an address that is not registered. The
endpoints that a DPI announces must be on its own origin, or on one of the `origins` registered with it.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from profiles.outcomes import Invalid, NotFound
from smart_launch import outbound
from smart_launch.app.dpi.ports import Records

KIND = "dpi"
_ORGANIZATION = re.compile(r"[A-Za-z0-9.-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Issuer:
    """One DPI. Without `client_secret` this server proves itself by its own key (private_key_jwt)."""

    iss: str
    organization: str
    display: str
    client_id: str
    client_secret: str | None = None
    origins: tuple[str, ...] = ()

    def trusts(self, url: str) -> bool:
        """Whether an announced endpoint may be used."""
        where = outbound.origin(url)
        return bool(where) and outbound.secure(url) and where in (outbound.origin(self.iss), *self.origins)


async def register(records: Records, issuer: Issuer) -> None:
    """Add or replace. Raises Invalid."""
    if not outbound.secure(issuer.iss) or issuer.iss.endswith("/") or len(issuer.iss) > 500:
        raise Invalid(
            "dpi-issuer", "iss is an https address without a final slash (http on this machine only)"
        )
    if not _ORGANIZATION.match(issuer.organization) or not issuer.client_id:
        raise Invalid("dpi-organization", "a DPI is registered with its Organization's id and a client id")
    if any(outbound.origin(one) != one for one in issuer.origins):
        raise Invalid("dpi-origin", "an origin is scheme://host[:port] alone")
    value = {key: item for key, item in asdict(issuer).items() if key != "iss"}
    await records.put_record(KIND, issuer.iss, value)


async def get(records: Records, iss: str) -> Issuer | None:
    record = await records.get_record(KIND, iss) if 0 < len(iss) <= 500 else None
    return Issuer(iss, **{**record, "origins": tuple(record["origins"])}) if record else None


async def list_all(records: Records) -> list[Issuer]:
    found = sorted(await records.list_records(KIND))
    return [Issuer(iss, **{**record, "origins": tuple(record["origins"])}) for iss, record in found]


async def remove(records: Records, iss: str) -> None:
    """Raises NotFound."""
    if not await records.delete_record(KIND, iss):
        raise NotFound("dpi-unknown", "no DPI is registered under this address")
