"""``tcpscope simulate``: the endpoint against itself over a network in virtual time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from tcpscope.cli.parsing import add_names_option, new_parser
from tcpscope.cli.streams import write
from tcpscope.machine.congestion import ALGORITHMS
from tcpscope.machine.profile import LINUX, PROFILES, Profile
from tcpscope.model.errors import UsageError
from tcpscope.model.simulated import Step
from tcpscope.stack.network import MS, Link
from tcpscope.stack.simulation import fairness, loss_table, play, transfer
from tcpscope.stack.stories import STORIES
from tcpscope.views.simulation import draw_story, render_loss_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

_Number = TypeVar("_Number", int, float)
_CLEAR = Link()  #: 100 ms there and back, nothing lost

EPILOG = """examples:
  tcpscope simulate                                   the stories there are
  tcpscope simulate simultaneous-close                the ladder, with both ends' states
  tcpscope simulate three-lost --windows              congestion window, flight, peer's window at each segment
  tcpscope simulate normal --loss 0.1 --seed 7        the same story on a bad path
  tcpscope simulate --transfer 10M --loss 0.02 --congestion cubic
  tcpscope simulate --table --rtt 100 --buffers 4096,32768 --losses 0,0.01,0.05
  tcpscope simulate --transfer 1M --mtu 1400 --black-hole --mtu-probing 1
  tcpscope simulate --transfer 2M --flows 4 --rate 1M --queue 64k --congestion newreno

