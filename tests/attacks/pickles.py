"""Pickles that import and call something, with harmless arguments, and pickles that do not.

Made of opcodes by hand: nothing here is ever loaded, and nothing is imported to make it.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict

import numpy as np


def short(text: str) -> bytes:
    raw = text.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def call(module: str, name: str, argument: str = "x", protocol: int = 4) -> bytes:
    """`module.name(argument)` as a pickle of this protocol would say it."""
    if protocol < 2:
        return f"c{module}\n{name}\n(S'{argument}'\ntR.".encode()
    head = b"\x80" + bytes([protocol])
    if protocol < 4:
        return head + f"c{module}\n{name}\n".encode() + b"U" + bytes([len(argument)]) + (
            argument.encode() + b"\x85R."
        )  # fmt: skip
    return head + short(module) + short(name) + b"\x93" + short(argument) + b"\x85R."


CALLS = (
    ("os", "getcwd"), ("posix", "getcwd"), ("nt", "getcwd"), ("subprocess", "list2cmdline"),
    ("builtins", "eval"), ("builtins", "exec"), ("builtins", "getattr"), ("__builtin__", "eval"),
    ("importlib", "import_module"), ("site", "getsitepackages"), ("logging.config", "fileConfig"),
    ("code", "compile_command"), ("runpy", "run_path"), ("pickle", "loads"), ("marshal", "loads"),
    ("webbrowser", "get"), ("socket", "gethostname"), ("shutil", "which"), ("ctypes", "sizeof"),
    ("urllib.request", "url2pathname"), ("operator", "attrgetter"), ("functools", "partial"),
    ("torch.hub", "get_dir"), ("torch", "load"), ("numpy.testing._private.utils", "runstring"),
    ("some_package.deep.inside", "helper"), ("transformers", "pipeline"), ("pip", "main"),
    ("timeit", "timeit"), ("_io", "FileIO"), ("torch._utils", "_import_dotted_name"),
    ("collections", "namedtuple"), ("builtins", "__import__"),
)  # fmt: skip


def hostile() -> dict[str, bytes]:
    """Name -> file: each of them, loaded, would import and call what it names."""
    files = {f"{m}.{n}, protocol {p}": call(m, n, protocol=p) for m, n in CALLS for p in (0, 2, 4)}
    evil = call("os", "getcwd")
    files["named through the memo"] = (
        b"\x80\x04" + short("os") + b"\x94" + short("getcwd") + b"\x94" + b"0" + b"0"
        + b"h\x00h\x01\x93)R."
    )  # fmt: skip
    files["named through a numbered memo"] = (
        b"\x80\x04" + short("getcwd") + b"q\x07" + b"0" + short("os") + b"h\x07\x93)R."
    )
    files["with a name put together"] = (
        b"\x80\x04" + short("os") + short("getcwd") + b"\x86" + b"\x93)R."
    )
    files["a name of unknown parts"] = b"\x80\x04" + b"K\x01" + b"K\x02" + b"\x93)R."
    files["a dotted path through a harmless module"] = (
        b"\x80\x04" + short("collections") + short("OrderedDict.__init__.__globals__") + b"\x93)R."
    )
    files["an instance"] = b"(S'x'\nios\ngetcwd\n."
    files["an object"] = b"\x80\x02(cos\ngetcwd\no."
    files["a new object"] = b"\x80\x02cos\ngetcwd\n)\x81."
    files["an extension"] = b"\x80\x02\x82\x01)R."
    files["cut after the call"] = evil[:-1]
    files["cut after the call, first kind"] = call("os", "getcwd", protocol=0)[:-1]
    files["followed by junk"] = evil + b"junk" * 9
    files["a harmless one before it"] = pickle.dumps({"a": 1}) + evil
    files["old torch file with it inside"] = legacy_torch(evil)
    files["a zip with it"] = zipped({"archive/data.pkl": evil, "archive/version": b"3"})
    files["a zip with it elsewhere"] = zipped(
        {"archive/data.pkl": benign_state(), "archive/extra.pkl": evil}
    )
    files["a zip with it under another name"] = zipped(
        {"archive/data.pkl": benign_state(), "archive/data/0": evil}
    )
    files["a zip behind junk"] = b"#!/bin/sh\n" + files["a zip with it"]
    files["a zip twice"] = zipped({"archive/data.pkl": files["a zip with it"]})
    files["a packed zip"] = zipped({"archive/data.pkl": evil}, zipfile.ZIP_DEFLATED)
    files["a zip that says encrypted"] = flagged_encrypted(files["a zip with it"])
    files["a zip with a wrong checksum"] = wrong_checksum(files["a zip with it"], evil)
    files["a zip of one name twice"] = zipped_twice("archive/data.pkl", evil, benign_state())
    files["TorchScript"] = zipped(
        {"m/data.pkl": benign_state(), "m/constants.pkl": benign_state(), "m/code/a.py": b"1"}
    )
    files["an array of objects"] = npy_of(evil)
    files["arrays of objects in a zip"] = zipped({"a.npy": npy_of(evil)})
    return files


def polyglots() -> dict[str, bytes]:
    """Valid safetensors and GGUF files that are pickles as well: the length, or a count, reads as
    an opcode that takes a line, and what follows the line is the pickle."""
    evil = b"}" + call("os", "getcwd", protocol=0)
    files = {}
    for name, pad in (("short", 0), ("long", 3 * 2**20)):
        data = call("os", "getcwd", protocol=0).ljust(256, b"\0")
        text = b'{"w": {"dtype": "U8", "shape": [256], "data_offsets": [0, 256]}'
        wanted = len(text) + pad + 2
        wanted += (ord("V") - wanted) % 256  # the low byte of the length: "a line of text"
        text += b" " * (wanted - len(text) - 2) + b"\n}"
        files[f"safetensors, {name}"] = struct.pack("<Q", len(text)) + text + data
    count = ord("V") << 8  # tensors: the second byte of their number is the opcode
    value = b"\n" + evil
    pair = struct.pack("<Q", 1) + b"k" + struct.pack("<IQ", 8, len(value)) + value
    head = b"GGUF" + struct.pack("<IQQ", 3, count, 1) + pair
    for n in range(count):
        name = f"{n}".encode()
        head += struct.pack("<Q", len(name)) + name + struct.pack("<IQIQ", 1, 8, 0, 32 * n)
    files["gguf"] = head + bytes(-len(head) % 32) + bytes(32 * count)
    return files


def benign() -> dict[str, bytes]:
    """Files as torch and numpy write them, that name nothing but what they need."""
    state = benign_state()
    array, arrays = io.BytesIO(), io.BytesIO()
    np.save(array, np.arange(12).reshape(3, 4))
    np.savez(arrays, a=np.ones(3), b=np.zeros((2, 2), np.float16))
    numbers = pickle.dumps({"scaler": np.arange(3.0), "kind": np.dtype("f4")}, protocol=4)
    return {
        "a state dict": zipped(
            {"archive/data.pkl": state, "archive/data/0": bytes(range(64)), "archive/version": b"3"}
        ),
        "a state dict of the old kind": legacy_torch(state),
        "an array": array.getvalue(),
        "arrays": arrays.getvalue(),
        "plain containers": pickle.dumps({"a": [1, 2.5, "x", None], "b": {1, 2}}),
        "an ordered dict, protocol 0": pickle.dumps(OrderedDict(a=1), protocol=0),
        "arrays in a pickle": numbers,
    }


def benign_state() -> bytes:
    """What `torch.save({"w": tensor})` puts into data.pkl."""
    return (
        b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01X\x01\x00\x00\x00wq\x02"
        b"ctorch._utils\n_rebuild_tensor_v2\nq\x03((X\x07\x00\x00\x00storageq\x04"
        b"ctorch\nFloatStorage\nq\x05X\x01\x00\x00\x000q\x06X\x03\x00\x00\x00cpuq\x07"
        b"K\x10tq\x08QK\x00K\x10\x85q\tK\x01\x85q\n\x89ccollections\nOrderedDict\nq\x0b)R"
        b"q\x0ctq\rRq\x0es."
    )


def legacy_torch(state: bytes) -> bytes:
    """The kind before zip: magic, version, machine, object, keys; then raw storages."""
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    head = magic + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    return head + state + pickle.dumps(["0"], 2) + struct.pack("<q", 16) + bytes(range(64))


def zipped(members: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=how)
    return made.getvalue()


def zipped_twice(name: str, first: bytes, second: bytes) -> bytes:
    other = "x" * len(name)
    return zipped({name: first, other: second}).replace(other.encode(), name.encode())


def flagged_encrypted(data: bytes) -> bytes:
    """The flag that says "encrypted" set in the directory: readers that mind it stop."""
    at = data.index(b"PK\x01\x02") + 8
    return data[:at] + bytes([data[at] | 1]) + data[at + 1 :]


def wrong_checksum(data: bytes, member: bytes) -> bytes:
    checksum = struct.pack("<I", zlib.crc32(member))
    return data.replace(checksum, b"\0\0\0\0")


def npy_of(payload: bytes) -> bytes:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload
