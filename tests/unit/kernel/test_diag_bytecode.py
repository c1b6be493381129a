"""The kernel's part of a filter, against an interpreter written from ``inet_diag_bc_run()``."""

import struct
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from tcpscope.filters import expression as ex
from tcpscope.filters.match import compile_expression
from tcpscope.filters.parse import parse_filter
from tcpscope.kernel.diag_bytecode import compile_bytecode
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Socket
from tcpscope.model.state import State


def run_in_kernel(code: bytes, socket: Socket) -> bool:
    """Interpret a program as ``net/ipv4/inet_diag.c`` does; jumps must hit an instruction, the end, or reject."""
    family = 10 if socket.local.is_ipv6 else 2
    at = 0
    while at < len(code):
        operation, yes, no = struct.unpack_from("=BBH", code, at)
        assert yes % 4 == 0 and no % 4 == 0 and yes >= 4 and no >= 4 and at + no <= len(code) + 4
        holds = operation != 1 and _holds(code, at, operation, socket, family)
        at += yes if holds else no
    return at == len(code)


def _holds(code: bytes, at: int, operation: int, socket: Socket, family: int) -> bool:
    if operation in (2, 3, 4, 5):
        (port,) = struct.unpack_from("=H", code, at + 6)
        mine = (socket.local if operation < 4 else socket.remote).port
        return mine >= port if operation in (2, 4) else mine <= port
    if operation == 9:
        return struct.unpack_from("=I", code, at + 4)[0] == socket.interface
    assert operation in (7, 8)
    wanted, bits, port = struct.unpack_from("=BBxxi", code, at + 4)
    end = socket.local if operation == 7 else socket.remote
    if port not in (-1, end.port):
        return False
    address = ip_address(end.address).packed
    network = code[at + 12 : at + 12 + (16 if wanted == 10 else 4)]
    if wanted not in (0, family):
        mapped = family == 10 and wanted == 2 and address[:12] == bytes(10) + b"\xff\xff"
        return mapped and _match(address[12:], network, bits)
    return bits == 0 or _match(address, network, bits)


def _match(address: bytes, network: bytes, bits: int) -> bool:
    shift = len(address) * 8 - bits
    return int.from_bytes(address, "big") >> shift == int.from_bytes(network, "big") >> shift


ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.1.0.1", "::1", "2001:db8::1", "::ffff:10.0.0.1", "::", "0.0.0.0"]
PORTS = st.sampled_from([0, 1, 22, 443, 40000])
OPERATORS = st.sampled_from(["=", "!=", "<", ">", "<=", ">="])
TEXTS = st.deferred(
    lambda: st.one_of(
        st.builds("{} {} :{}".format, st.sampled_from(["sport", "dport"]), OPERATORS, PORTS),
        st.builds("{} {}".format, st.sampled_from(["src", "dst"]), st.sampled_from(
            ["10.0.0.1", "10.0.0.0/8", "10.0.0.2:443", "[::1]", "[2001:db8::]/32", "*:22", "10.0.0.0/31",
             "0.0.0.0/0"])),
        st.sampled_from(["dev = 1", "dev != 1", "pid = 1", "age > 5s", "inet", "comm x"]).map(
            lambda text: "src inet:*" if text == "inet" else text),
        TEXTS.map(lambda text: f"not ( {text} )"),
        st.builds("( {} {} {} )".format, TEXTS, st.sampled_from(["and", "or", ""]), TEXTS),
    )
)  # fmt: skip
SOCKETS = st.builds(
    lambda pair, lport, rport, interface: Socket(
        "tcp", State.ESTABLISHED, Endpoint(pair[0], lport), Endpoint(pair[1], rport), interface=interface
    ),
    st.tuples(st.sampled_from(ADDRESSES), st.sampled_from(ADDRESSES)).filter(
        lambda pair: (":" in pair[0]) == (":" in pair[1])
    ),
    PORTS, PORTS, st.sampled_from([0, 1]),
)  # fmt: skip


@settings(max_examples=400)
@given(TEXTS, st.lists(SOCKETS, min_size=1, max_size=8))
def test_kernel_part_selects_at_least_what_the_filter_selects(text, sockets):
    found = parse_filter(text).expression
    code = compile_bytecode(found)
    matches = compile_expression(found)
    exact = not any(word in text for word in ("pid", "age", "comm", "inet"))
    assert code is not None or not exact
    for socket in sockets:
        if matches(socket):
            assert code is None or run_in_kernel(code, socket)
        elif exact:
            assert not run_in_kernel(code, socket)


def test_what_the_kernel_cannot_judge_is_left_out():
    assert compile_bytecode(parse_filter("pid = 1").expression) is None
    assert compile_bytecode(parse_filter("pid = 1 or sport = :22").expression) is None
    assert compile_bytecode(parse_filter("not ( pid = 1 sport = :22 )").expression) is None
    assert compile_bytecode(parse_filter("pid = 1 and sport = :22").expression) == compile_bytecode(
        ex.Port("src", "=", 22)
    )


def test_golden_bytes_of_a_port_condition():
    # struct inet_diag_bc_op {S_COND, 16, 20}; struct inet_diag_hostcond {AF_UNSPEC, 0, port 22}; four bytes no address
    code = compile_bytecode(ex.Port("src", "=", 22))
    assert code == bytes([7, 12, 16, 0]) + bytes([0, 0, 0, 0]) + (22).to_bytes(4, "little")


def test_a_very_long_filter_is_not_sent_but_still_applied():
    found = parse_filter(" or ".join(f"sport = :{port}" for port in range(6000))).expression
    assert compile_bytecode(found) is None
    matches = compile_expression(found)
    assert matches(Socket("tcp", State.LISTEN, Endpoint("::", 5999), Endpoint("::", 0)))
    assert not matches(Socket("tcp", State.LISTEN, Endpoint("::", 6000), Endpoint("::", 0)))
