"""Brings the recipes of conda-forge and Homebrew up to date with an sdist.

``python packaging/recipes.py dist/qkvcli-0.2.0.tar.gz`` writes the version and the hash of the
sdist into both, and into the formula what it installs beside, as uv (on PATH) resolves it. The
hash is that of a release: until there is one, zeros stand for it.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CONDA = HERE / "conda" / "recipe.yaml"
FORMULA = HERE / "homebrew" / "qkv.rb"
PYTHON = "3.13"
OF_HOMEBREW = {"numpy", "scipy", "matplotlib"}
"""What Homebrew has formulas of, with all that they need: numpy, scipy, python-matplotlib."""
_SOURCES = "https://files.pythonhosted.org/packages/source"


def resources() -> list[tuple[str, str, str]]:
    """Return name, address and hash of each sdist that the formula installs beside."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [x for x in project["dependencies"] if re.split(r"[<>=]", x)[0] not in OF_HOMEBREW]
    command = ["uv", "pip", "compile", "--quiet", "--format", "pylock.toml", "-"]
    command += ["--python-version", PYTHON, "--python-platform", "aarch64-apple-darwin"]
    done = subprocess.run(
        command, input="\n".join(wanted), capture_output=True, text=True, check=True
    )
    found = []
    for package in tomllib.loads(done.stdout)["packages"]:
        name = package["name"]
        file = package["sdist"].get("name") or package["sdist"]["url"].rsplit("/", 1)[1]
        address = f"{_SOURCES}/{name[0]}/{name}/{file}"
        found.append((name, address, package["sdist"]["hashes"]["sha256"]))
    return found


def replaced(text: str, pattern: str, new: str) -> str:
    """Return a text with the first place of a pattern replaced, which is to be there."""
    found, count = re.subn(pattern, lambda _: new, text, count=1, flags=re.DOTALL)
    if not count:
        sys.exit(f"there is no {pattern} to be replaced")
    return found


def main(sdist: Path) -> None:
    """Write both recipes anew."""
    version = sdist.name.removeprefix("qkvcli-").removesuffix(".tar.gz")
    digest = hashlib.sha256(sdist.read_bytes()).hexdigest()
    recipe = replaced(CONDA.read_text(), r'version: "[^"]*"', f'version: "{version}"')
    CONDA.write_text(replaced(recipe, r'sha256: "[^"]*"', f'sha256: "{digest}"'))
    blocks = [
        f'  resource "{name}" do\n    url "{address}"\n    sha256 "{hashed}"\n  end\n'
        for name, address, hashed in resources()
    ]
    formula = replaced(FORMULA.read_text(), r"qkvcli-[^/]*\.tar\.gz", sdist.name)
    formula = replaced(formula, r'sha256 "[^"]*"', f'sha256 "{digest}"')
    formula = replaced(
        formula,
        r"  # Resources.*?(?=  def install)",
        "\n".join(["  # Resources: written by packaging/recipes.py", *blocks, ""]),
    )
    FORMULA.write_text(formula)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
