"""Healthy and busy: real servers under load, and nothing above info to say about either host.

The servers come from the system's packages; a scene whose server is not installed is skipped aloud. Each runs with a
configuration of its own in a temporary folder, as a child of the laboratory, and never as a service.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable

from tcpscope.doctor import diagnose
from tcpscope.kernel.sandbox import Host
from tcpscope.lab.look import look_at
from tcpscope.lab.scene import scene
from tcpscope.lab.stage import PORT, Stage
from tcpscope.live.snapshot import take_snapshot
from tcpscope.model.finding import Severity
from tcpscope.model.state import State

LOAD_S = 4


def _wait_for_listener(stage: Stage, port: int) -> None:
    def is_listening() -> bool:
        return any(one.state == State.LISTEN and one.local.port == port for one in look_at(stage.server))

    stage.verify(f"something listens on port {port}", True, stage.wait_until(is_listening, 20))


def _look_under_load(stage: Stage, load: subprocess.Popen[bytes], least: Callable[[], int]) -> None:
    """Look twice while the load runs, at both hosts; the load must really have been there."""
    time.sleep(1)
    for host in (stage.client, stage.server):
        stage.look_first(host)
    time.sleep(1)
    busy = least()
    for host in (stage.server, stage.client):
        stage.diagnose(host)
        _verify_single_look(stage, host)
    stage.verify("connections were in use", True, busy > 0)
    load.wait(timeout=60)


def _verify_single_look(stage: Stage, host: Host) -> None:
    """``tcpscope`` alone looks once: sockets that come and go meanwhile must not alarm it either."""
    findings = diagnose(take_snapshot(netns=host.namespace.path))
    alarms = [finding.id for finding in findings if finding.severity > Severity.INFO]
    stage.verify(f"what a single look at the {host.name} finds", [], alarms)


def _established(stage: Stage, port: int) -> int:
    return sum(one.state == State.ESTABLISHED and one.local.port == port for one in look_at(stage.server))


def _start_nginx(stage: Stage, folder: str) -> None:
    os.chmod(folder, 0o755)
    with open(f"{folder}/nginx.conf", "w") as file:
        file.write(
            f"daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 2;\n"
            "events { worker_connections 4096; }\n"
            f"http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;\n"
            f"  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
            '  keepalive_requests 100000; server { listen 80; location / { return 200 "hello\\n"; } } }\n'
        )
    stage.server.start(stage.need("nginx"), "-c", f"{folder}/nginx.conf", "-p", folder)
    _wait_for_listener(stage, 80)


def _wrk(stage: Stage, *options: str) -> subprocess.Popen[bytes]:
    url = f"http://{stage.server.address}/"
    return stage.client.start(stage.need("wrk"), "-t1", "-c20", f"-d{LOAD_S}s", *options, url)


@scene("healthy", "nginx under wrk, keep-alive")
def healthy_nginx_keepalive(stage: Stage) -> None:
    """Twenty connections, thousands of requests per second on them."""
    with tempfile.TemporaryDirectory() as folder:
        _start_nginx(stage, folder)
        _look_under_load(stage, _wrk(stage), lambda: _established(stage, 80))


@scene("healthy", "nginx under wrk, a connection for each request")
def healthy_nginx_close(stage: Stage) -> None:
    """Thousands of connections per second, each closed by the server: a great pile of TIME_WAIT, and all is well."""
    with tempfile.TemporaryDirectory() as folder:
        _start_nginx(stage, folder)
        load = _wrk(stage, "-H", "Connection: close")
        _look_under_load(stage, load, lambda: sum(one.state == State.TIME_WAIT for one in look_at(stage.server)))


@scene("healthy", "PostgreSQL with an idle pool")
def healthy_postgresql_idle_pool(stage: Stage) -> None:
    """Fifteen sessions that were used once and then wait in a pool, as they do all night."""
    setpriv, initdb, postgres = stage.need("setpriv"), stage.need("initdb"), stage.need("postgres")
    psql = stage.need("psql")
    as_postgres = [setpriv, "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    with tempfile.TemporaryDirectory() as folder:
        stage.server.run("chown", "postgres", folder)
        data = f"{folder}/data"
        stage.server.run(*as_postgres, initdb, "-D", data, "-A", "trust", "-N", timeout_s=60)
        with open(f"{data}/pg_hba.conf", "a") as file:
            file.write("host all all 10.9.0.0/24 trust\n")
        listen = ["-c", f"listen_addresses={stage.server.address}", "-c", f"unix_socket_directories={folder}"]
        stage.server.start(*as_postgres, postgres, "-D", data, *listen, "-c", "fsync=off")
        _wait_for_listener(stage, 5432)
        pool = [stage.client.start(psql, "-qAt", "-h", stage.server.address, "-U", "postgres") for _ in range(15)]
        for session in pool:
            assert session.stdin is not None and session.stdout is not None
            session.stdin.write(b"select 1;\n")
            session.stdin.flush()
            session.stdout.readline()
        stage.verify("sessions", 15, _established(stage, 5432))
        for host in (stage.client, stage.server):
            stage.look_first(host)
        time.sleep(1.5)
        for host in (stage.server, stage.client):
            stage.diagnose(host)


@scene("healthy", "Redis under redis-benchmark")
def healthy_redis(stage: Stage) -> None:
    """Fifty clients that never pause."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--bind", stage.server.address, "--protected-mode", "no", "--save", "", "--dir", folder]
        stage.server.start(stage.need("redis-server"), *options)
        _wait_for_listener(stage, 6379)
        benchmark = [stage.need("redis-benchmark"), "-h", stage.server.address, "-c", "50", "-q", "-t", "set,get"]
        load = stage.client.start("timeout", str(LOAD_S), *benchmark, "-n", "100000000")
        _look_under_load(stage, load, lambda: _established(stage, 6379))


