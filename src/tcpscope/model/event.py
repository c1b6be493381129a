"""What can happen to one end of a connection, in the words of RFC 9293, and what it sends in return.

An ``Event`` is already a judgement: a segment becomes one only after it was classified against the connection's
numbers (RFC 9293 §3.10.7.4; see :mod:`tcpscope.machine.classify`). One segment may be several events in order:
SYN|ACK with a FIN is ``SYN_ACK`` then ``FIN``.
"""

from __future__ import annotations

from enum import IntEnum


class Event(IntEnum):
    """User call, segment class, ICMP error or timeout at one end."""

    # user calls, §3.9.1
    OPEN_PASSIVE = 0
    OPEN_ACTIVE = 1
    SEND = 2
    RECEIVE = 3
    CLOSE = 4
    ABORT = 5
    STATUS = 6
    # segments that are what the state waits for, §3.10.7
    SYN = 7  #: SYN without ACK
    SYN_ACK = 8  #: SYN with an acceptable ACK of our SYN
    ACK_OF_SYN = 9  #: acceptable ACK of our SYN, no SYN
    ACK = 10  #: valid ACK that does not cover our FIN (data, window, duplicate)
    TEXT = 11  #: acceptable octets of text
    ACK_OF_FIN = 12  #: valid ACK that covers our FIN
    FIN = 13  #: FIN in order; our own FIN, if sent, is not acknowledged by this segment
    FIN_ACK_OF_FIN = 14  #: FIN in order, and the same segment acknowledges our FIN
    RST = 15  #: reset that must be obeyed
    # segments that are not
    RST_IN_WINDOW = 16  #: reset inside the window but not at RCV.NXT (RFC 5961 §3)
    RST_UNACCEPTABLE = 17  #: reset outside the window, or not provably for us
    SYN_IN_SYNCHRONIZED = 18  #: SYN on a live connection (RFC 5961 §4)
    SYN_REOPENS = 19  #: SYN that may start a new incarnation out of TIME-WAIT (RFC 6191)
    SYN_OLD_DUPLICATE = 20  #: SYN in TIME-WAIT that may not
    ACK_UNACCEPTABLE = 21  #: ACK of something never sent, or far too old
    ACK_MISSING = 22  #: no ACK bit where one is required
    SEGMENT_UNACCEPTABLE = 23  #: the sequence test fails and it is no reset
    SEGMENT_IRRELEVANT = 24  #: nothing this state looks at (bare FIN or text before synchronization)
    # ICMP, §3.9.2.2
    ICMP_HARD_ERROR = 25
    ICMP_SOFT_ERROR = 26
    # timeouts, §3.10.8 and §3.8
    RETRANSMISSION_TIMEOUT = 27
    USER_TIMEOUT = 28  #: R2 or the user timeout is reached
    PERSIST_TIMEOUT = 29
    DELAYED_ACK_TIMEOUT = 30
    KEEPALIVE_TIMEOUT = 31  #: idle long enough: probe
    KEEPALIVE_EXHAUSTED = 32  #: no probe was answered
    FIN_WAIT_2_TIMEOUT = 33
    TIME_WAIT_TIMEOUT = 34  #: 2 MSL are over

    @property
    def is_user_call(self) -> bool:
        """Whether the application caused it."""
        return self <= Event.STATUS

    @property
    def is_segment(self) -> bool:
        """Whether an arriving segment caused it."""
        return Event.SYN <= self <= Event.SEGMENT_IRRELEVANT

    @property
    def is_timeout(self) -> bool:
        """Whether a timer caused it."""
        return self >= Event.RETRANSMISSION_TIMEOUT


class Guard(IntEnum):
    """What else must hold for a row of the life cycle to apply; a row with a guard goes before the ``ALWAYS`` row
    of the same state and event. Guards 1-2, 3-4 and 5-7 exclude each other (``UNREAD_DATA`` before the other two).
    """

    ALWAYS = 0
    OPENED_PASSIVELY = 1  #: this end came through LISTEN
    OPENED_ACTIVELY = 2  #: this end came through SYN-SENT
    REMOTE_GIVEN = 3  #: the call or the listener names a remote socket
    REMOTE_UNSPECIFIED = 4
    NOTHING_QUEUED = 5  #: no SEND is queued or pending
    DATA_QUEUED = 6
    UNREAD_DATA = 7  #: the application has not read all that arrived (half-duplex close, SHLD-3)
    READER_GONE = 8  #: the application has closed both directions: nobody can read (half-duplex close, MAY-1)
    REOPENED = 9  #: this incarnation came straight out of TIME-WAIT (MAY-2)


class Sends(IntEnum):
    """The segment an end sends in answer to an event."""

    NOTHING = 0
    SYN = 1
    SYN_ACK = 2
    ACK = 3
    FIN = 4
    RST = 5  #: ``<SEQ=SEG.ACK><CTL=RST>`` or ``<SEQ=SND.NXT><CTL=RST>``
    RST_ACK = 6  #: ``<SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>``
    CHALLENGE_ACK = 7
    DATA = 8  #: text, new or again
    PROBE = 9  #: zero-window or keepalive probe
