"""Helpers that lie beside these tests are found through the folder."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent)]
