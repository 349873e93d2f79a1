"""The demonstration: a wholly fictitious region, its people and its télédossiers, loaded by the real
operations.

Entry points: `load(engine)`, `accounts()`, `exams()`, `tour()`.
"""

from fhir_server.demo.load import Loaded, load
from fhir_server.demo.scenario import Account, accounts, exams, read
from fhir_server.demo.tour import tour

__all__ = ["Account", "Loaded", "accounts", "exams", "load", "read", "tour"]
