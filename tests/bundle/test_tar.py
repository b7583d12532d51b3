"""Headers of a bundle's tar: as other readers take them, for every size a file may have."""

import subprocess
import tarfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from headwater.bundle.tar import TarWriter, header, tar_bytes

NAMES = st.from_regex(r"[a-z0-9./-]{0,99}[a-z0-9]", fullmatch=True)


@given(name=NAMES, size=st.one_of(st.integers(0, 2**63), st.integers(2**33 - 3, 2**33 + 3)))
def test_the_standard_library_reads_them(name: str, size: int) -> None:
    info = tarfile.TarInfo.frombuf(header(name, size), "utf-8", "strict")
    assert (info.name, info.size) == (name, size)
    assert (info.type, info.mode, info.uid, info.mtime) == (tarfile.REGTYPE, 0o644, 0, 0)


def test_gnu_tar_reads_a_member_over_8_gib(tmp_path: Path) -> None:
    """A hole of 9 GiB takes no room."""
    path, size = tmp_path / "big.tar", 9 * 2**30 + 1
    with path.open("wb") as file:
        file.write(header("blobs/big.plain", size))
        file.seek(512 + size + (-size % 512))
        tar = TarWriter(file.write)
        tar.add("tensors/last.tensor", 3, [b"a", b"bc"])
        tar.end()
        assert file.tell() == tar_bytes([size, 3])
    said = subprocess.run(["tar", "-tvf", path], check=True, capture_output=True, text=True)
    lines = said.stdout.splitlines()
    assert [line.split()[2] for line in lines] == [str(size), "3"]
    assert said.stderr == ""
