"""Store: immutable bytes, named by their hash, verified whenever they are read. Floor 2."""

from headwater.store.blob import Blob
from headwater.store.check import Finding
from headwater.store.parts import PartWriter
from headwater.store.plain import PlainWriter
from headwater.store.recipe import ChunkedFile
from headwater.store.store import Store
from headwater.store.xorb_index import XorbIndex
from headwater.store.xorbs import XorbWriter

__all__ = [
    "Blob",
    "ChunkedFile",
    "Finding",
    "PartWriter",
    "PlainWriter",
    "Store",
    "XorbIndex",
    "XorbWriter",
]
