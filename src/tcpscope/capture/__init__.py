"""Captured packets from files, pipes and interfaces, and back: pcap, pcapng, AF_PACKET, libpcap's filters.

>>> with open_capture("trace.pcapng") as source:        # doctest: +SKIP
...     for chunk in source.iter_chunks():
...         for index in range(len(chunk.offset)):
...             frame = chunk.data[chunk.offset[index] : chunk.offset[index] + chunk.captured_len[index]]
"""

from __future__ import annotations

from tcpscope.capture.packets import CHUNK_BYTES, Chunk, Format, Interface, Packet
from tcpscope.capture.source import CaptureSource, open_capture
from tcpscope.model.verb import make_verb

__all__ = ["CHUNK_BYTES", "CaptureSource", "Chunk", "Format", "Interface", "Packet", "open_capture"]

make_verb(__name__)
