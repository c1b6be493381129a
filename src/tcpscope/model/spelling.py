"""How each tool spells the eleven states, indexed by Linux's state number (``include/net/tcp_states.h``).

Plain tuples, no enum: this is the part of :mod:`tcpscope.model.state` that ``tcpscope list`` needs to print a
table, and importing :mod:`enum` costs half a bare interpreter start. Index 0 is no state.
"""

from __future__ import annotations

#: Dialect -> spelling by Linux number 1..11.
DIALECTS: dict[str, tuple[str, ...]] = {
    tool: ("", *spelled.split())
    for tool, spelled in {
        "rfc": "ESTABLISHED SYN-SENT SYN-RECEIVED FIN-WAIT-1 FIN-WAIT-2 TIME-WAIT"
        " CLOSED CLOSE-WAIT LAST-ACK LISTEN CLOSING",
        "ss": "ESTAB SYN-SENT SYN-RECV FIN-WAIT-1 FIN-WAIT-2 TIME-WAIT UNCONN CLOSE-WAIT LAST-ACK LISTEN CLOSING",
        "netstat": "ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT"
        " CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING",
        "bsd": "ESTABLISHED SYN_SENT SYN_RCVD FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT"
        " CLOSED CLOSE_WAIT LAST_ACK LISTEN CLOSING",
        "macos": "ESTABLISHED SYN_SENT SYN_RCVD FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT"
        " CLOSED CLOSE_WAIT LAST_ACK LISTEN CLOSING",
        "windows": "ESTABLISHED SYN_SENT SYN_RECEIVED FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT"
        " CLOSED CLOSE_WAIT LAST_ACK LISTENING CLOSING",
        "otel": "established syn_sent syn_received fin_wait_1 fin_wait_2 time_wait"
        " closed close_wait last_ack listen closing",
        "node_exporter": "established syn_sent syn_recv fin_wait1 fin_wait2 time_wait"
        " close close_wait last_ack listen closing",
    }.items()
}

#: JSON and Python identifiers (RFC names with underscores), by Linux number.
IDENTIFIERS: tuple[str, ...] = tuple(name.replace("-", "_") for name in DIALECTS["rfc"])

#: Spellings that no dialect above prints but people and older tools write.
ALIASES: dict[str, str] = {
    "ESTABLISH": "ESTABLISHED",
    "CONNECTED": "ESTABLISHED",
    "SYNSENT": "SYN_SENT",
    "SYN_SEND": "SYN_SENT",
    "SYNRECV": "SYN_RECEIVED",
    "SYNRCVD": "SYN_RECEIVED",
    "SYN_RECVD": "SYN_RECEIVED",
    "SYN_RECIEVED": "SYN_RECEIVED",
    "NEW_SYN_RECV": "SYN_RECEIVED",
    "FINWAIT1": "FIN_WAIT_1",
    "FINWAIT2": "FIN_WAIT_2",
    "TIMEWAIT": "TIME_WAIT",
    "TIMED_WAIT": "TIME_WAIT",
    "2MSL": "TIME_WAIT",
    "CLOSEWAIT": "CLOSE_WAIT",
    "WAIT_CLOSE": "CLOSE_WAIT",
    "LASTACK": "LAST_ACK",
    "IDLE": "CLOSED",
    "BOUND": "CLOSED",
    "BOUND_INACTIVE": "CLOSED",
    "DELETE_TCB": "CLOSED",
}

#: What netstat says in other languages (Windows: German; net-tools: German, Swedish, Catalan, Czech, Portuguese).
#: Letters outside ASCII are left out: a code page garbles them.
LOCAL: dict[str, str] = {
    "HERGESTELLT": "ESTABLISHED", "VERBUNDEN": "ESTABLISHED", "ETABLERAD": "ESTABLISHED",
    "ESTABLERT": "ESTABLISHED", "SPOJENO": "ESTABLISHED", "ESTABELECIDA": "ESTABLISHED",
    "ABHREN": "LISTEN", "LYSSNAR": "LISTEN", "ESCOLTA": "LISTEN", "NASLOUCH": "LISTEN", "OUA": "LISTEN",
    "SYN_GESENDET": "SYN_SENT", "SYN_ENVIADO": "SYN_SENT",
    "SYN_EMPFANGEN": "SYN_RECEIVED", "SYN_RECEBIDO": "SYN_RECEIVED",
    "FIN_WARTEN_1": "FIN_WAIT_1", "ESPERA_FIN1": "FIN_WAIT_1",
    "FIN_WARTEN_2": "FIN_WAIT_2", "ESPERA_FIN2": "FIN_WAIT_2",
    "WARTEND": "TIME_WAIT", "TEMPS": "TIME_WAIT",
    "SCHLIESSEN_WARTEN": "CLOSE_WAIT", "STNG_VNTA": "CLOSE_WAIT", "ESPERANDO_FECHAR": "CLOSE_WAIT",
    "SCHLIESSEND": "CLOSING", "STNGER": "CLOSING", "TANCAMENT": "CLOSING", "ZAVR": "CLOSING", "FECHANDO": "CLOSING",
    "LTIMO_ACK": "LAST_ACK", "STNG": "CLOSED", "TANCA": "CLOSED", "ZAVEN": "CLOSED", "FECHAR": "CLOSED",
}  # fmt: skip

#: Linux numbers that are no RFC state, and the state they mean: translated here, at the border.
#: 12 TCP_NEW_SYN_RECV is the request socket of a handshake; 13 TCP_BOUND_INACTIVE a socket that was only bound.
KERNEL_EXTRA: dict[int, int] = {12: 3, 13: 7}
