"""The laboratory: every state, transition and illness of TCP made for real, on kernel sockets in private namespaces."""

from __future__ import annotations

from tcpscope.model.verb import make_verb

make_verb(__name__)
