"""The page of all scenes, made from their register: what each of them shows, and which finding has which trap."""

from __future__ import annotations

from collections.abc import Iterator

from tcpscope.doctor.catalogue import CATALOGUE
from tcpscope.lab.scene import KINDS, Scene, load_scenes
from tcpscope.lab.walk.walk import NOT_ON_LINUX, OTHERWISE


def all_pages() -> Iterator[tuple[str, str]]:
    """Yield (path below docs, text)."""
    yield "reference/scenes.md", "\n".join(_page(list(load_scenes().values()))) + "\n"


def _page(scenes: list[Scene]) -> Iterator[str]:
    yield "# Scenes of the laboratory"
    yield ""
    yield "Generated from `lab/scenes/`. `tcpscope lab run NAME` plays one, `--explain` tells its story."
    yield ""
    yield "## Findings, the scenes that make them, and the traps that look like them"
    yield ""
    yield "The doctor must find the illness in its scene, must not say it of the trap, and must say nothing else above"
    yield "info of either that no other finding explains."
    yield ""
    yield "| finding | illness | trap |"
    yield "|---|---|---|"
    for entry in CATALOGUE.values():
        if entry.verified:
            made, looks = (_names(scenes, kind, entry.id) for kind in ("illness", "trap"))
            yield f"| [{entry.id}](findings/{entry.id}.md) | {made} | {looks} |"
    yield ""
    for kind, meaning in KINDS.items():
        yield f"## {kind}: {meaning}"
        yield ""
        for scene in scenes:
            if scene.kind == kind:
                yield f"- **{scene.name}**: {scene.title}. {scene.story}"
        yield ""
    yield "## What Linux does otherwise than the life cycle, as shown by the scenes `rows-of-...`"
    yield ""
    yield "| row | Linux: state afterwards, answer | why |"
    yield "|---|---|---|"
    for name, (after, sends, why) in OTHERWISE.items():
        yield f"| `{name}` | {after.name}, {sends.name} | {why} |"
    yield ""
    yield "## What a Linux kernel cannot be brought to"
    yield ""
    yield from (f"- `{name}`: {why}" for name, why in NOT_ON_LINUX.items())


def _names(scenes: list[Scene], kind: str, finding: str) -> str:
    return ", ".join(f"`{scene.name}`" for scene in scenes if scene.kind == kind and scene.finding == finding)
