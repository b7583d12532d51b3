"""Files of weights made by hand: ONNX and torch archives, byte by byte, right and wrong."""

import io
import struct
import zipfile
from collections.abc import Sequence

# --- ONNX: protobuf as it lies on the wire ---------------------------------------------------


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, data: bytes, *, says: int | None = None) -> bytes:
    return varint(field << 3 | 2) + varint(len(data) if says is None else says) + data


def initializer(
    name: str,
    kind: int,
    shape: Sequence[int],
    raw: bytes,
    *,
    packed: bool = False,
    extra: bytes = b"",
) -> bytes:
    sides = (
        block(1, b"".join(map(varint, shape))) if packed else b"".join(number(1, s) for s in shape)
    )
    return sides + number(2, kind) + block(8, name.encode()) + extra + block(9, raw)


def onnx_model(*initializers: bytes, nodes: int = 3) -> bytes:
    """A model with some nodes before its weights, and an opset after the graph."""
    node = block(1, block(1, b"x") + block(2, b"y") + block(4, b"Relu"))
    graph = node * nodes + block(2, b"main") + b"".join(block(5, each) for each in initializers)
    return number(1, 10) + block(2, b"by hand") + block(7, graph) + block(8, number(2, 21))


# --- torch: opcodes of a pickle, in a zip archive of stored members --------------------------


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def whole(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def sides(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(whole, values)) + b"t"


def strides(shape: Sequence[int]) -> list[int]:
    steps, step = [], 1
    for side in reversed(shape):
        steps.append(step)
        step *= side
    return steps[::-1]


def storage(kind: str, key: str, elements: int) -> bytes:
    named = text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu")
    return b"(" + named + whole(elements) + b"tQ"


def tensor(
    kind: str,
    key: str,
    elements: int,
    shape: Sequence[int],
    *,
    offset: int = 0,
    steps: Sequence[int] | None = None,
    young: str = "",
) -> bytes:
    """The call that rebuilds a tensor from its storage; `young`: with a dtype of its own."""
    version = b"3" if young else b"2"
    args = storage(kind, key, elements) + whole(offset) + sides(shape)
    args += sides(strides(shape) if steps is None else steps) + b"\x89ccollections\nOrderedDict\n)R"
    args += b"ctorch\n" + young.encode() + b"\nN" if young else b""
    return b"ctorch._utils\n_rebuild_tensor_v" + version + b"\n(" + args + b"tR"


def parameter(of: bytes) -> bytes:
    return b"ctorch._utils\n_rebuild_parameter\n(" + of + b"\x88ccollections\nOrderedDict\n)RtR"


def mapping(items: dict[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def pickled(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


def torch_zip(
    pickle: bytes,
    storages: dict[str, bytes],
    *,
    top: str = "archive",
    method: int = zipfile.ZIP_STORED,
    order: bytes = b"little",
) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr(f"{top}/data.pkl", pickle)
        archive.writestr(f"{top}/byteorder", order)
        for key, data in storages.items():
            archive.writestr(f"{top}/data/{key}", data)
        archive.writestr(f"{top}/version", b"3\n")
    return made.getvalue()
