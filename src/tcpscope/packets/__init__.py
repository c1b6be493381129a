"""The tracker: both ends' RFC 9293 states of every connection in a capture, with reasons.

>>> analysis = analyse(["trace.pcapng"])                                              # doctest: +SKIP
>>> for connection in analysis.connections:                                           # doctest: +SKIP
...     print(connection.client, connection.client_state.name, connection.server_state.name, connection.verdict)

Three engines decide alike: :mod:`~tcpscope.packets.pure` (to be read), :mod:`~tcpscope.packets.interpreted` (base
install) and the compiled one (extra ``fast``).
"""

from __future__ import annotations

from tcpscope.packets.analysis import Analysis, analyse
from tcpscope.packets.choosing import ENGINES
from tcpscope.packets.totals import Totals

__all__ = ["ENGINES", "Analysis", "Totals", "analyse"]
