"""Filters against ``ss`` itself: for many expressions the same sockets, with the kernel's help and without.

The expressions are generated from the grammar with a fixed seed. Left out are three corners: an IPv4
address whose bits are also the first bits of an IPv6 address in use (``0.0.0.0`` and ``::``), where ss contradicts the
kernel; states that exclude each other, where ss falls back to its default instead of selecting nothing; and
``autobound``, for which the kernel asks a lock on the port that no listing tells.
"""

import os
import random
import shutil
import socket
import subprocess
from contextlib import ExitStack, contextmanager

import pytest
from tests.scenes.busy import PORTS, busy_namespace

from tcpscope.cli.filtering import read_selection
from tcpscope.live.sockets import read_sockets

__all__ = ["busy_namespace"]

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("ss") is None, reason="needs ss to compare with"),
]
EXPRESSIONS = int(os.environ.get("TCPSCOPE_EXPRESSIONS", "600"))
HOSTS = ["any", "any:1001", "127/8", "127.0.0.0/255.0.0.0", "127.0.0.1", "127.0.0.2",
         "127.0.0.0/31", "127.0.0.0/8", "127.1.0.0/16", "10.0.0.1", "[::1]", "[::1/128]",
         "[fe80::/10]", "127.0.0.1:1001", "[::1]:1003", "*:1002", ":1004", "*", "localhost"]  # fmt: skip
STATES = ["established", "listening", "close-wait", "fin-wait-2", "time-wait", "syn-sent", "connected", "synchronized",
          "bucket", "big", "all", "closed"]  # fmt: skip


def generate(random):
    def term(depth):
        kind = random.random()
        if depth > 0 and kind < 0.2:
            return f"( {chain(depth - 1)} )"
        if depth > 0 and kind < 0.35:
            return f"not {term(depth - 1)}"
        if kind < 0.6:
            return f"{random.choice(['src', 'dst'])} {random.choice(['', '= '])}{random.choice(HOSTS)}"
        if kind < 0.65:
            return f"dev {random.choice(['', '= ', '!= '])}{random.choice(['lo', '1', '2'])}"
        if kind < 0.7:
            return f"fwmark {random.choice(['', '= ', '!= '])}{random.choice(['7', '0', '0x7/0x4', '0x10/0xf0'])}"
        sign = random.choice(["=", "==", "eq", "!=", "ne", "neq", "<", "lt", "<=", "leq", ">", "gt", ">=", "ge", ""])
        port = random.choice([*PORTS, *(port + 10 for port in PORTS), "domain"])
        return f"{random.choice(['sport', 'dport'])} {sign} {random.choice([':', ''])}{port}"

    def chain(depth):
        words = [term(depth)]
        for _ in range(random.choice([0, 0, 1, 1, 2, 3])):
            words += [random.choice(["and", "&", "&&", "or", "|", "||", ""]), term(depth)]
        return " ".join(words)

    states = [
        f"{random.choice(['state', 'exclude'])} {random.choice(STATES)}" for _ in range(random.choice([0, 0, 1, 2]))
    ]
    return " ".join([*states, chain(2)]).split()


def selected_by_ss(words):
    done = subprocess.run(["ss", "-Htan", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
    rows = [line.replace("%lo", "").split() for line in done.stdout.splitlines()]
    # the State column is left out by ss when only one state is asked for
    return sorted((row[-2].replace("*:1", "[::]:1"), row[-1].replace("[::]:*", "*:*")) for row in rows)


def selected_by_us(words, *, use_kernel):
    selection = read_selection(words)
    mask = 0xFFF if selection.states is None else selection.states
    sockets, _ = read_sockets(
        tcp=mask, udp=0, detail=selection.needs_detail, owners=False, select=selection.matches,
        bytecode=selection.bytecode if use_kernel else b"",
    )  # fmt: skip
    return sorted((spell(one.local), spell(one.remote)) for one in sockets)


def spell(end):
    address = f"[{end.address}]" if end.is_ipv6 else end.address
    return f"{address}:{end.port or '*'}".replace("[::]:*", "*:*")


@contextmanager
def marked_and_bound():
    """A listener and a connection with a mark, and the same bound to an interface."""
    with ExitStack() as stack:
        for number, (option, value) in enumerate(((36, 7), (25, b"lo"))):  # SO_MARK, SO_BINDTODEVICE
            listener, client = (stack.enter_context(socket.socket()) for _ in range(2))
            for one in (listener, client):
                one.setsockopt(socket.SOL_SOCKET, option, value)
            listener.bind(("127.0.0.1", 1021 + number))
            listener.listen()
            client.connect(listener.getsockname())
        yield


def test_filters_select_what_ss_selects(busy_namespace):
    seeded = random.Random(9293)
    differences, non_empty = [], 0
    candidates = (generate(seeded) for _ in range(EXPRESSIONS))
    expressions = [words for words in candidates if read_selection(words).states != 0]
    with busy_namespace.entered(), marked_and_bound():
        for words in expressions:
            for use_kernel in (True, False):
                for _ in range(4):  # a TIME_WAIT may end between the two looks
                    theirs = selected_by_ss(words)
                    ours = selected_by_us(words, use_kernel=use_kernel)
                    if ours == theirs:
                        break
                non_empty += bool(theirs) and use_kernel
                if ours != theirs:
                    only = (set(ours) - set(theirs), set(theirs) - set(ours))
                    differences.append((" ".join(words), use_kernel, *only))
    for words, use_kernel, ours, theirs in differences:
        print(words, "| kernel:", use_kernel, "| ours alone:", sorted(ours)[:2], "| theirs alone:", sorted(theirs)[:2])
    print(f"{len(expressions)} expressions, {non_empty} select something, {len(differences)} differ")
    assert not differences
    assert non_empty > len(expressions) // 3
