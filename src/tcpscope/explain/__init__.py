"""The teacher, pure: a word in (state, move, column, address, timer, setting ...), an explanation out.

Facts about one thing stand in one module, as a table of data with a function that renders it. What can be generated
from :mod:`tcpscope.machine.lifecycle` is generated. Figures marked "measured" were measured on Linux 6.18.
"""

from __future__ import annotations

from tcpscope.model.verb import make_verb

make_verb(__name__)
