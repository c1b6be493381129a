"""Kernel settings explained, and widespread wrong advice; the data stands in ``sysctl_table`` and ``sysctl_around``."""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section, fold, prose_sections
from tcpscope.explain.sysctl_around import AROUND
from tcpscope.explain.sysctl_table import TCP_SETTINGS, Setting

#: TCP's own settings first, then those of the layers around it.
SETTINGS: tuple[Setting, ...] = (*TCP_SETTINGS, *AROUND)

_BY_NAME = {fold(setting.name): setting for setting in SETTINGS} | {
    fold(setting.name.rpartition(".")[2]): setting for setting in SETTINGS
}


def setting_named(text: str) -> Setting | None:
    """Return the sysctl of this name, dotted, with slashes (``/proc/sys/...``) or by its last part, or ``None``.

    ``sysctl -w`` before it and a value behind it do not matter.
    """
    name = text.strip().removeprefix("/proc/sys/").replace("/", ".").partition("=")[0]
    if fold(name).startswith("sysctl"):
        name = fold(name).removeprefix("sysctl").removeprefix("w")
    return _BY_NAME.get(fold(name))


def explain_setting(setting: Setting) -> Answer:
    """Explain one sysctl."""
    grid = Grid(
        ("", ""), (("default", setting.default), ("holds for", setting.scope), ("a change acts on", setting.acts))
    )
    sections = (
        Section("Setting", grid=grid),
        *prose_sections(("Advice", setting.advice), ("Wrong advice", setting.wrong)),
    )
    keep = (
        ()
        if "not exist" in setting.default
        else (
            Section(
                "See it",
                commands=(f"sysctl {setting.name}",),
                paragraphs=("sysctl -w acts at once and is gone after a restart; a file in /etc/sysctl.d keeps it.",),
            ),
        )
    )
    return Answer(
        "sysctl", setting.name, setting.name, setting.does, (*sections, *keep), setting.see_also, setting._asdict()
    )


def explain_settings() -> Answer:
    """List the sysctls."""
    rows = tuple((setting.name, setting.default, setting.does) for setting in SETTINGS)
    return Answer(
        "sysctls",
        "sysctls",
        "Kernel settings",
        "Settings that touch TCP's states, with the defaults of Linux 6.18.",
        (Section("Settings", grid=Grid(("sysctl", "default", "what it does"), rows)),),
        ("advice", "timers"),
        {"sysctls": [setting.name for setting in SETTINGS]},
    )


#: Advice about no single setting that is often given and wrong.
WRONG_ADVICE: tuple[tuple[str, str], ...] = (
    (
        "kill -9 one PID to free the port",
        "A forked sibling holds the same socket; nothing is freed until the last holder is gone (measured).",
    ),
    (
        "SO_LINGER 0 everywhere",
        "It discards queued data and resets the peer, to save TIME_WAIT that costs almost nothing.",
    ),
    (
        "count all TIME_WAIT against the port range",
        (
            "Ports are used up per destination: 10 ports gave 10 connections to one server and 10 more to another"
            " (measured)."
        ),
    ),
    ("CLOSE_WAIT is a network problem", "The FIN has arrived and is acknowledged. Only the local program can go on."),
    ("wait 2 MSL before a restart", "SO_REUSEADDR on the old and on the new listener lets it bind at once (measured)."),
    ("netstat -p in a loop on a big host", "18.3 s per run with 200,000 socket descriptors on the machine (measured)."),
    ("thresholds on counters since boot", "A counter only grows; rates between two samples mean something."),
)


def explain_advice() -> Answer:
    """List widespread wrong advice."""
    rows = tuple((f"{setting.name.rpartition('.')[2]}", setting.wrong) for setting in SETTINGS if setting.wrong)
    sections = (
        Section("About settings", grid=Grid(("setting", "wrong"), rows)),
        Section("About the rest", grid=Grid(("advice", "why not"), WRONG_ADVICE)),
    )
    return Answer(
        "advice",
        "advice",
        "Wrong advice",
        "What is often recommended and does not help, or harms.",
        sections,
        ("claims", "sysctls"),
        {"advice": [name for name, _ in WRONG_ADVICE]},
    )
