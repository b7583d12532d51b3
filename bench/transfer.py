"""How fast do files come and go, against what limits them on this machine?

    python bench/transfer.py [--mib 1024] [--xet-mib 512] [--runs 3] [--folder DIR] [--only PART]

All in one run, each pair by turns, so the ratios hold whatever the machine is:

    plain   curl to /dev/null, 1 and 8 clients, against nginx with sendfile and the same file
            (the hub verifies a checksum of every frame on the way, nginx does not)
    lfs     PUT of one file by curl, against dd with fsync and then sha256sum of the same bytes
    xet     huggingface_hub with hf_xet, against hf_xet's own CAS in a folder (local://), and the
            hub's own CPU seconds for it: raw MB a core-second

Works in /dev/shm when that has room, else in TMPDIR; there fsync costs nothing, so give --folder
to see what a disk does to uploads. Prints medians with their ranges, machine and load.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests")]

from live import HOST, LiveHub, clean_environ, free_port
from raw import Raw

MIB = 2**20
MB = 10**6
ROOM_FACTOR = 6  # source, the hub's copy, the client's caches, and as much again to spare
CLIENTS = 8
PLAIN_RATIO_MIN = 0.8  # of nginx: the project's standing aim
CORE_MB_MIN = {"upload": 200, "download": 400}  # what the project aims at, raw MB a core-second
UPLOAD = """
import sys; from huggingface_hub import HfApi
HfApi().upload_file(path_or_fileobj=sys.argv[1], path_in_repo='w.safetensors', repo_id=sys.argv[2])
"""
DOWNLOAD = """
import sys; from huggingface_hub import hf_hub_download
hf_hub_download(sys.argv[1], 'w.safetensors', local_dir=sys.argv[2])
"""
# hf_xet alone, after the SHA-256 that huggingface_hub makes of a file before it uploads.
LOCAL_UP = """
import sys, time, json, huggingface_hub.hf_api, hf_xet
from huggingface_hub.utils.sha import sha_fileobj
began = time.perf_counter()
with open(sys.argv[1], 'rb') as file:
    sha256 = sha_fileobj(file).hex()
sha_s = time.perf_counter() - began
with hf_xet.XetSession().new_upload_commit(endpoint='local://' + sys.argv[2]) as commit:
    handle = commit.start_upload_file(sys.argv[1], sha256=sha256)
info = handle.result().xet_info
print(json.dumps([sha_s, info.hash, info.file_size]))
"""
LOCAL_DOWN = """
import sys, huggingface_hub, hf_xet
with hf_xet.XetSession().new_file_download_group(endpoint='local://' + sys.argv[1]) as group:
    group.start_download_file(hf_xet.XetFileInfo(sys.argv[2], int(sys.argv[3])), sys.argv[4])
"""
NGINX = """
{user} worker_processes auto; pid {folder}/nginx.pid; error_log {folder}/nginx.err; daemon off;
events {{ worker_connections 512; }} http {{ access_log off; sendfile on; tcp_nopush on;
default_type application/octet-stream; client_body_temp_path {folder}/n1;
proxy_temp_path {folder}/n2; fastcgi_temp_path {folder}/n3; uwsgi_temp_path {folder}/n4;
scgi_temp_path {folder}/n5;
server {{ listen 127.0.0.1:{port}; root {folder}/files; }} }}
"""


@contextmanager
def serving(folder: Path, workers: int = 1) -> Iterator[LiveHub]:
    """A hub in `folder`, stopped at the end; a failure leaves no server behind."""
    hub = LiveHub(folder)
    try:
        hub.start(workers=workers)
        yield hub
        hub.stop()
    finally:
        hub.kill()


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def speed(size_mb: float, seconds: list[float]) -> float:
    return size_mb / max(statistics.median(seconds), 0.01)  # CPU clocks tick in 10 ms


def show(what: str, size_mb: float, ours: list[float], limit: list[float], more: str) -> float:
    """A line of the table: ours, what limits it, and the ratio of the two, which it returns."""
    low, high = size_mb / max(ours), size_mb / min(ours)
    mine, best = speed(size_mb, ours), speed(size_mb, limit)
    print(f"{what:37}{mine:8.0f} ({low:5.0f}-{high:5.0f}){best:9.0f}{mine / best:8.2f}  {more}")
    sys.stdout.flush()
    return mine / best


def curls(url: str, clients: int) -> None:
    """`clients` downloads at once; each must deliver 200."""
    command = ["curl", "-sf", "-o", "/dev/null", url]
    running = [subprocess.Popen(command) for _ in range(clients)]
    assert [curl.wait() for curl in running] == [0] * clients, url


def cpu_s(hub: LiveHub) -> float:
    """CPU seconds that the hub's processes have used; they all live on until it is stopped."""
    ticks = 0
    for pid in hub._tree():
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def lfs_address(raw: Raw, repo: str, source: Path) -> tuple[str, str]:
    """(SHA-256, where to PUT `source`)."""
    with source.open("rb") as file:
        oid = hashlib.file_digest(file, "sha256").hexdigest()
    body = {"operation": "upload", "transfers": ["basic"], "hash_algo": "sha256",
            "objects": [{"oid": oid, "size": source.stat().st_size}]}  # fmt: skip
    reply = raw.http.post(f"/{repo}.git/info/lfs/objects/batch", json=body).raise_for_status()
    return oid, reply.json()["objects"][0]["actions"]["upload"]["href"]


