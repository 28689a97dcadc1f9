"""The scripts that know no page, under Node's own test runner."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import qkvcli.heatmap.html
from qkvcli.heatmap.html.page import PURE

HERE = Path(__file__).parent / "js"


@pytest.mark.skipif(not shutil.which("node"), reason="no node on PATH (apt-get install nodejs)")
def test_the_scripts_pass_their_own_tests() -> None:
    [folder] = qkvcli.heatmap.html.__path__
    done = subprocess.run(
        ["node", "--test", *sorted(map(str, HERE.glob("*.test.mjs")))],
        env=os.environ | {"QKV_FOLDER": folder, "QKV_SCRIPTS": ",".join(PURE)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout.decode()
    assert b"# pass 0" not in done.stdout
