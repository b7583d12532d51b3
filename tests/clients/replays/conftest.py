"""Helpers that lie beside these tests are found through the folder; the scene is for all."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent)]

from replay_kit import scene  # noqa: E402, F401  (a fixture: it is used by its name)