def put_command(source: Path, url: str) -> list[str]:
    return ["curl", "-sf", "-H", "Expect:", "-T", str(source), "-o", "/dev/null", url]


def client(hub: LiveHub, token: str, home: Path, code: str, *args: str) -> None:
    """A real client with empty caches, in a process of its own."""
    environ = clean_environ() | {
        "HF_ENDPOINT": hub.url, "HF_TOKEN": token, "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", code, *args], check=True, env=environ, stdout=DEVNULL)


def random_file(path: Path, mib: int) -> None:
    with path.open("wb") as out:
        out.writelines(os.urandom(MIB) for _ in range(mib))


def bf16_file(path: Path, mib: int) -> None:
    """bfloat16 values, normally distributed, as a layer's weights are."""
    rng = np.random.default_rng(5)
    with path.open("wb") as out:
        for _ in range(mib):
            values = rng.standard_normal(MIB // 2, np.float32) * 0.02
            out.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())


def lfs(folder: Path, mib: int, runs: int) -> None:
    size_mb = mib * MIB / MB
    source, copy = folder / "lfs.bin", folder / "copy"
    random_file(source, mib)
    put_s, cpus, dd_s, sha_s = [], [], [], []
    dd = ["dd", f"if={source}", f"of={copy}", "bs=1M", "conv=fsync", "status=none"]
    with serving(folder / "lfs") as hub, Raw(hub.url, hub.token("bench")) as raw:
        raw.create("bench/lfs")
        for run in range(runs):
            with source.open("r+b") as file:  # another file each time, or it would be there already
                file.write(run.to_bytes(8, "little"))
            _, url = lfs_address(raw, "bench/lfs", source)
            used = cpu_s(hub)
            put_s.append(timed(partial(subprocess.run, put_command(source, url), check=True)))
            cpus.append(cpu_s(hub) - used)
            dd_s.append(timed(partial(subprocess.run, dd, check=True)))
            copy.unlink()
            sha = partial(subprocess.run, ["sha256sum", source], check=True, stdout=DEVNULL)
            sha_s.append(timed(sha))
    source.unlink()
    shutil.rmtree(folder / "lfs")
    both = [dd + sha for dd, sha in zip(dd_s, sha_s, strict=True)]
    show("LFS upload / dd+fsync then sha256sum", size_mb, put_s, both,
         f"dd {speed(size_mb, dd_s):.0f}, sha256sum {speed(size_mb, sha_s):.0f} MB/s; "
         f"hub {speed(size_mb, cpus):.0f} MB a core-second")  # fmt: skip


def plain(folder: Path, mib: int, runs: int) -> list[str]:
    """Gives the names of the aims that were missed."""
    missed, size_mb = [], mib * MIB / MB
    source = folder / "files" / "w.bin"
    source.parent.mkdir()
    random_file(source, mib)
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""  # or its workers could not read the folder
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, user=user))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    nginx = subprocess.Popen([program, "-c", folder / "nginx.conf", "-e", folder / "nginx.err"])
    try:
        with serving(folder / "plain") as hub:
            with Raw(hub.url, hub.token("bench")) as raw:
                assert raw.create("bench/m").status == 200
                oid, url = lfs_address(raw, "bench/m", source)
                subprocess.run(put_command(source, url), check=True)
                held = {"w.bin": (oid, source.stat().st_size)}
                assert raw.commit("bench/m", lfs=held).status == 200
            urls = {"nginx": f"http://{HOST}:{port}/w.bin",
                    "hub": f"{hub.url}/bench/m/resolve/main/w.bin"}  # fmt: skip
            for workers in (1, 2):
                hub.restart(workers=workers)
                for clients in (1, CLIENTS):
                    seconds: dict[str, list[float]] = {"nginx": [], "hub": []}
                    for url in urls.values():
                        curls(url, 1)  # not counted: page cache and first use
                    used = cpu_s(hub)
                    for _ in range(runs):
                        for name, url in urls.items():
                            seconds[name].append(timed(partial(curls, url, clients)))
                    core = runs * clients * size_mb / (cpu_s(hub) - used)
                    what = f"plain download / nginx, {clients} clients, {workers} w"
                    ratio = show(what, clients * size_mb, seconds["hub"], seconds["nginx"],
                                 f"hub {core:.0f} MB a core-second")  # fmt: skip
                    if ratio < PLAIN_RATIO_MIN:
                        missed.append(f"{what}: {ratio:.2f} of {PLAIN_RATIO_MIN}")
    finally:
        nginx.terminate()
        nginx.wait()
    shutil.rmtree(folder / "plain")
    source.unlink()
    return missed


