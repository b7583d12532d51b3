"""How fast do files come and go, against what limits them on this machine?

    python bench/transfer.py [--mib 1024] [--xet-mib 512] [--runs 3] [--folder DIR]

All in one run, so the ratios hold whatever the machine is:

    plain download   curl to /dev/null, 1 and 8 clients, against nginx with sendfile and the same
                     file (the hub verifies a checksum of every frame on the way, nginx does not)
    LFS upload       PUT of one file, against dd with fsync and then sha256sum of the same bytes
    Xet up, down     huggingface_hub with hf_xet, against hf_xet's own CAS in a folder (local://),
                     and the hub's own CPU seconds for it: raw MB a core-second

Prints medians, the ratios, the machine and its load.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests")]

from live import HOST, LiveHub, clean_environ, free_port
from raw import Raw

MIB = 2**20
MB = 10**6
UPLOAD = """
import sys; from huggingface_hub import HfApi
HfApi().upload_file(path_or_fileobj=sys.argv[1], path_in_repo='w.safetensors', repo_id='bench/xet')
"""
DOWNLOAD = """
import sys; from huggingface_hub import hf_hub_download
print(hf_hub_download('bench/xet', 'w.safetensors', local_dir=sys.argv[1]))
"""
LOCAL_UP = """
import sys, json, hf_xet
with hf_xet.XetSession().new_upload_commit(endpoint='local://' + sys.argv[2]) as commit:
    handle = commit.start_upload_file(sys.argv[1])
"""
NGINX = """
worker_processes auto; pid {folder}/nginx.pid; error_log {folder}/nginx.err; daemon off;
events {{ worker_connections 512; }}
http {{ access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
client_body_temp_path {folder}/n1; proxy_temp_path {folder}/n2; fastcgi_temp_path {folder}/n3;
uwsgi_temp_path {folder}/n4; scgi_temp_path {folder}/n5;
server {{ listen 127.0.0.1:{port}; root {folder}/files; }} }}
"""


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median_s(runs: int, work: Callable[[], object]) -> float:
    return statistics.median(timed(work) for _ in range(runs))


def curls(url: str, clients: int) -> None:
    """`clients` downloads at once; each must deliver 200."""
    command = ["curl", "-sf", "-o", "/dev/null", url]
    running = [subprocess.Popen(command) for _ in range(clients)]
    assert all(curl.wait() == 0 for curl in running), url


def cpu_s(hub: LiveHub) -> float:
    """CPU seconds that the hub's processes have used."""
    assert hub._process is not None
    total, todo = 0, [hub._process.pid]
    while todo:
        pid = todo.pop()
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
        for task in Path(f"/proc/{pid}/task").iterdir():
            todo += [int(child) for child in (task / "children").read_text().split()]
    return total / os.sysconf("SC_CLK_TCK")


def bf16(path: Path, mib: int) -> None:
    """bfloat16 values, normally distributed, as a layer's weights are."""
    rng = np.random.default_rng(5)
    with path.open("wb") as out:
        for _ in range(mib):
            values = rng.standard_normal(MIB // 2, np.float32) * 0.02
            out.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())


def plain(folder: Path, mib: int, runs: int) -> None:
    files = folder / "files"
    files.mkdir()
    source = files / "w.bin"
    with source.open("wb") as out:
        for _ in range(mib):
            out.write(os.urandom(MIB))
    port = free_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    nginx = subprocess.Popen([program, "-c", folder / "nginx.conf"])
    hub = LiveHub(folder / "plain")
    hub.start(workers=1)
    token = hub.token("bench")
    size_mb = mib * MIB / MB
    with Raw(hub.url, token) as raw:
        raw.create("bench/m")
        data = source.read_bytes()
        began = time.perf_counter()
        oid, status = raw.lfs("bench/m", data)
        lfs_s = time.perf_counter() - began
        assert status == 200
        assert raw.commit("bench/m", lfs={"w.bin": (oid, len(data))}).status == 200
    del data
    copy = folder / "copy"
    dd = ["dd", f"if={source}", f"of={copy}", "bs=1M", "conv=fsync", "status=none"]
    dd_s = median_s(runs, lambda: subprocess.run(dd, check=True))
    sha = ["sha256sum", str(source)]
    sha_s = median_s(runs, lambda: subprocess.run(sha, check=True, stdout=subprocess.DEVNULL))
    copy.unlink()
    print(f"LFS upload                 {size_mb / lfs_s:8.0f} MB/s   (one PUT, its hash by the client"  # noqa: E501
          f" included)\n  dd+fsync, then sha256sum {size_mb / (dd_s + sha_s):8.0f} MB/s   "
          f"ratio {(dd_s + sha_s) / lfs_s:.2f}")  # fmt: skip
    for workers in (1, 2):
        hub.restart(workers=workers)
        for clients in (1, 8):
            urls = {"nginx": f"http://{HOST}:{port}/w.bin",
                    "hub": f"{hub.url}/bench/m/resolve/main/w.bin"}  # fmt: skip
            seconds: dict[str, list[float]] = {"nginx": [], "hub": []}
            curls(urls["hub"], 1)
            for _ in range(runs):
                for name, url in urls.items():
                    seconds[name].append(timed(lambda url=url, n=clients: curls(url, n)))
            speed = {n: size_mb * clients / statistics.median(s) for n, s in seconds.items()}
            print(f"plain download, {clients} clients, {workers} workers: hub {speed['hub']:6.0f} "
                  f"nginx {speed['nginx']:6.0f} MB/s   ratio {speed['hub'] / speed['nginx']:.2f}",
                  flush=True)  # fmt: skip
    hub.stop()
    nginx.terminate()
    nginx.wait()
    shutil.rmtree(files)