Nothing is sent and nothing waits: time is virtual, equal seeds give equal runs."""


def run(argv: list[str]) -> int:
    """Run ``tcpscope simulate``."""
    parser = new_parser("simulate", "Play TCP over a simulated network in virtual time.", EPILOG)
    _add_options(parser)
    options = parser.parse_args(argv)
    if options.table:
        return _run_table(options)
    if options.transfer:
        return _run_transfer(options)
    if options.story is None:
        width = max(map(len, STORIES))
        write("".join(f"{story.name:<{width}}  {story.title}\n" for story in STORIES.values()))
        return 0
    return _run_story(options)


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument("story", nargs="?", metavar="STORY", help="which story; without: list them")
    parser.add_argument("--windows", action="store_true", help="windows of the sender beside each segment")
    add_names_option(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    path = parser.add_argument_group("the path, both directions")
    path.add_argument("--rtt", type=float, default=100.0, metavar="MS", help="round-trip time (default 100 ms)")
    path.add_argument("--loss", type=_chance, default=0.0, metavar="P", help="chance to lose a segment, 0 to 1")
    path.add_argument("--reorder", type=_chance, default=0.0, metavar="P", help="chance to come 20 ms late")
    path.add_argument("--duplicate", type=_chance, default=0.0, metavar="P", help="chance to come twice")
    path.add_argument("--corrupt", type=_chance, default=0.0, metavar="P", help="chance to arrive damaged")
    path.add_argument("--rate", type=_size, default=0, metavar="BYTES", help="octets per second (default: no limit)")
    path.add_argument("--queue", type=_size, default=0, metavar="BYTES", help="room in front of the link")
    path.add_argument("--mtu", type=_size, default=0, metavar="BYTES", help="longest packet that passes (default: any)")
    path.add_argument("--black-hole", action="store_true", help="longer packets vanish: no ICMP error tells the sender")
    path.add_argument("--seed", type=int, default=1, help="seed of all chance (default 1)")
    ends = parser.add_argument_group("the ends")
    ends.add_argument("--profile", choices=tuple(PROFILES), default="linux", help="personality (default linux)")
    ends.add_argument(
        "--congestion", choices=tuple(ALGORITHMS), help="default: that of the profile; none: a clear path"
    )
    ends.add_argument(
        "--mtu-probing", type=int, choices=(0, 1, 2), help="RFC 4821: 0 never, 1 after a black hole, 2 from the start"
    )
    ends.add_argument("--buffer", type=_size, metavar="BYTES", help="send and receive buffer")
    work = parser.add_argument_group("measure")
    work.add_argument("--transfer", type=_size, metavar="BYTES", help="send so much and report the throughput")
    work.add_argument("--flows", type=_count, default=1, help="so many transfers at once over the same path")
    work.add_argument("--table", action="store_true", help="throughput by loss and buffer")
    work.add_argument("--losses", default="0,0.001,0.01,0.02,0.05,0.1,0.2,0.3", metavar="P,P,...")
    work.add_argument("--buffers", default="4096,32768", metavar="BYTES,...")
    work.add_argument("--bytes", type=_size, default=10 << 20, help="per cell of the table (default 10M)")


def _link(options: Namespace) -> Link:
    delay_ns = int(options.rtt * MS / 2)
    if not 0 <= delay_ns <= 10**12:
        raise UsageError(f"simulate: a round trip of {options.rtt} ms makes no sense")
    return Link(
        delay_ns,
        options.loss,
        options.duplicate,
        options.reorder,
        rate=options.rate,
        queue_bytes=options.queue,
        corrupt=options.corrupt,
        mtu_bytes=options.mtu,
        black_hole=options.black_hole,
    )


def _profile(options: Namespace) -> Profile:
    profile = PROFILES[options.profile]
    if options.congestion:
        profile = profile._replace(congestion=options.congestion)
    if options.mtu_probing is not None:
        profile = profile._replace(mtu_probing=options.mtu_probing)
    if options.buffer:
        size = options.buffer
        profile = profile._replace(receive_buffer_bytes=size, send_buffer_bytes=size, scaled_for_bytes=0)
    return profile


def play_story(name: str, *, link: Link = _CLEAR, profile: Profile = LINUX, seed: int = 1) -> list[Step]:
    """Play a story over ``link`` in both directions; return its steps. ``tcpscope.simulate`` is this.

    Two endpoints of ``profile`` in virtual time: the same ``seed`` gives the same steps. Raises ``UsageError`` for a
    story there is not.
    """
    story = STORIES.get(name)
    if story is None:
        raise UsageError(f"simulate: no story {name!r}; known: {' '.join(STORIES)}")
    return play(story, profile=profile, links=(link, link), seed=seed)


def _run_story(options: Namespace) -> int:
    steps = play_story(options.story, link=_link(options), profile=_profile(options), seed=options.seed)
    story = STORIES[options.story]
    if options.json:
        objects = [
            step._asdict() | {"states": [state.name for state in step.states], "numbers": list(step.numbers)}
            for step in steps
        ]
        _write_json({"story": story.name, "title": story.title, "steps": objects})
        return 0
    write(f"{story.title}\n\n")
    for line in draw_story(steps, options.names, windows=options.windows):
        write(line + "\n")
    return 0


def _run_transfer(options: Namespace) -> int:
    link = _link(options)
    done = transfer(
        options.transfer, profile=_profile(options), links=(link, link), seed=options.seed, flows=options.flows
    )
    if options.json:
        flows = [one._asdict() | {"bytes_per_second": round(one.bytes_per_second)} for one in done]
        _write_json({"flows": flows, "fairness": round(fairness(done), 4)})
        return 0
    for number, one in enumerate(done, 1):
        write(
            f"flow {number}: {one.bytes_delivered} octets in {one.duration_ns / 1e9:.2f} s, "
            f"{one.bytes_per_second:.0f} B/s, {one.retransmits} retransmitted, {one.timeouts} timeouts\n"
        )
    if len(done) > 1:
        write(f"fairness (Jain) {fairness(done):.3f}\n")
    return 0


def _run_table(options: Namespace) -> int:
    losses = _list(options.losses, _chance)
    buffers = _list(options.buffers, _size)
    progress = _Progress(len(losses) * len(buffers))
    rows = loss_table(
        losses,
        buffers,
        profile=_profile(options),
        rtt_ns=int(options.rtt * MS),
        octets=options.bytes,
        seed=options.seed,
        on_cell=progress.advance,
    )
    if options.json:
        cells = [
            {"buffer_bytes": size, "bytes_per_second": [round(one.bytes_per_second) for one in transfers]}
            for size, transfers in rows
        ]
        _write_json({"rtt_ms": options.rtt, "losses": losses, "rows": cells})
        return 0
    write(render_loss_table(losses, rows))
    return 0


class _Progress:
    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0

    def advance(self) -> None:
        self.done += 1
        if sys.stderr.isatty():
            end = "\r" if self.done < self.total else "\r\033[K"
            print(f"simulated {self.done} of {self.total} cells", end=end, file=sys.stderr, flush=True)


def _write_json(body: dict[str, object]) -> None:
    import json

    write(json.dumps({"schema": "tcpscope.simulate/1", **body}) + "\n")


def _list(text: str, read: Callable[[str], _Number]) -> list[_Number]:
    try:
        return [read(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"simulate: {error}") from None


def _chance(text: str) -> float:
    value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= value < 1:
        raise ValueError(f"{text!r} is no chance from 0 to 1")
    return value


def _size(text: str) -> int:
    units = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    scale = units.get(text[-1:].lower(), 1)
    value = int(float(text[:-1] if scale > 1 else text) * scale)
    if not 0 < value <= 1 << 40:
        raise ValueError(f"{text!r} is no amount of octets")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1000:
        raise ValueError(f"{text!r} is no count from 1 to 1000")
    return value
