"""sysctl-lint: settings that hurt; and the kernel's own."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.stage import PORT, Stage


@scene("illness", "settings from bad advice", finding="sysctl-lint")
def sysctl_lint(stage: Stage) -> None:
    """Cookies off, timestamps off: a flood becomes an outage, and TIME_WAIT can no longer be reused safely."""
    stage.actor(stage.server).listen(PORT)
    stage.server.set_sysctl("net.ipv4.tcp_syncookies", 0)
    stage.server.set_sysctl("net.ipv4.tcp_timestamps", 0)
    stage.diagnose(stage.server, "sysctl-lint")


@scene("trap", "the settings the kernel comes with", finding="sysctl-lint")
def default_settings(stage: Stage) -> None:
    """A fresh namespace has the kernel's defaults: nothing to say about them."""
    stage.actor(stage.server).listen(PORT)
    stage.diagnose(stage.server, never=["sysctl-lint"])
