"""In which order systems write TCP options, and how they align and pad them, as data.

RFC 9293 §3.2 leaves all three open; the order on a SYN is how one system is told from another. Which options there
are is :class:`tcpscope.model.segment.Options`; the octets themselves are :mod:`tcpscope.wire.options`.
"""

from __future__ import annotations

from tcpscope.model.record import NamedTuple

_ANYWHERE = (0, 1, 2, 3)


class Layout(NamedTuple):
    """``order``: an option's name and where, modulo four, it may start; NOPs go before it until it does."""

    order: tuple[tuple[str, tuple[int, ...]], ...]
    is_ended: bool = False  #: the end is padded with End of Option List and zeros (MUST-69) instead of NOPs
    sack_fills_padding: bool = False  #: SACK permitted stands where the padding before a timestamp would


#: RFC 7323 appendix A.
RFC_LAYOUT = Layout(
    (
        ("mss", (0,)),
        ("window_scale", (1,)),
        ("timestamp", (2,)),
        ("sack_permitted", _ANYWHERE),
        ("user_timeout_ms", _ANYWHERE),
        ("sack", (2,)),
        ("fast_open_cookie", _ANYWHERE),
    ),
    is_ended=True,
)

#: Linux 6.18, as captured.
LINUX_LAYOUT = Layout(
    (
        ("mss", (0,)),
        ("sack_permitted", (2,)),
        ("timestamp", (2,)),
        ("window_scale", (1,)),
        ("user_timeout_ms", (0,)),
        ("sack", (2,)),
        ("fast_open_cookie", _ANYWHERE),
    ),
    sack_fills_padding=True,
)

#: FreeBSD, as its test suite expects it.
FREEBSD_LAYOUT = Layout(
    (
        ("mss", (0,)),
        ("window_scale", (1, 3)),
        ("sack_permitted", (0, 2)),
        ("timestamp", (2,)),
        ("user_timeout_ms", (0,)),
        ("sack", (2,)),
        ("fast_open_cookie", _ANYWHERE),
    ),
    is_ended=True,
)
