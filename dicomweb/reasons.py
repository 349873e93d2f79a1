"""Why an instance is not taken, said once: the C-STORE status, its comment, and the slug of an HTTP answer.

    Refused
      OUT_OF_RESOURCES   0xA700   no room left; try later
      OVER_QUOTA         0xA700   the site has as much here as it may; new exams are not taken
      WRONG_INSTANCE     0xA900   the dataset is not the instance that the command names
      WRONG_STUDY        0xA901   the dataset is not of the study that the address names
      DUPLICATE          0x0111   another content is stored under its SOP Instance UID; kept for a person (by
                                  STOW-RS; by C-STORE it is the warning KEPT_ASIDE, 0xB000)
      UNSUPPORTED_CLASS  0x0122   its SOP Class is nothing that is stored, or not taken from this peer
      NOT_AUTHORISED     0x0124   this AE title may not store here
      MISSING_UIDS       0xC001   no SOP Class, SOP Instance, Study or Series UID
      BAD_UIDS           0xC002   such a UID, but malformed
      MISSING_BULK       0xC003   its metadata names bulk data that did not come
      UNREADABLE         0xC210   cannot be read as DICOM
      CUT                0xC213   ends before its own lengths say
      FAILED             0xC211   an error of ours
      ALTERED            0xC214   not the bytes whose SHA-256 the sender gave; to be sent again

The low bits of A9xx and Cxxx are ours to choose. Comments are at most 64 characters (LO) and never carry
patient data. PS3.4 §B.2.3; PS3.7 §9.1.1.1.9, §C; PS3.18 §I.2.2 (Failure Reason, Warning Reason)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause of refusal."""

    status: int
    slug: str
    comment: str


OUT_OF_RESOURCES = Reason(0xA700, "out-of-resources", "No room left to store; try again later")
OVER_QUOTA = Reason(0xA700, "quota-exceeded", "The quota of this site is used up")
WRONG_INSTANCE = Reason(0xA900, "wrong-instance", "Dataset UIDs differ from the command's")
WRONG_STUDY = Reason(0xA901, "wrong-study", "Not an instance of the study that the address names")
DUPLICATE = Reason(0x0111, "duplicate", "Other content is stored under this UID; kept for a person")
KEPT_ASIDE = Reason(0xB000, "kept-aside", "Other content has this UID already; kept aside for a person")
UNSUPPORTED_CLASS = Reason(0x0122, "unsupported-sop-class", "This SOP Class is not stored here")
NOT_AUTHORISED = Reason(0x0124, "not-authorised", "This AE title may not store here")
MISSING_BULK = Reason(0xC003, "missing-bulk-data", "The metadata names bulk data that did not come")
MISSING_UIDS = Reason(0xC001, "missing-uids", "SOP Class, SOP Instance, Study or Series UID is missing")
BAD_UIDS = Reason(0xC002, "bad-uids", "SOP Class, SOP Instance, Study or Series UID is malformed")
UNREADABLE = Reason(0xC210, "unreadable", "Cannot be read as DICOM")
FAILED = Reason(0xC211, "failed", "Storing failed here")
CUT = Reason(0xC213, "cut", "Dataset ends before its own lengths say")
ALTERED = Reason(0xC214, "altered", "Not the bytes whose SHA-256 came with them; send again")


_ALL = (
    OUT_OF_RESOURCES, WRONG_INSTANCE, WRONG_STUDY, DUPLICATE, UNSUPPORTED_CLASS, MISSING_BULK, MISSING_UIDS,
    BAD_UIDS, UNREADABLE, FAILED, CUT, ALTERED,
)  # fmt: skip


def by_slug(slug: str) -> Reason:
    """The reason that another program of ours told; FAILED for what is none."""
    return next((one for one in _ALL if one.slug == slug), FAILED)


MALFORMED = frozenset({UNREADABLE, CUT})  # the request is at fault, not a clash with what is here
WARN_CLASS_DIFFERS = 0xB007  # Warning Reason: the file head names another SOP Class


class Refused(Exception):
    """An instance is not taken; nothing of it is kept."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.comment)
        self.reason = reason
