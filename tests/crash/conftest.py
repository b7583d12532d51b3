"""Puts the helpers of this folder within reach of its tests."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent)]
