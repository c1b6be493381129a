"""Zeek's ``conn_state`` and ``history`` of a connection, from the letters each end has earned.

Zeek keeps seven states per endpoint; here they are read off the letters: RESET once a reset was obeyed, CLOSED once
a FIN was seen, ESTABLISHED when its SYN was answered, PARTIAL when it began without a SYN, INACTIVE when it said
nothing. Where Zeek differs is written down in ``docs/explanation/captures-and-zeek.md``.
"""

from __future__ import annotations

from tcpscope.packets import layout

_INACTIVE, _SYN_SENT, _SYN_ACK_SENT, _PARTIAL, _ESTABLISHED, _CLOSED, _RESET = range(7)
_SILENT = (_INACTIVE, _PARTIAL)


def spell_history(f: list[int], q: list[int], extra: list[int], client: int) -> str:
    """Return the history: upper case for the client, ``^`` where Zeek swaps the roles it first took."""
    codes = _codes(q, extra)
    if not codes:
        return ""
    letters = [_letter(code, client) for code in codes]
    if letters[0] != "h":
        return "".join(letters)
    if "S" in letters:  # the SYN was captured after the SYN|ACK: until then Zeek has the roles the other way round
        place = letters.index("S") + 1
        return "".join(letters[:place]).swapcase() + "^" + "".join(letters[place:])
    return "^" + "".join(letters)


def conn_state(f: list[int], q: list[int], extra: list[int], client: int) -> str:
    """Return one of the 13 states of Zeek's conn.log."""
    server = 1 - client
    origin, responder = _endpoint(f, q, extra, client), _endpoint(f, q, extra, server)
    text = q[layout.TEXT_BYTES] + q[layout.TEXT_BYTES + 1]
    if responder == _RESET:
        if origin in (_SYN_SENT, _SYN_ACK_SENT) or (origin == _RESET and not text):
            return "REJ"
        return "RSTRH" if origin in _SILENT else "RSTR"
    if origin == _RESET:
        return "RSTOS0" if responder in _SILENT else "RSTO"
    if origin == _CLOSED:
        if responder == _CLOSED:
            return "SF"
        return "SH" if responder in _SILENT else "S2"
    if responder == _CLOSED:
        return "SHR" if origin in _SILENT else "S3"
    if origin == _SYN_SENT and responder == _INACTIVE:
        return "S0"
    return "S1" if origin == responder == _ESTABLISHED else "OTH"


def _codes(q: list[int], extra: list[int]) -> list[int]:
    words = (q[layout.HISTORY], extra[layout.MORE_HISTORY_LOW], extra[layout.MORE_HISTORY_HIGH])
    return [code for word in words for shift in range(0, 60, 5) if (code := word >> shift & 31)]


def _letter(code: int, client: int) -> str:
    letter = layout.LETTERS[code & 15]
    return letter.upper() if code >> 4 == client else letter


def _endpoint(f: list[int], q: list[int], extra: list[int], end: int) -> int:
    half = end * layout.HALF_WORDS
    letters = f[half + layout.BITS] >> layout.LETTERS_SHIFT
    resets = (
        extra[end * layout.EXTRA_HALF + layout.RESETS_LEGAL] + extra[end * layout.EXTRA_HALF + layout.RESETS_CHALLENGED]
    )
    if letters >> layout.L_RESET & 1 and (resets or f[half + layout.STATE] == layout.S_CLOSED):
        return _RESET
    if letters >> layout.L_FIN & 1:
        return _CLOSED
    if not f[half + layout.PACKETS]:
        return _INACTIVE
    peer = layout.HALF_WORDS - half
    sent_syn = letters >> layout.L_SYN & 1
    sent_syn_ack = letters >> layout.L_SYN_ACK & 1
    is_acked = (
        f[peer + layout.BITS] & layout.HAS_ACKED
        and (f[peer + layout.ACKED] - f[half + layout.ISN] - 1) & layout.M < layout.HALFWAY
        and f[half + layout.BITS] & layout.HAS_ISN
    )
    if (sent_syn or sent_syn_ack) and is_acked:
        return _ESTABLISHED
    if sent_syn:
        return _SYN_SENT
    return _SYN_ACK_SENT if sent_syn_ack else _PARTIAL
