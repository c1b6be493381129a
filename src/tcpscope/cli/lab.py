"""``tcpscope lab``: play scenes with real sockets in private namespaces."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tcpscope.cli.parsing import new_parser

if TYPE_CHECKING:
    import argparse

    from tcpscope.lab.scene import Outcome, Scene
    from tcpscope.lab.stage import Moment, Stage

EXAMPLES = """examples:
  tcpscope lab list                       what can be shown
  tcpscope lab run states                 all eleven states, one after the other
  tcpscope lab run fin-wait-2 --explain   the story step by step, both ends at every checkpoint
  tcpscope lab run closing --keep         hold it open and print the commands to look at it
  tcpscope lab coverage                   every row of the life cycle, and who has shown it
  tcpscope lab run --json all | jq '.scenes[] | select(.ok == false)'

Every scene makes two hosts (client 10.9.0.1, server 10.9.0.2) in network namespaces of its own, plays with real
processes and sockets, and takes everything down. Needs root. Exit code 0: all as expected, 1: not.
"""


def run(argv: list[str]) -> int:
    """Run ``tcpscope lab``."""
    arguments = _parser().parse_args(argv)
    if arguments.what == "run":
        return _run(arguments)
    if arguments.what == "coverage":
        return _cover(arguments)
    return _list(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "lab", "Make any state, transition or illness of TCP for real, and show both ends of it.", EXAMPLES
    )
    commands = parser.add_subparsers(dest="what", required=True, metavar="list|run|coverage")
    listing = commands.add_parser("list", help="name the scenes")
    listing.add_argument("--json", action="store_true", help="one JSON object")
    running = commands.add_parser("run", help="play scenes")
    running.add_argument("names", nargs="+", metavar="NAME", help="a scene, a kind (state, illness ...) or all")
    running.add_argument("--explain", action="store_true", help="tell the story step by step")
    running.add_argument("--keep", action="store_true", help="hold the scene open and print how to look at it")
    running.add_argument("--pause", action="store_true", help="wait for Enter after every step")
    running.add_argument("--json", action="store_true", help="one JSON object")
    covering = commands.add_parser("coverage", help="which row of the life cycle was shown by whom")
    covering.add_argument("--slow", action="store_true", help="also play what takes a minute")
    covering.add_argument("--json", action="store_true", help="one JSON object")
    return parser


def _cover(arguments: argparse.Namespace) -> int:
    from tcpscope.lab.coverage import cover_rows, gather_evidence
    from tcpscope.views.coverage import coverage_as_json, draw_coverage

    def progress(name: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{name} ...", end="", file=sys.stderr, flush=True)

    evidence = gather_evidence(slow=arguments.slow, progress=progress)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    rows = cover_rows(evidence)
    if arguments.json:
        import json

        print(json.dumps(coverage_as_json(rows), indent=2))
    else:
        _print(draw_coverage(rows))
    return 1 if any(one.linux == "missed" for one in rows) else 0


def _list(arguments: argparse.Namespace) -> int:
    from tcpscope.lab.scene import load_scenes
    from tcpscope.views.scenes import list_scenes

    scenes = list(load_scenes().values())
    if arguments.json:
        rows = [{"name": one.name, "kind": one.kind, "title": one.title, "story": one.story} for one in scenes]
        return _print_json("tcpscope.lab/1", rows)
    _print(list_scenes(scenes))
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from tcpscope.lab.scene import find_scenes
    from tcpscope.views.scenes import as_json

    scenes = find_scenes(arguments.names)
    outcomes = [_play(scene, arguments) for scene in scenes]
    if arguments.json:
        _print_json("tcpscope.lab/1", [as_json(outcome) for outcome in outcomes])
    elif len(outcomes) > 1:
        good, skipped = sum(outcome.ok for outcome in outcomes), sum(bool(outcome.skipped) for outcome in outcomes)
        print(f"{good} of {len(outcomes)} scenes as expected" + (f", {skipped} skipped" if skipped else ""))
    return 0 if all(outcome.ok or (outcome.skipped and len(outcomes) > 1) for outcome in outcomes) else 1


def play_scenes(*names: str) -> list[Outcome]:
    """Play scenes one after the other and return what each has shown. ``tcpscope.lab`` is this.

    A kind (``state``) or ``all`` stands for several. Raises ``UsageError`` for a name there is not, ``NotPermitted``
    without root.
    """
    from tcpscope.lab.play import play_scene
    from tcpscope.lab.scene import find_scenes

    return [play_scene(scene) for scene in find_scenes(names)]


def _play(scene: Scene, arguments: argparse.Namespace) -> Outcome:
    from tcpscope.lab.play import play_scene
    from tcpscope.views.scene_ladder import SceneLadder
    from tcpscope.views.scenes import draw_checkpoint, draw_diagnosis, open_story, sum_up, tell_moment

    is_told = (arguments.explain or arguments.pause) and not arguments.json

    ladder = SceneLadder()

    def on_moment(moment: Moment) -> None:
        if is_told:
            _print(ladder.draw(moment.record))
            _print(tell_moment(moment))
        if arguments.pause:
            _wait_for_enter()

    def hold(stage: Stage) -> None:
        if arguments.keep:
            _hold(stage)

    if is_told:
        _print(open_story(scene))
    outcome = play_scene(scene, on_moment, hold)
    if arguments.json:
        return outcome
    if not is_told and outcome.ok:
        # Why: the last checkpoint says it all; a scene without any has shown its facts alone.
        _print(line for checkpoint in outcome.checkpoints[-1:] for line in draw_checkpoint(checkpoint))
        _print(f"  {fact.text}: {fact.shown}" for fact in outcome.facts if not outcome.checkpoints)
        _print(line for diagnosis in outcome.diagnoses for line in draw_diagnosis(diagnosis))
    _print(sum_up(outcome))
    print()
    return outcome


def _hold(stage: Stage) -> None:
    """Print how to look at the hosts from another terminal, and wait until a person has seen enough."""
    print("The scene is held open. In another terminal, as root:", file=sys.stderr)
    for host in stage.sandbox.hosts:
        print(f"  nsenter --net={host.namespace.path} ss -tanpo       # {host.name}", file=sys.stderr)
    print(f"  nsenter --net={stage.server.namespace.path} tcpscope doctor", file=sys.stderr)
    print("Enter (or Ctrl-C) takes it down.", file=sys.stderr)
    _wait_for_enter()


def _wait_for_enter() -> None:
    sys.stdout.flush()
    sys.stdin.readline()


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _print_json(schema: str, scenes: Sequence[object]) -> int:
    import json

    print(json.dumps({"schema": schema, "scenes": scenes}, indent=2))
    return 0
