"""What the globals of a pickle may be: an allowlist, and a list of the worst.

    safety_of(module, name) -> "innocuous" | "suspicious" | "dangerous"

Only exact pairs are innocuous: what rebuilds tensors, arrays and plain containers, and does nothing
else whatever it is called with. A name that is not listed is suspicious, not dangerous and not
harmless; `dangerous` says only that the name itself is a way to run code.
"""

from __future__ import annotations

from typing import Literal

Safety = Literal["innocuous", "suspicious", "dangerous"]

_STORAGES = (
    "FloatStorage HalfStorage BFloat16Storage DoubleStorage LongStorage IntStorage ShortStorage "
    "CharStorage ByteStorage BoolStorage ComplexFloatStorage ComplexDoubleStorage QInt8Storage "
    "QUInt8Storage QInt32Storage"
)
_DTYPES = (
    "float16 float32 float64 bfloat16 int8 int16 int32 int64 uint8 bool complex64 complex128 "
    "float half double long int short float8_e4m3fn float8_e5m2"
)
_KINDS = (
    "per_tensor_affine per_channel_affine per_tensor_symmetric per_channel_symmetric "
    "contiguous_format channels_last preserve_format strided sparse_coo sparse_csr"
)
_PLAIN = "set frozenset list dict tuple int float complex bool bytearray bytes str slice range"
_HARMLESS: dict[str, str] = {
    "collections": "OrderedDict defaultdict deque Counter",
    "builtins": _PLAIN,
    "__builtin__": f"{_PLAIN} long unicode xrange",
    "_codecs": "encode",
    "torch": f"{_STORAGES} {_DTYPES} {_KINDS} Size device Tensor",
    "torch.storage": "UntypedStorage TypedStorage",
    "torch._utils": (
        "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter "
        "_rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor "
        "_rebuild_meta_tensor_no_storage _rebuild_device_tensor_from_numpy"
    ),
    "torch._tensor": "_rebuild_from_type_v2",
    "torch.nn.parameter": "Parameter",
    "torch.serialization": "_get_layout",
    "numpy": "dtype ndarray int64 int32 float64 float32 bool_",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.numeric": "_frombuffer",
    "datetime": "datetime date time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID",
}
INNOCUOUS = frozenset(
    (module, name) for module, names in _HARMLESS.items() for name in names.split()
)

# Whole modules whose every name can run code, reach files or the network, or load more pickles.
_DANGEROUS_MODULES = frozenset(
    (
        "os posix nt sys subprocess pty socket shutil runpy importlib imp code codeop site ctypes "
        "_ctypes cffi commands webbrowser urllib http requests httpx aiohttp ftplib smtplib "
        "telnetlib asyncio multiprocessing threading pip setuptools pickle _pickle cPickle dill "
        "cloudpickle joblib marshal shelve types bdb pdb timeit cProfile profile trace doctest "
        "venv ensurepip logging operator _operator functools pydoc platform signal tempfile "
        "zipimport pkgutil linecache gc inspect weakref distutils concurrent"
    ).split()
)
_DANGEROUS_NAMES = frozenset(
    (
        "eval exec execfile compile open getattr setattr delattr __import__ apply input "
        "breakpoint globals locals vars map filter file print help"
    ).split()
)


def safety_of(module: str, name: str) -> Safety:
    """What a pickle may do with this global, as far as its name tells."""
    if (module, name) in INNOCUOUS:
        return "innocuous"
    if module.partition(".")[0] in _DANGEROUS_MODULES:
        return "dangerous"
    if module in ("builtins", "__builtin__") and name.partition(".")[0] in _DANGEROUS_NAMES:
        return "dangerous"
    return "suspicious"
