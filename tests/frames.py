"""The same IP packet behind every link layer that captures know, for tests of everything that reads captures."""

import struct

from tcpscope.wire import link

MAC = bytes.fromhex("020000000001020000000002")


def _is_6(packet):
    return packet[0] >> 4 == 6


def _ethertype(packet):
    return b"\x86\xdd" if _is_6(packet) else b"\x08\x00"


def _ppp(packet):
    return b"\x00\x57" if _is_6(packet) else b"\x00\x21"


def _pppoe(packet):
    return struct.pack(">BBHH", 0x11, 0, 7, len(packet) + 2) + _ppp(packet) + packet


def _family(packet, order, family_6=30):
    return struct.pack(order + "I", family_6 if _is_6(packet) else 2) + packet


def _nflog(packet, order):
    def attribute(kind, value):
        return struct.pack(order + "HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)

    head = struct.pack(">BBH", 10 if _is_6(packet) else 2, 0, 5)
    return head + attribute(1, b"\x08\x00\x01\x00") + attribute(10, b"prefix\0") + attribute(9, packet)


#: Name -> (link type, function from IP packet to frame, VLAN tag that the view reports).
WRAPPINGS = {
    "ethernet": (link.ETHERNET, lambda p: MAC + _ethertype(p) + p, 0),
    "ethernet padded": (link.ETHERNET, lambda p: MAC + _ethertype(p) + p + b"\0" * 9, 0),
    "vlan": (link.ETHERNET, lambda p: MAC + b"\x81\x00\x20\x64" + _ethertype(p) + p, 100),
    "qinq": (link.ETHERNET, lambda p: MAC + b"\x88\xa8\x00\x05\x81\x00\x00\x64" + _ethertype(p) + p, 5 * 4096 + 100),
    "pppoe": (link.ETHERNET, lambda p: MAC + b"\x88\x64" + _pppoe(p), 0),
    "pppoe over qinq": (
        link.ETHERNET,
        lambda p: MAC + b"\x88\xa8\x00\x05\x81\x00\x00\x64\x88\x64" + _pppoe(p),
        5 * 4096 + 100,
    ),
    "snap": (
        link.ETHERNET,
        lambda p: MAC + struct.pack(">H", min(len(p) + 8, 1500)) + b"\xaa\xaa\x03\0\0\0" + _ethertype(p) + p,
        0,
    ),
    "raw": (link.RAW, bytes, 0),
    "raw bsd": (link.RAW_BSD, bytes, 0),
    "null little": (link.NULL, lambda p: _family(p, "<"), 0),
    "null big": (link.NULL, lambda p: _family(p, ">", 28), 0),
    "loop": (link.LOOP, lambda p: _family(p, ">", 24), 0),
    "ppp": (link.PPP, lambda p: _ppp(p) + p, 0),
    "ppp compressed": (link.PPP, lambda p: _ppp(p)[1:] + p, 0),
    "ppp hdlc": (link.PPP_HDLC, lambda p: b"\xff\x03" + _ppp(p) + p, 0),
    "ppp ether": (link.PPP_ETHER, _pppoe, 0),
    "cisco hdlc": (link.C_HDLC, lambda p: b"\x0f\x00" + _ethertype(p) + p, 0),
    "cooked 1": (link.LINUX_SLL, lambda p: b"\0\0\0\1\0\6" + MAC[:6] + b"\0\0" + _ethertype(p) + p, 0),
    "cooked 2": (link.LINUX_SLL2, lambda p: _ethertype(p) + b"\0\0\0\0\0\2\0\1\4\6" + MAC[:6] + b"\0\0" + p, 0),
    "nflog little": (link.NFLOG, lambda p: _nflog(p, "<"), 0),
    "nflog big": (link.NFLOG, lambda p: _nflog(p, ">"), 0),
}
