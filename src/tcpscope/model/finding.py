"""``Finding``: one thing that is wrong (or only looks wrong), why we think so, and what to do."""

from __future__ import annotations

from enum import IntEnum

from tcpscope.model.record import NamedTuple
from tcpscope.model.socket import Socket


class Severity(IntEnum):
    """How urgent a finding is. JSON and options spell it in lower case: ``info low medium high critical``."""

    INFO = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @classmethod
    def parse(cls, text: str) -> Severity:
        """Read a severity (``med`` and ``crit`` too). Raises ``ValueError`` naming the choices."""
        wanted = {"MED": "MEDIUM", "CRIT": "CRITICAL"}.get(text.upper(), text.upper())
        if wanted not in cls.__members__:
            raise ValueError(f"{text!r} is no severity; known: {', '.join(name.lower() for name in cls.__members__)}")
        return cls[wanted]


class Remedy(NamedTuple):
    """One thing to do: ``kind`` is ``code``, ``config`` or ``command``."""

    kind: str
    text: str


class Finding(NamedTuple):
    """One diagnosis. ``confidence`` is 0.0 to 1.0; ``explained_by`` names the finding that is its cause."""

    id: str
    severity: Severity
    confidence: float
    title: str
    explanation: str
    scope: str = ""
    evidence: tuple[str, ...] = ()
    counter_evidence: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    sockets: tuple[Socket, ...] = ()
    explained_by: str = ""
    avoid: tuple[str, ...] = ()  #: widespread advice that does not help here, and why
    place: str = ""  #: the namespace or host it was found in, when several were looked at
