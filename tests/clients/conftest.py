import sys
from pathlib import Path

# Spawned workers find these tests behind everything that is installed, so that the installed package is what is tested.
sys.path += map(str, Path(__file__).resolve().parents[1:3])
