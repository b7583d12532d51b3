"""A real nginx with the shipped configuration, in front of a hub.

Only the port, the upstream's address and nginx's own scratch folders are ours.
"""

import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from live import HOST, free_port

SHIPPED = Path(__file__).resolve().parents[1] / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
START_S_MAX = 10.0
SCRATCH = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def site(port: int, upstream_port: int) -> str:
    """The shipped file with its two addresses exchanged; each must be there exactly once."""
    text = SHIPPED.read_text("utf-8")
    for pattern, ours in (
        (r"listen 80;", f"listen {HOST}:{port};"),
        (r"server 127\.0\.0\.1:8765;", f"server {HOST}:{upstream_port};"),
    ):
        text, times = re.subn(pattern, ours, text)
        assert times == 1, pattern
    return text


@contextlib.contextmanager
def nginx(folder: Path, upstream_port: int) -> Iterator[int]:
    """The port of an nginx that leads to `upstream_port`."""
    folder.chmod(0o755)
    port = free_port()
    (folder / "site.conf").write_text(site(port, upstream_port), "utf-8")
    scratch = "\n".join(f"    {name}_temp_path {folder}/{name};" for name in SCRATCH)
    config = folder / "nginx.conf"
    config.write_text(
        f"""daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
{scratch}
    include {folder}/site.conf;
}}
""",
        "utf-8",
    )
    command = [str(NGINX), "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(START_S_MAX)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.02)
    raise AssertionError("nginx did not begin to listen")
