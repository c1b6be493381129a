"""Stories for the simulated network: what two programs do, and what the network does to them, each by name.

A story is data: calls at virtual times. :mod:`tcpscope.stack.simulation` plays it.
"""

from __future__ import annotations

from tcpscope.model.record import NamedTuple

MS = 1_000_000
SECOND = 1_000_000_000
CLIENT, SERVER = 0, 1


class Call(NamedTuple):
    """One user call (RFC 9293 §3.9.1) at ``when_ns`` by end 0 or 1; ``octets`` for ``send``."""

    when_ns: int
    end: int
    name: str
    octets: int = 0


class Loss(NamedTuple):
    """A segment to lose: the ``number``-th that ``end`` sends of a kind (``syn text fin ack``), counted from 0."""

    end: int
    kind: str
    number: int


class Story(NamedTuple):
    """Calls in order of time, what gets lost, how long to watch, and what the server's program does by itself."""

    name: str
    title: str
    calls: tuple[Call, ...]
    losses: tuple[Loss, ...] = ()
    duration_ns: int = 130 * SECOND
    server_reads: bool = True
    server_closes: bool = False  #: as soon as it reads the end of file


_LISTEN = Call(0, SERVER, "listen")
_CONNECT = Call(0, CLIENT, "connect")
_HELLO = (_LISTEN, _CONNECT, Call(200 * MS, CLIENT, "send", 500), Call(400 * MS, SERVER, "send", 1200))

STORIES: dict[str, Story] = {
    story.name: story
    for story in (
        Story(
            "normal",
            "handshake, a request and an answer, the client closes first",
            (*_HELLO, Call(800 * MS, CLIENT, "close"), Call(1100 * MS, SERVER, "close")),
        ),
        Story(
            "simultaneous-open",
            "both ends connect to each other at once",
            (_CONNECT, Call(0, SERVER, "connect"), Call(600 * MS, CLIENT, "close"), Call(800 * MS, SERVER, "close")),
        ),
        Story(
            "simultaneous-close",
            "both ends close at once: the FINs cross",
            (*_HELLO, Call(SECOND, CLIENT, "close"), Call(SECOND, SERVER, "close")),
        ),
        Story(
            "half-close",
            "the client ends its direction and still reads",
            (
                _LISTEN,
                _CONNECT,
                Call(200 * MS, CLIENT, "send", 500),
                Call(300 * MS, CLIENT, "shutdown"),
                Call(600 * MS, SERVER, "send", 3000),
                Call(900 * MS, SERVER, "close"),
            ),
        ),
        Story(
            "close-at-once",
            "the server closes as soon as it reads the end of file: its ACK and FIN share a segment",
            (*_HELLO, Call(SECOND, CLIENT, "close")),
            server_closes=True,
        ),
        Story("refused", "nobody listens", (_CONNECT,)),
        Story(
            "given-up",
            "the client gives up before the answer comes: its reset sends the server back to LISTEN",
            (_LISTEN, _CONNECT, Call(60 * MS, CLIENT, "close")),
            duration_ns=SECOND,
        ),
        Story(
            "early-close",
            "the server closes before the handshake is complete; no program on Linux can",
            (_LISTEN, _CONNECT, Call(60 * MS, SERVER, "close"), Call(600 * MS, CLIENT, "close")),
        ),
        Story(
            "listener-connects",
            "a listener turns into a client; Linux has no such call",
            (
                Call(0, CLIENT, "listen"),
                _LISTEN,
                Call(100 * MS, CLIENT, "connect"),
                Call(400 * MS, CLIENT, "close"),
                Call(600 * MS, SERVER, "close"),
            ),
        ),
        Story("listener-closes", "a listener ends before anybody came", (_LISTEN, Call(100 * MS, SERVER, "close"))),
        Story("abort", "the client aborts an open connection", (*_HELLO, Call(SECOND, CLIENT, "abort"))),
        Story(
            "lost-syn",
            "the first SYN is lost",
            (_LISTEN, Call(0, CLIENT, "connect"), Call(2 * SECOND, CLIENT, "close"), Call(3 * SECOND, SERVER, "close")),
            (Loss(CLIENT, "syn", 0),),
        ),
        Story(
            "three-lost",
            "three segments of one flight are lost and repaired by selective acknowledgement",
            (
                _LISTEN,
                _CONNECT,
                Call(200 * MS, CLIENT, "send", 20000),
                Call(1500 * MS, CLIENT, "close"),
                Call(1700 * MS, SERVER, "close"),
            ),
            (Loss(CLIENT, "text", 3), Loss(CLIENT, "text", 5), Loss(CLIENT, "text", 6)),
        ),
        Story(
            "lost-tail",
            "the last segment of a flight is lost; a probe finds it",
            (
                _LISTEN,
                _CONNECT,
                Call(200 * MS, CLIENT, "send", 7000),
                Call(2 * SECOND, CLIENT, "close"),
                Call(2200 * MS, SERVER, "close"),
            ),
            (Loss(CLIENT, "text", 4),),
        ),
        Story(
            "lost-last-ack",
            "the last ACK is lost: the FIN comes again and TIME-WAIT answers it",
            (*_HELLO, Call(SECOND, CLIENT, "close"), Call(1300 * MS, SERVER, "close")),
            (Loss(CLIENT, "last-ack", 0),),
        ),
        Story(
            "zero-window",
            "the server does not read: its window shuts and is probed",
            (
                _LISTEN,
                _CONNECT,
                Call(200 * MS, CLIENT, "send", 200000),
                Call(8 * SECOND, SERVER, "read"),
                Call(10 * SECOND, CLIENT, "close"),
                Call(11 * SECOND, SERVER, "close"),
            ),
            server_reads=False,
        ),
        Story(
            "server-never-closes",
            "the client closes, the server keeps the connection: FIN_WAIT_2 and CLOSE_WAIT",
            (*_HELLO, Call(SECOND, CLIENT, "close")),
        ),
        Story(
            "peer-vanishes",
            "the path goes away while text is on its way",
            (*_HELLO, Call(SECOND, CLIENT, "send", 1000)),
            (Loss(CLIENT, "after", SECOND), Loss(SERVER, "after", SECOND)),
            duration_ns=1000 * SECOND,
        ),
    )
}
