"""A real S3 server for tests: Ceph's radosgw over one OSD in memory, on loopback, gone afterwards.

    with ceph() as server:            a few seconds; raises NotHere when Ceph is not installed
        server.bucket()               the name of a new bucket
        with server.gateway() as url  another gateway to the same data, to be killed by a test
        server.env                    what the hub needs to reach it

Debian: ceph-mon, ceph-osd, ceph-common, radosgw. No root, no systemd; everything lies in one
temporary folder and every process is our child.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.store import S3Store

NEEDED = ("ceph-mon", "ceph-osd", "ceph", "radosgw", "radosgw-admin", "monmaptool")
KEY, SECRET = "AKIATEST", "not-a-secret"
START_S = 60.0

CONFIG = """
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon},v1:127.0.0.1:{mon_v1}]
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = true
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
run_dir = {folder}
admin_socket = {folder}/$name.$pid.asok
pid_file = {folder}/$name.$pid.pid
keyring = {folder}/keyring
log_file = {folder}/$name.log
[mon.a]
mon_data = {folder}/mon
mon_data_avail_crit = 1
mon_data_avail_warn = 1
[osd]
osd_objectstore = memstore
memstore_device_bytes = 2147483648
osd_data = {folder}/osd
[client.rgw]
rgw_dns_name = localhost
rgw_thread_pool_size = 32
rgw_enable_usage_log = false
"""


class NotHere(Exception):
    """Ceph is not installed; the message says what is missing."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(ready: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + START_S
    while not ready():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"{what} did not start in {START_S:.0f} s")
        time.sleep(0.1)


@dataclass
class Gateway:
    """One radosgw process."""

    url: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def answers(self) -> bool:
        try:
            urllib.request.urlopen(self.url, timeout=5).close()
        except OSError:
            return False
        return True


@dataclass
class Ceph:
    """A running cluster; `url` is its first gateway."""

    folder: Path
    url: str = ""

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def client(self, bucket: str, prefix: str | None = None) -> S3Store:
        """A client of our own, to look behind the store's back."""
        return S3Store(
            bucket,
            prefix=prefix,
            endpoint=self.url,
            access_key_id=KEY,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
        )

    def bucket(self) -> str:
        name = f"bucket-{secrets.token_hex(4)}"
        # The library makes no buckets, but it signs any address: PUT of the bucket's own makes it.
        url = obstore.sign(self.client(name), "PUT", "", timedelta(seconds=60))
        urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=30).close()
        return name

    @contextmanager
    def gateway(self) -> Iterator[Gateway]:
        port = free_port()
        command = ["radosgw", "-f", "-n", "client.rgw"]
        frontend = f"--rgw_frontends=beast endpoint=127.0.0.1:{port} tcp_nodelay=1"
        with self._daemon(*command, frontend) as process:
            gateway = Gateway(f"http://127.0.0.1:{port}", process)
            wait_for(gateway.answers, "radosgw")
            yield gateway

    def run(self, *command: str) -> str:
        name, *rest = command
        full = [name, "-c", str(self.folder / "ceph.conf"), *rest]
        done = subprocess.run(full, capture_output=True, text=True, timeout=START_S)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    @contextmanager
    def _daemon(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        name, *rest = command
        full = [name, "-c", str(self.folder / "ceph.conf"), *rest]
        with (self.folder / "output.log").open("ab") as log:
            process = subprocess.Popen(full, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _keyring(folder: Path) -> None:
    caps = {
        "mon.": {"mon": "allow *"},
        "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
        "client.rgw": {"mon": "allow *", "osd": "allow *"},
        "client.admin": {"mon": "allow *", "osd": "allow *"},
    }
    for number, (name, allowed) in enumerate(caps.items()):
        command = ["ceph-authtool", str(folder / "keyring"), "--gen-key", "-n", name]
        for kind, cap in allowed.items():
            command += ["--cap", kind, cap]
        if not number:
            command.append("-C")
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def ceph() -> Iterator[Ceph]:
    """A cluster of one monitor, one OSD and one gateway. NotHere when Ceph is not installed."""
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        raise NotHere(
            f"no {', '.join(missing)}: apt-get install ceph-mon ceph-osd ceph-common radosgw"
        )
    # Sockets have short names: not in a folder of pytest's.
    with tempfile.TemporaryDirectory(prefix="rgw-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for inner in ("mon", "osd"):
            (folder / inner).mkdir()
        fsid, mon, mon_v1 = str(uuid.uuid4()), free_port(), free_port()
        config = CONFIG.format(fsid=fsid, mon=mon, mon_v1=mon_v1, folder=folder)
        (folder / "ceph.conf").write_text(config)
        _keyring(folder)
        addresses = f"[v2:127.0.0.1:{mon},v1:127.0.0.1:{mon_v1}]"
        monmap = str(folder / "monmap")
        subprocess.run(
            ["monmaptool", "--create", "--addv", "a", addresses, "--fsid", fsid, monmap],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        server = Ceph(folder)
        key = ("--keyring", str(folder / "keyring"))
        server.run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap, *key)
        with server._daemon("ceph-mon", "-f", "-i", "a"):
            osd = str(uuid.uuid4())
            server.run("ceph", "osd", "new", osd)
            server.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
            with server._daemon("ceph-osd", "-f", "-i", "0"):
                wait_for(lambda: "1 up" in server.run("ceph", "osd", "stat"), "ceph-osd")
                user = ("--uid=hub", "--display-name=hub", f"--access-key={KEY}")
                server.run("radosgw-admin", "user", "create", *user, f"--secret={SECRET}")
                with server.gateway() as first:
                    server.url = first.url
                    yield server


def env_of(server: Ceph) -> dict[str, str]:
    """The environment of a process that is to reach it."""
    return {**os.environ, **server.env}