def xet(folder: Path, mib: int, runs: int) -> list[str]:
    """Gives the names of the aims that were missed."""
    size_mb = mib * MIB / MB
    source = folder / "w.safetensors"
    bf16_file(source, mib)
    sums: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        sums.setdefault(name, []).append(seconds)

    imports = [sys.executable, "-c", "import huggingface_hub.hf_api, hf_xet"]
    for run in range(runs):
        work = folder / f"xet{run}"
        with serving(work / "hub") as hub:
            token = hub.token("bench")
            with Raw(hub.url, token) as raw:
                assert raw.create("bench/xet").status == 200
            note("start", timed(partial(subprocess.run, imports, check=True)))
            begun = cpu_s(hub)
            upload = partial(client, hub, token, work / "a", UPLOAD, str(source), "bench/xet")
            note("upload", timed(upload))
            between = cpu_s(hub)
            out = work / "out"
            down = partial(client, hub, token, work / "b", DOWNLOAD, "bench/xet", str(out))
            note("download", timed(down))
            note("upload cpu", between - begun)
            note("download cpu", cpu_s(hub) - between)
            xorbs = (hub.store / "xorbs").rglob("*")
            assert any(map(Path.is_file, xorbs)), "the client did not speak Xet"
            subprocess.run(["cmp", source, out / "w.safetensors"], check=True)
        shutil.rmtree(out)
        shutil.rmtree(work / "hub")
        (work / "cas").mkdir()
        said: list[str] = []

        def local(code: str, *args: str, work: Path = work, said: list[str] = said) -> None:
            environ = clean_environ() | {"HF_HOME": str(work / "c")}
            command = [sys.executable, "-c", code, *args]
            done = subprocess.run(command, check=True, env=environ, stdout=PIPE, text=True)
            said.append(done.stdout)

        whole = timed(partial(local, LOCAL_UP, str(source), str(work / "cas")))
        sha_s, name, size = json.loads(said[0])
        note("local upload, its SHA-256 first", whole)
        note("local upload", whole - sha_s)
        down = partial(local, LOCAL_DOWN, str(work / "cas"), name, str(size), str(work / "back"))
        note("local download", timed(down))
        subprocess.run(["cmp", source, work / "back"], check=True)
        shutil.rmtree(work)
    missed = []
    for way, least in CORE_MB_MIN.items():
        core = speed(size_mb, sums[f"{way} cpu"])
        if core < least:
            missed.append(f"Xet {way}: {core:.0f} of {least} MB a core-second")
        show(f"Xet {way} / local://", size_mb, sums[way], sums[f"local {way}"],
             f"hub {core:.0f} MB a core-second, aim {least}")  # fmt: skip
    show("Xet upload / SHA-256, then local://", size_mb, sums["upload"],
         sums["local upload, its SHA-256 first"], "as huggingface_hub does it")  # fmt: skip
    print(f"the client's start-up, in all Xet figures: {statistics.median(sums['start']):.2f} s")
    return missed


def machine() -> str:
    """What the figures were taken on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    model = next(names, platform.machine())
    return f"{os.cpu_count()} cores, {model}, Linux {platform.release()}, load {load()}"


def load() -> str:
    return " ".join(f"{x:.1f}" for x in os.getloadavg())


def place(folder: Path | None, room_bytes: int) -> Path:
    """Where to work: as asked, or in memory when that has room."""
    memory = Path("/dev/shm")
    if folder is not None:
        return folder
    if memory.is_dir() and shutil.disk_usage(memory).free >= room_bytes:
        return memory
    return Path(tempfile.gettempdir())


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--mib", type=int, default=1024, help="size for plain and lfs")
    options.add_argument("--xet-mib", type=int, default=512)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--folder", type=Path, help="where to work")
    options.add_argument("--only", choices=["lfs", "plain", "xet"], help="one part of it")
    args = options.parse_args()
    folder = place(args.folder, ROOM_FACTOR * max(args.mib, args.xet_mib) * MIB)
    print(machine())
    print(f"plain and LFS {args.mib} MiB, Xet {args.xet_mib} MiB, median (range) of {args.runs} "
          f"runs, data in {folder}")  # fmt: skip
    print(f"{'MB/s':37}{'hub':>8}{'':14}{'limit':>9}{'ratio':>8}")
    missed: list[str] = []
    with tempfile.TemporaryDirectory(dir=folder) as name:
        if args.only in (None, "lfs"):
            lfs(Path(name), args.mib, args.runs)
        if args.only in (None, "plain"):
            missed += plain(Path(name), args.mib, args.runs)
        if args.only in (None, "xet"):
            missed += xet(Path(name), args.xet_mib, args.runs)
    print(f"load at the end {load()}")
    print(f"aims missed: {'; '.join(missed)}" if missed else "all aims met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
