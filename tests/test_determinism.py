"""One input gives one answer, byte for byte, whatever surrounds the program."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import SAMPLES, run_qkv

SURROUNDINGS = [
    {"PYTHONHASHSEED": str(seed), "LC_ALL": locale, "TZ": zone, "HOME": home}
    for (seed, locale), (zone, home) in zip(
        itertools.product((0, 1, 4_294_967_295), ("C", "C.UTF-8", "tr_TR.UTF-8")),
        itertools.cycle((("UTC", "/"), ("Asia/Kathmandu", "/nonexistent"))),
    )
]
FEW = [SURROUNDINGS[number] for number in (0, 5, 7)]  # every seed, locale, zone and home
WORDS = ("Li", "Lipten", "Hu", "wernes")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table of several blocks and two arrays."""
    folder = tmp_path_factory.mktemp("data")
    lines = (f"name{i * 7919 % 100_003},{i % 13},{i / 7!r}\n" for i in range(60_000))
    (folder / "t.csv").write_text("name,group,size\n" + "".join(lines))
    rng = np.random.default_rng(1)
    np.savez(
        folder / "db.npz",
        keys=rng.normal(size=(70_000, 4)).astype("f4"),
        values=rng.normal(size=(70_000, 2)),
    )
    return folder


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the variables by which a program finds a Turkish locale, made where it is lacking."""
    folder = tmp_path_factory.mktemp("locales")
    made = shutil.which("localedef") and subprocess.run(
        ["localedef", "-i", "tr_TR", "-f", "UTF-8", str(folder / "tr_TR.UTF-8")],
        capture_output=True,
        check=False,
    )
    return {"LOCPATH": str(folder)} if made and made.returncode == 0 else {}


def test_the_turkish_locale_is_one(locales: dict[str, str]) -> None:
    """Where it is not, the other tests would say nothing of locales."""
    if not locales:
        pytest.skip("localedef makes no tr_TR.UTF-8 here (apt-get install locales)")
    code = "import locale; locale.setlocale(locale.LC_ALL, ''); print(locale.str(1.5))"
    env = {**os.environ, **locales, "LC_ALL": "tr_TR.UTF-8"}
    shown = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert shown.stdout == b"1,5\n"


@pytest.fixture(scope="module")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for the list of fonts, which takes seconds to make where there is no home."""
    return tmp_path_factory.mktemp("fonts")


ATTENTION = str(SAMPLES / "animal_layer3_attention.npy")
COMMANDS = {
    "lookup tsv": ("lookup", *WORDS, "-m", "softmax", "-m", "average"),
    "lookup json": ("lookup", *WORDS, "-m", "softmax", "--format", "json", "-d", "{}/t.csv"),
    "lookup npz": ("lookup", *WORDS, "-m", "softmax", "-d", "{}/t.csv", "--weights", "-"),
    "pool tsv": ("pool", *WORDS, "-d", "{}/t.csv", "--value", "size"),
    "pool json": ("pool", "0.1,0.2,0.3,0.4", "-d", "{}/db.npz", "--format", "json"),
    "pool npy": ("pool", "0.1,0.2,0.3,0.4", "-d", "{}/db.npz", "--format", "npy"),
    "pool npz": ("pool", *WORDS, "-d", "{}/t.csv", "--format", "npz", "--value", "size"),
    "heatmap svg": ("heatmap", ATTENTION, "--format", "svg", "-o", "-"),
    "heatmap png": ("heatmap", ATTENTION, "--format", "png", "-o", "-"),
    "heatmap pdf": ("heatmap", ATTENTION, "--format", "pdf", "-o", "-"),
    "pool cv": ("pool", "1", "2", "-d", str(SAMPLES / "sine.csv"), "--bandwidth", "cv"),
}
SELDOM = ("heatmap pdf", "pool cv", "pool npy", "pool npz")


@pytest.mark.parametrize(
    "surroundings",
    [
        pytest.param(FEW, id="a few"),
        pytest.param(SURROUNDINGS, id="all", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in SELDOM else name for name in COMMANDS],
)
def test_identical_bytes(
    name: str,
    surroundings: list[dict[str, str]],
    data: Path,
    fonts: Path,
    locales: dict[str, str],
    tmp_path: Path,
) -> None:
    arguments = [word.replace("{}", str(data)) for word in COMMANDS[name]]
    outs = set()
    for i, env in enumerate(surroundings):
        cwd = (tmp_path, data, Path("/"))[i % 3]
        threads = () if arguments[0] == "heatmap" else ("--workers", ("1", "2", "3", "8")[i % 4])
        around = {**env, **locales, "MPLCONFIGDIR": str(fonts)}
        run = run_qkv(*arguments, *threads, env=around, cwd=cwd)
        assert run.status == 0, run
        outs.add(run.out)
    outs.add(run_qkv(*arguments, env={"OPENBLAS_NUM_THREADS": "2", "COLUMNS": "7"}).out)
    assert len(outs) == 1


def test_files_are_as_alike_as_pipes(data: Path, tmp_path: Path) -> None:
    found = set()
    for i in range(4):
        path = tmp_path / f"{i}.npz"
        arguments = ("lookup", *WORDS, "-m", "softmax", "-d", str(data / "t.csv"))
        run_qkv(*arguments, "-o", os.devnull, "--weights", str(path), "--workers", str(i + 1))
        found.add(path.read_bytes())
    assert len(found) == 1
