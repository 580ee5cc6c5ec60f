"""Make one virtual environment a tool: what they pin cannot be installed together, nor beside us.

    python examples/other_tools/environments.py [TOOL ...]

They lie in the cache folder, and take some gigabytes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tasks.assets import cache_folder

TOOLS = {
    "optimum-onnx": ["optimum-onnx[onnxruntime]==0.1.*", "torch<=2.13.0"],
    "optimum-intel": ["optimum-intel[openvino]==2.2.*", "datasets", "torch<=2.13.0"],
    # The last version that quantizes ONNX files; it does not know the onnx and NumPy of today.
    "neural-compressor": [
        "neural-compressor==2.6",
        "onnx==1.16.2",
        "onnxruntime==1.18.1",
        "numpy<2",
        "setuptools<81",
        "six",
    ],
    "model2vec": ["model2vec[distill,quantization]==0.10.*", "torch<=2.13.0"],
}
"""What pip installs for each."""
MADE = "made"


def python_of(tool: str) -> Path:
    """Return the interpreter of a tool's environment, whether it is there or not."""
    return cache_folder() / "other-tools" / tool / "bin" / "python"


def is_made(tool: str) -> bool:
    """Say whether a tool's environment was made, and to the end."""
    return (python_of(tool).parents[1] / MADE).exists()


def make(tool: str) -> None:
    """Make a tool's environment, or bring it up to date.

    Raises:
        CalledProcessError: pip failed.
    """
    python = python_of(tool)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *TOOLS[tool]], check=True)
    # What another build of PyTorch than the CPU's wants: it cannot be imported beside that one.
    subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "torchvision"], check=True)
    (python.parents[1] / MADE).touch()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools", nargs="*", choices=[*TOOLS, []], metavar="TOOL")
    for name in parser.parse_args().tools or TOOLS:
        print(name, flush=True)
        make(name)
