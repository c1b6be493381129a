"""Reading dumps: rows per second of CPU for 200 000 lines of netstat, ss, lsof and /proc/net/tcp.

In this process, least of five rounds in turn: text in memory to a Snapshot with a word for every row. Remote addresses
are all different, as on a busy server. No peer reads such dumps; splitting the lines into words is printed beside.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from tcpscope.dumps.read import parse_dumps

ROWS = 200_000
ROUNDS = 5
GOAL = 400_000


def run() -> None:
    """Measure and print."""
    texts = {"netstat -anp": netstat(), "ss -tan": ss(), "lsof -nP -i": lsof(), "/proc/net/tcp": proc_net()}
    least: dict[str, tuple[float, float]] = {}
    for _ in range(ROUNDS):
        for name, text in texts.items():
            words, whole = spend_splitting(text), spend_parsing(text)
            before = least.get(name, (words, whole))
            least[name] = (min(words, before[0]), min(whole, before[1]))
    print(f"\n{ROWS} rows, least of {ROUNDS} rounds\n\n  dump             rows/s of CPU   us per row   splitting alone")
    for name, (words, whole) in least.items():
        print(f"  {name:<16} {ROWS / whole:13,.0f} {whole / ROWS * 1e6:12.2f} {words / ROWS * 1e6:17.2f}")
    for name in texts:
        reached = ROWS / least[name][1]
        print(
            f"\n  {'met' if reached >= GOAL else 'MISSED'}   {name}, rows per second: {reached:,.0f} (goal >= {GOAL:,})"
        )


def spend(work: Callable[[], object]) -> float:
    """Return the CPU seconds ``work`` takes, its result thrown away."""
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began


def spend_splitting(text: str) -> float:
    """Return the CPU seconds of splitting the lines into words, all of them kept."""
    return spend(lambda: [line.split() for line in text.split("\n")])


def spend_parsing(text: str) -> float:
    """Return the CPU seconds of one reading; check that every row became a word."""
    looks = []
    seconds = spend(lambda: looks.extend(parse_dumps(text)))
    (look,) = looks
    if len(look.sockets) != ROWS or look.coverage.unread_rows:
        raise AssertionError("rows were lost")
    return seconds


def remote(row: int) -> tuple[str, int]:
    """A remote end of its own for each row."""
    return f"10.{row >> 16 & 255}.{row >> 8 & 255}.{row & 255}", 1024 + row * 7 % 60000


def netstat() -> str:
    """A dump of a server under load."""
    owners = ("-", "812/nginx: worker", "2215/java")
    states = ("ESTABLISHED", "TIME_WAIT", "CLOSE_WAIT")
    lines = ["Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name"]
    for row in range(ROWS):
        address, port = remote(row)
        end = f"{address}:{port}"
        lines.append(
            f"tcp        0      0 10.0.{row % 7}.1:443            {end:<23} {states[row % 3]:<11} {owners[row % 3]}"
        )
    return "\n".join(lines)


def ss() -> str:
    """The same by ss."""
    lines = ["State      Recv-Q Send-Q Local Address:Port   Peer Address:Port"]
    for row in range(ROWS):
        address, port = remote(row)
        lines.append(
            f"{('ESTAB', 'TIME-WAIT', 'CLOSE-WAIT')[row % 3]:<10} 0      0      10.0.{row % 7}.1:443 {address}:{port}"
        )
    return "\n".join(lines)


def lsof() -> str:
    """The same by lsof."""
    lines = ["COMMAND   PID     USER   FD   TYPE   DEVICE SIZE/OFF NODE NAME"]
    for row in range(ROWS):
        address, port = remote(row)
        ends = f"10.0.{row % 7}.1:443->{address}:{port}"
        lines.append(
            f"nginx     {990 + row % 8} www-data {row % 9000}u  IPv4 {100000 + row} 0t0  TCP {ends} (ESTABLISHED)"
        )
    return "\n".join(lines)


def proc_net() -> str:
    """The same by procfs."""
    lines = ["  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"]
    for row in range(ROWS):
        _, port = remote(row)
        end = f"{row & 255:02X}{row >> 8 & 255:02X}{row >> 16 & 255:02X}0A:{port:04X}"
        lines.append(
            f"{row:6}: 0100000A:01BB {end} 01 00000000:00000000 00:00000000 00000000    33        0 {100000 + row} 1"
            " 0000000000000000 20 4 30 10 -1"
        )
    return "\n".join(lines)