def client(hub: LiveHub, token: str, home: Path, code: str, *args: str) -> None:
    """A real client with empty caches, in a process of its own."""
    environ = clean_environ() | {
        "HF_ENDPOINT": hub.url, "HF_TOKEN": token, "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", code, *args], check=True, env=environ,
                   stdout=subprocess.DEVNULL)  # fmt: skip


def xet(folder: Path, mib: int, runs: int) -> None:
    source = folder / "w.safetensors"
    bf16(source, mib)
    size_mb = mib * MIB / MB
    up, down, up_cpu, down_cpu, local = [], [], [], [], []
    start_s = median_s(runs, lambda: subprocess.run(
        [sys.executable, "-c", "import huggingface_hub.hf_api, hf_xet"], check=True))  # fmt: skip
    for run in range(runs):
        work = folder / f"xet{run}"
        hub = LiveHub(work / "hub")
        hub.start(workers=1)
        token = hub.token("bench")
        with Raw(hub.url, token) as raw:
            raw.create("bench/xet")
        used = cpu_s(hub)
        up.append(timed(partial(client, hub, token, work / "a", UPLOAD, str(source))))
        up_cpu.append(cpu_s(hub) - used)
        used = cpu_s(hub)
        down.append(timed(partial(client, hub, token, work / "b", DOWNLOAD, str(work / "out"))))
        down_cpu.append(cpu_s(hub) - used)
        got = (work / "out" / "w.safetensors").stat().st_size
        assert got == mib * MIB
        hub.stop()
        cas = work / "cas"
        cas.mkdir(parents=True)
        environ = clean_environ() | {"HF_HOME": str(work / "c")}
        command = [sys.executable, "-c", LOCAL_UP, str(source), str(cas)]
        limit = partial(subprocess.run, command, check=True, env=environ, timeout=120)
        local.append(timed(limit))
        shutil.rmtree(work)
    median = statistics.median
    print(f"client start-up (in every figure below): {start_s:.2f} s")
    print(f"Xet upload    {size_mb / median(up):6.0f} MB/s, the client's own limit (local://) "
          f"{size_mb / median(local):6.0f} MB/s, ratio {median(local) / median(up):.2f}; hub: "
          f"{size_mb / median(up_cpu):.0f} MB a core-second")  # fmt: skip
    print(f"Xet download  {size_mb / median(down):6.0f} MB/s; hub: "
          f"{size_mb / max(median(down_cpu), 0.01):.0f} MB a core-second")  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--mib", type=int, default=1024)
    options.add_argument("--xet-mib", type=int, default=512)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--folder", type=Path, default=None, help="where to work; default TMPDIR")
    args = options.parse_args()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    model = names[0] if names else platform.machine()
    facts = {"cores": os.cpu_count(), "cpu": model, "kernel": platform.release(),
             "load": [round(x, 1) for x in os.getloadavg()]}  # fmt: skip
    print(json.dumps(facts))
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        print(f"plain and LFS {args.mib} MiB, Xet {args.xet_mib} MiB, median of {args.runs} runs")
        plain(Path(name), args.mib, args.runs)
        xet(Path(name), args.xet_mib, args.runs)


if __name__ == "__main__":
    main()