@scene("healthy", "an SSH session with a half-closed connection through it")
def healthy_ssh_half_close(stage: Stage) -> None:
    """An idle session, and a forwarded connection whose client has said all it had to say and still receives."""
    sshd, ssh, keygen = stage.need("sshd"), stage.need("ssh"), stage.need("ssh-keygen")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("host", "user"):
            stage.server.run(keygen, "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}")
        _start_sshd(stage, sshd, folder)
        target = stage.actor(stage.server, "target").listen(PORT, address="127.0.0.1")
        stage.client.start(
            ssh, "-N", "-F", "none", "-i", f"{folder}/user", "-o", "StrictHostKeyChecking=no",
            "-o", f"UserKnownHostsFile={folder}/known", "-L", f"127.0.0.1:{PORT}:127.0.0.1:{PORT}",
            f"root@{stage.server.address}",
        )  # fmt: skip
        client = stage.actor(stage.client)
        stage.verify("the tunnel is up", True, stage.wait_until(lambda: _can_connect(stage), 15))
        near = client.connect("127.0.0.1", PORT)
        far = target.accept()
        near.send(b"a question")
        stage.verify("the question", b"a question", far.recv())
        near.shutdown()
        stage.verify("the end of the question", b"", far.recv())
        for host in (stage.client, stage.server):
            stage.look_first(host)
        time.sleep(0.5)
        far.send(b"an answer that takes its time")
        stage.verify("the answer", b"an answer that takes its time", near.recv())
        time.sleep(0.5)
        for host in (stage.server, stage.client):
            stage.diagnose(host)


def _start_sshd(stage: Stage, sshd: str, folder: str) -> None:
    with open(f"{folder}/sshd_config", "w") as file:
        file.write(
            f"ListenAddress {stage.server.address}:22\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nPermitRootLogin prohibit-password\n"
        )
    # sshd wants an empty folder /run/sshd: it gets one that nobody else sees, in its own mount namespace.
    prepare = "mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec"
    stage.server.start("sh", "-c", f"{prepare} {sshd} -D -e -f {folder}/sshd_config 2>{folder}/log")
    _wait_for_listener(stage, 22)


def _can_connect(stage: Stage) -> bool:
    return any(one.state == State.LISTEN and one.local.port == PORT for one in look_at(stage.client))
