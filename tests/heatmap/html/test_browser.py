"""The page as a person uses it, in a Chromium with the network off."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import qkvcli
from qkvcli.render.escape import visible
from tests.heatmap.html.support import NAUGHTY, softmax
from tests.support.browser import Browser, browser, find_chromium
from tests.support.command import QKV, SAMPLES, run_inside
from tests.support.slow import mostly_slow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ATTENTION, TOKENS = SAMPLES / "animal_attention.npy", SAMPLES / "animal_tokens.txt"
PAINTED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
VALUE = re.compile(r": ([-0-9.e]+)(?: ± ([0-9.e-]+))?(?:, rank (\d+))?")

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no chromium on PATH (apt-get install chromium)"
)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Yield a tab that all tests share."""
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(autouse=True)
def _nothing_is_asked_for(tab: Browser) -> Iterator[None]:
    """Hold for every test: no request but for the file itself, and nothing on the console."""
    tab.said.clear()
    tab.requests.clear()
    yield
    asked = [one for one in tab.requests if not one.startswith(("file:///", "data:", "blob:"))]
    assert not asked
    assert len([one for one in tab.requests if one.startswith("file:///")]) <= 2
    # Canvases are read by the tests alone.
    assert not [one for one in tab.said if "willReadFrequently" not in one]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of the sample."""
    return write(tmp_path_factory.mktemp("sample"), ATTENTION, "--labels", TOKENS)


def write(folder: Path, *arguments: object) -> Path:
    out = folder / "page.html"
    run = run_inside("heatmap", *map(str, arguments), "-o", str(out))
    assert run.status == 0, run.error
    return out


def show(tab: Browser, view: str) -> None:
    tab.run("document.body.dataset.ready = ''")
    tab.click_on(f"#tab-{view}")
    tab.wait(f"document.body.dataset.ready.startsWith('{view}')")


def tick(tab: Browser, text: str) -> None:
    """Tick or untick a box, and wait until all is drawn anew."""
    before = tab.run("document.body.dataset.ready")
    tab.run(f"[...document.querySelectorAll('label')].find((e) => e.textContent.startsWith({json.dumps(text)})).querySelector('input').click()")  # fmt: skip
    tab.wait(f"document.body.dataset.ready !== {json.dumps(before)}")


def text_of(tab: Browser, selector: str) -> str:
    found: str = tab.run(f"document.querySelector({json.dumps(selector)}).textContent")
    return found


def pick(tab: Browser, label: str, option: str) -> None:
    """Choose an option of the list that has a label."""
    tab.run(f"""(() => {{
      const label = [...document.querySelectorAll("label")].find((e) => e.textContent.startsWith({json.dumps(label)}));
      const box = label.querySelector("select");
      box.value = [...box.options].find((o) => o.textContent === {json.dumps(option)}).value;
      box.dispatchEvent(new Event("change"));
    }})()""")


class Matrix:
    """Where the cells of a matrix are, when all of it is seen."""

    def __init__(self, tab: Browser, shape: tuple[int, int], which: int = 0) -> None:
        self.tab, self.shape = tab, shape
        tab.run(PAINTED)
        # The frame is drawn in the colour of lines; what is inside of it are cells.
        code = f"""(() => {{
          const canvas = document.querySelectorAll("canvas.matrix")[{which}];
          canvas.scrollIntoView({{ block: "nearest" }});
          const box = canvas.getBoundingClientRect(), pen = canvas.getContext("2d");
          const line = getComputedStyle(document.documentElement).getPropertyValue("--line").trim();
          const rgb = [1, 3, 5].map((at) => parseInt(line.slice(at, at + 2), 16));
          const row = pen.getImageData(0, 36, canvas.width, 1).data;
          const is = (data, i) => rgb.every((part, c) => Math.abs(data[i * 4 + c] - part) < 3);
          const xs = [...Array(canvas.width).keys()].filter((i) => is(row, i));
          const middle = Math.round((xs[0] + xs[xs.length - 1]) / 2);
          const column = pen.getImageData(middle, 0, 1, canvas.height).data;
          const ys = [...Array(canvas.height).keys()].filter((i) => is(column, i));
          return [box.x, box.y, xs[0], xs[xs.length - 1], ys[0], ys[ys.length - 1]];
        }})()"""
        x, y, left, right, top, bottom = tab.run(code)
        self.left, self.right, self.top, self.bottom = x + left, x + right, y + top, y + bottom

    def at(self, row: int, column: int) -> tuple[float, float]:
        rows, columns = self.shape
        x = self.left + (column + 0.5) * (self.right - self.left) / columns
        return x, self.top + (row + 0.5) * (self.bottom - self.top) / rows

    def read(self, row: int, column: int) -> tuple[float, float, int, str]:
        """Point at a cell; return its weight, how exact it is, its rank, and all that is said."""
        self.tab.point(*self.at(row, column))
        self.tab.wait("/: [-0-9]/.test(document.querySelector('.readout').textContent)")
        said = text_of(self.tab, ".readout")
        found = VALUE.search(said)
        assert found, said
        return float(found[1]), float(found[2] or 0), int(found[3] or 0), said


def open_head(tab: Browser, index: int) -> None:
    before = tab.run("document.body.dataset.ready")
    tab.run(f"document.querySelectorAll('.thumb')[{index}].click()")
    tab.wait(
        f"document.body.dataset.ready.startsWith('head') && document.body.dataset.ready !== {json.dumps(before)}"
    )
    tab.run(PAINTED)


def test_the_overview_shows_every_head_and_its_measure(tab: Browser, sample: Path) -> None:
    tab.open(sample)
    assert tab.run("document.querySelectorAll('.thumb').length") == 72
    weights = np.load(ATTENTION).reshape(72, 16, 16).astype(float)
    pick(tab, "Measure", "weight on the first key")
    pick(tab, "Order", "highest first")
    names = tab.run(
        "[...document.querySelectorAll('.thumb')].map((e) => e.getAttribute('aria-label'))"
    )
    order = sorted(range(72), key=lambda head: (-float(f"{weights[head, :, 0].mean():.4g}"), head))
    assert [name.split(",")[:2] for name in names] == [
        [f"Layer {head // 12}", f" head {head % 12}"] for head in order
    ]
    assert names[0].endswith(f"weight on the first key {weights[order[0], :, 0].mean():.3g}")
    # What is painted is the matrix: the darkest cell of layer 0, head 2.
    dark = tab.run("""(() => {
      const thumb = [...document.querySelectorAll(".thumb")].find((e) => e.title.startsWith("Layer 0, head 2:"));
      const canvas = thumb.querySelector("canvas"), data = canvas.getContext("2d").getImageData(0, 0, 16, 16).data;
      let best = 0;
      for (let i = 0; i < 256; i++) if (data[i * 4] < data[best * 4]) best = i;
      return [canvas.width, canvas.height, Math.floor(best / 16), best % 16];
    })()""")
    assert dark[:2] == [16, 16]
    assert weights[2][dark[2], dark[3]] > weights[2].max() - 0.004


def test_the_value_under_the_pointer_is_the_arrays(tab: Browser, sample: Path) -> None:
    weights = np.load(ATTENTION).astype(float)
    labels = TOKENS.read_text().split()
    random = np.random.default_rng(0)
    tab.open(sample)
    for head in (0, 37, 71):
        show(tab, "overview")
        open_head(tab, head)
        matrix = Matrix(tab, (16, 16))
        wanted = weights.reshape(72, 16, 16)[head]
        for row, column in random.integers(0, 16, (8, 2)).tolist():
            value, error, rank, said = matrix.read(row, column)
            assert said.startswith(
                f"Query {labels[row]} ({row}) → key {labels[column]} ({column}): "
            )
            exact = wanted[row, column]
            assert error <= 0.0045
            assert abs(value - exact) <= error * 1.06 + 0.006 * exact  # both come in few digits
            above = int((wanted[row] > exact + 2 * error).sum())
            assert above < rank or abs(above - rank) < 3


def test_a_locked_row_has_bars_and_shaded_text(tab: Browser, sample: Path) -> None:
    weights, labels = np.load(ATTENTION)[3, 1], TOKENS.read_text().split()
    tab.open(sample)
    open_head(tab, 37)
    tab.click(*Matrix(tab, (16, 16)).at(10, 2))
    tab.wait("document.querySelectorAll('.bars li').length === 16")
    assert text_of(tab, ".details h2") == "Query it (10): its keys"
    shown = tab.run("[...document.querySelectorAll('.bars li')].map((e) => [e.querySelector('.name').textContent, e.querySelector('.number').textContent])")  # fmt: skip
    order = np.argsort(-weights[10])
    assert [name for name, _ in shown][:5] == [f"{labels[key]} ({key})" for key in order[:5]]
    assert [float(number) for _, number in shown] == pytest.approx(weights[10][order], abs=0.004)
    assert text_of(tab, ".details .text").split() == labels
    tab.click(*Matrix(tab, (16, 16)).at(10, 2), shift=True)
    tab.wait("document.querySelector('.details h2')?.textContent === 'Key animal (2): its queries'")
    first = text_of(tab, ".bars li .name")
    best = int(weights[:, 2].argmax())
    assert first == f"{labels[best]} ({best})"


def test_a_walk_by_keys(tab: Browser, sample: Path) -> None:
    labels = TOKENS.read_text().split()
    tab.open(sample)
    tab.run("document.querySelector('.thumb').focus()")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowDown"):
        tab.press(key)
    name = tab.run("document.activeElement.getAttribute('aria-label')")
    assert name.startswith("Layer 2, head 1")
    tab.press("Enter")
    tab.wait("document.body.dataset.ready.startsWith('head')")
    tab.run("document.querySelector('canvas.matrix').focus()")
    tab.press("ArrowDown")
    tab.press("ArrowDown")
    tab.press("ArrowRight")
    tab.wait("document.querySelector('#live').textContent.includes('rank')")
    assert tab.run("document.querySelector('#live').textContent").startswith("Query ")
    tab.press("Home")
    tab.press("Enter")
    tab.wait("document.querySelector('.bars')")
    locked = text_of(tab, ".details h2")
    row = int(re.findall(r"\((\d+)\)", locked)[0])
    assert locked == f"Query {labels[row]} ({row}): its keys"
    tab.press("Escape")
    tab.wait("!document.querySelector('.bars')")
    tab.press("/")
    assert tab.run("document.activeElement.type") == "search"
    tab.type("it")
    tab.press("Enter")
    tab.wait("document.querySelector('.readout').textContent.startsWith('Query it (10)')")
    tab.run("document.querySelector('#tab-head').focus()")
    tab.press("ArrowRight")
    tab.wait("document.body.dataset.ready.startsWith('sentence')")
    tab.run("document.querySelector('.text').focus()")
    tab.press("End")
    tab.wait("document.querySelector('.readout').textContent.startsWith('Query [SEP] (15)')")
    tab.press("ArrowLeft")
    tab.wait("document.querySelector('.readout').textContent.startsWith('Query . (14)')")


def test_tab_reaches_every_control_and_focus_is_seen(tab: Browser, sample: Path) -> None:
    tab.open(sample)
    for view, last in (("overview", ".thumb"), ("head", "canvas.matrix"), ("sentence", ".text")):
        show(tab, view)
        tab.run("document.activeElement.blur(); document.body.focus()")
        wanted = tab.run("[...document.querySelectorAll('button, select, input, canvas.matrix, .text, summary, #command')].filter((e) => !e.disabled && e.tabIndex >= 0).length")  # fmt: skip
        seen = set()
        for _ in range(wanted + 3):
            tab.press("Tab")
            found = tab.run(f"""(() => {{
              const e = document.activeElement, style = getComputedStyle(e);
              const name = [...document.querySelectorAll("*")].indexOf(e);
              return [name, e === document.body || parseFloat(style.outlineWidth) >= 2, e.matches({json.dumps(last)})];
            }})()""")
            seen.add(tuple(found))
        assert all(outlined for _, outlined, _ in seen)
        assert any(reached for *_, reached in seen)
        assert len(seen) >= wanted


def test_each_control_has_a_name(tab: Browser, sample: Path) -> None:
    tab.open(sample)
    tab.call("Accessibility.enable")
    for view in ("overview", "head", "sentence"):
        show(tab, view)
        nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
        roles = {"button", "checkbox", "combobox", "searchbox", "tab", "listbox", "application", "option", "textbox", "img"}  # fmt: skip
        named = [node for node in nodes if node["role"]["value"].lower() in roles]
        assert len(named) > 20
        nameless = [node for node in named if not node.get("name", {}).get("value", "").strip()]
        assert not nameless, nameless[0]
    tab.call("Accessibility.disable")


CONTRAST = """(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((one) => (one /= 255) <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.getClientRects().length || element.closest(":disabled, .unseen, option, label.off")) continue;
    const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(ground(element))].sort((x, y) => y - x);
    const found = (a + 0.05) / (b + 0.05);
    if (found < 4.5) low.push([element.tagName, element.className, element.textContent.slice(0, 30), found]);
  }
  return low;
})()"""


@pytest.mark.parametrize(
    ("width", "dark"), mostly_slow([(1400, False), (1400, True), (500, True), (500, False)], 2)
)
def test_text_is_readable_and_nothing_is_wider_than_the_page(
    tab: Browser, sample: Path, width: int, dark: bool
) -> None:
    tab.theme(dark=dark)
    tab.resize(width, 900)
    try:
        tab.open(sample)
        for view in ("overview", "head", "sentence"):
            show(tab, view)
            assert tab.run(CONTRAST) == []
            assert tab.run("document.documentElement.scrollWidth <= innerWidth")
    finally:
        tab.theme(dark=False)
        tab.resize(1400, 900)


def test_dropped_keys_and_renormalised_rows(tab: Browser, sample: Path) -> None:
    weights = np.load(ATTENTION)[0, 0].astype(float)
    tab.open(sample)
    open_head(tab, 0)
    tick(tab, "Drop special tokens")
    assert text_of(tab, "#said").startswith("Without special tokens; the rest keep their weights")
    value, *_, said = Matrix(tab, (14, 14)).read(4, 2)
    assert said.startswith("Query t (5) → key didn (3): ")
    assert value == pytest.approx(weights[5, 3], rel=0.02)
    tick(tab, "Renormalise rows")
    assert "scaled to sum to 1" in text_of(tab, "#said")
    value, *_ = Matrix(tab, (14, 14)).read(4, 2)
    assert value == pytest.approx(weights[5, 3] / weights[5, 1:15].sum(), rel=0.02)


def test_two_heads_and_their_difference(tab: Browser, sample: Path) -> None:
    weights = np.load(ATTENTION).reshape(72, 16, 16).astype(float)
    tab.open(sample)
    open_head(tab, 37)
    before = tab.run("document.body.dataset.ready")
    pick(tab, "Beside", "Layer 1, head 8")
    tab.wait(f"document.body.dataset.ready !== {json.dumps(before)}")
    tick(tab, "Difference of two")
    assert tab.run("document.querySelectorAll('canvas.matrix').length") == 3
    tab.run(PAINTED)
    tab.point(*Matrix(tab, (16, 16), 1).at(12, 13))
    tab.wait("document.querySelectorAll('.value')[2].textContent")
    shown = tab.run(
        "[...document.querySelectorAll('.value')].map((e) => parseFloat(e.textContent))"
    )
    one, other = weights[37, 12, 13], weights[20, 12, 13]
    assert shown == pytest.approx([one, other, one - other], abs=0.008)


def test_the_sentence_is_shaded_by_the_weights_of_the_token_under_the_pointer(
    tab: Browser, sample: Path
) -> None:
    weights, labels = np.load(ATTENTION)[3, 1], TOKENS.read_text().split()
    tab.open(sample)
    open_head(tab, 37)
    show(tab, "sentence")
    assert text_of(tab, ".sentence .text").split() == labels
    x, y = tab.middle(".sentence .token:nth-of-type(11)")
    tab.point(x, y)
    tab.wait("document.querySelector('.readout').textContent.startsWith('Query it (10): Layer 3, head 1, most on animal (2) 0.6')")  # fmt: skip
    reds = tab.run("[...document.querySelectorAll('.sentence .token')].map((e) => getComputedStyle(e).backgroundColor.match(/\\d+/g).map(Number))")  # fmt: skip
    light = [sum(one) for one in reds]
    assert int(np.argmin(light)) == int(weights[10].argmax())
    assert list(np.argsort(light)[:3]) == list(np.argsort(-weights[10])[:3])


def test_cross_attention_shows_both_texts(tab: Browser, tmp_path: Path) -> None:
    queries = ["▁Das", "▁T", "ier", "</s>"]
    keys = ["▁The", "▁an", "imal", ".", "</s>"]
    weights = softmax(np.random.default_rng(1).normal(size=(2, 4, 5)))
    np.savez(tmp_path / "a.npz", weights=weights, query_labels=queries, key_labels=keys)
    tab.open(write(tmp_path, tmp_path / "a.npz"))
    show(tab, "sentence")
    texts = tab.run("[...document.querySelectorAll('.text')].map((e) => e.textContent)")
    assert texts == ["Das Tier </s>", "The animal. </s>"]
    tab.point(*tab.middle(".token:nth-of-type(3)"))
    tab.wait("document.querySelector('.readout').textContent.startsWith('Query ier (2)')")
    tick(tab, "Merge subwords")
    texts = tab.run("[...document.querySelectorAll('.text')].map((e) => e.textContent)")
    assert texts == ["Das Tier </s>", "The animal. </s>"]
    assert tab.run("document.querySelectorAll('.token').length") == 6
    tab.point(*tab.middle(".token:nth-of-type(2)"))
    tab.wait("document.querySelector('.readout').textContent.startsWith('Query Tier (1)')")
    merged = weights[0, 1:3].mean(0)
    said = text_of(tab, ".readout")
    found = dict(re.findall(r"(\S+) \(\d\) ([0-9.e-]+)", said.partition("most on ")[2]))
    assert float(found["animal."]) == pytest.approx(merged[1:4].sum(), abs=0.01)


def test_naughty_labels_are_shown_as_text(tab: Browser, tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(NAUGHTY))
    size = len(NAUGHTY)
    np.save(tmp_path / "a.npy", softmax(np.eye(size) * 9).astype(np.float32))
    tab.open(write(tmp_path, tmp_path / "a.npy", "--labels", labels, "--title", "<b>&</title>"))
    assert text_of(tab, "h1") == "<b>&</title>"
    tags = tab.run("document.querySelectorAll('b, i, img, iframe, base, link, svg').length")
    show(tab, "sentence")
    shown = tab.run("[...document.querySelectorAll('.token')].map((e) => e.textContent)")
    bare = [visible(text.removeprefix("##") or " ") for text in NAUGHTY]
    assert shown == bare
    show(tab, "head")
    matrix = Matrix(tab, (size, size))
    tab.click(*matrix.at(5, 5))
    tab.wait("document.querySelectorAll('.bars li').length === 40")
    assert tab.run("document.querySelectorAll('b, i, img, iframe, base, link, svg').length") == tags
    assert tab.run("document.scripts.length") == 2  # what is told, and the script


def test_what_is_saved_is_an_svg_and_a_png_of_the_view(
    tab: Browser, sample: Path, tmp_path: Path
) -> None:
    session, tab._session = tab._session, ""
    tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    tab._session = session
    tab.open(sample)
    for view in ("overview", "head", "sentence"):
        show(tab, view)
        for kind in ("svg", "png"):
            tab.click_on(f"#saving button[title='Save this view as {kind.upper()}']")
            path = tmp_path / f"attention-{view}.{kind}"
            for _ in range(500):
                if path.exists() and path.stat().st_size:
                    break
                tab.run("new Promise((done) => setTimeout(done, 10))")
            data = path.read_bytes()
            if kind == "png":
                assert data.startswith(b"\x89PNG")
                continue
            root = ET.fromstring(data)  # noqa: S314 - our own
            texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
            assert ("L3 H1" if view == "overview" else "animal") in texts
            assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) > 16


@pytest.mark.skipif(not shutil.which("bash"), reason="bash runs the page's command")
def test_the_command_of_the_page_makes_the_same_picture(
    tab: Browser, sample: Path, tmp_path: Path
) -> None:
    tab.open(sample)
    open_head(tab, 37)
    tick(tab, "Drop the first key")
    pick(tab, "Map", "viridis")
    command = text_of(tab, "#command")
    assert command.endswith("--keys 1-15 --cmap viridis --layers 3 --heads 1 -o attention.svg")
    run = subprocess.run(
        ["bash", "-c", command.replace("qkv ", f"{QKV} ")], cwd=tmp_path, check=True,
        capture_output=True,
    )  # fmt: skip
    assert b"cells are vectors" in run.stderr
    drawn = ET.fromstring((tmp_path / "attention.svg").read_bytes())  # noqa: S314 - our own
    cells = [rect for rect in drawn.iter("{http://www.w3.org/2000/svg}rect") if len(rect)]
    fills = [rect.get("fill") for rect in cells if "query it, key" in (rect[0].text or "")]
    matrix = Matrix(tab, (16, 15))
    canvas = "document.querySelector('canvas.matrix')"
    seen = []
    for column in range(15):
        x, y = matrix.at(10, column)
        seen.append(tab.run(f"(() => {{ const b = {canvas}.getBoundingClientRect(); return [...{canvas}.getContext('2d').getImageData({x} - b.x, {y} - b.y, 1, 1).data].slice(0, 3); }})()"))  # fmt: skip
    assert np.abs(np.array(seen) - colours_of(fills)).max() <= 12

    show(tab, "sentence")  # a row is shaded by the scale of its head
    tab.press("/")
    tab.type("it")
    tab.press("Enter")
    tab.wait("document.querySelector('#command').textContent.includes('--queries 10')")
    command = text_of(tab, "#command")
    assert "--vmin 0 --vmax 0.67" in command
    subprocess.run(
        ["bash", "-c", command.replace("qkv ", f"{QKV} ")], cwd=tmp_path, check=True,
        capture_output=True,
    )  # fmt: skip
    drawn = ET.fromstring((tmp_path / "attention.svg").read_bytes())  # noqa: S314 - our own
    cells = [rect for rect in drawn.iter("{http://www.w3.org/2000/svg}rect") if len(rect)]
    shaded = tab.run("[...document.querySelectorAll('.token')].slice(1).map((e) => getComputedStyle(e).backgroundColor.match(/\\d+/g).map(Number))")  # fmt: skip
    theirs = colours_of([rect.get("fill") for rect in cells][:15])
    assert np.abs(np.array(shaded) - theirs).max() <= 12


def colours_of(fills: list[Any]) -> Any:
    return np.array([[int(str(fill)[at : at + 2], 16) for at in (1, 3, 5)] for fill in fills])


def test_queries_and_keys_are_attended_in_the_page(tab: Browser, tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    q, k = random.normal(size=(1, 4, 600, 16)) * 2, random.normal(size=(1, 2, 600, 16))
    np.savez(tmp_path / "a.npz", queries=q, keys=k, causal=True, window=300)
    tab.open(write(tmp_path, tmp_path / "a.npz"))
    open_head(tab, 3)
    i, j = np.arange(600)[:, None], np.arange(600)
    wanted = softmax(np.where((j <= i) & (j > i - 300), q[0, 3] @ k[0, 1].T / 4, -np.inf))
    matrix = Matrix(tab, (600, 600))
    for row, column in [(300, 290), (599, 598), (450, 200), (100, 50), (20, 400)]:
        *_, said = matrix.read(row, column)
        found = re.match(r"Query (\d+) → key (\d+): ", said)
        assert found
        exact = wanted[int(found[1]), int(found[2])]
        value = float(VALUE.search(said)[1])  # type: ignore[index]
        assert value == pytest.approx(exact, rel=0.06, abs=2e-4)
    tab.click(*matrix.at(500, 480))
    tab.wait("document.querySelectorAll('.bars li').length === 40")
    row = int(re.findall(r"Query (\d+)", text_of(tab, ".details h2"))[0])
    names = tab.run(
        "[...document.querySelectorAll('.bars .name')].map((e) => Number(e.textContent))"
    )
    assert names[:5] == np.argsort(-wanted[row])[:5].tolist()


@pytest.mark.slow
def test_a_notebooks_frame_shows_the_page(tab: Browser, tmp_path: Path) -> None:
    page = qkvcli.explore(np.load(ATTENTION), TOKENS.read_text().split())
    (tmp_path / "notebook.html").write_text(
        f"<!doctype html><meta charset=latin-1><p>cell</p>{page._repr_html_()}"
    )
    tab.open(tmp_path / "notebook.html", "document.querySelector('iframe')")
    shot = tmp_path / "shot.png"
    reds = 0
    for _ in range(50):
        tab.shot(shot, whole=False)
        from matplotlib.image import imread

        pixels = imread(shot)[..., :3]
        reds = int(((pixels[..., 0] > 0.6) & (pixels[..., 1] < 0.4)).sum())
        if reds > 1000:
            break
    assert reds > 1000


@pytest.mark.slow
def test_six_layers_of_twelve_heads_of_128_tokens_open_in_a_second(
    tab: Browser, tmp_path: Path
) -> None:
    weights = softmax(np.random.default_rng(3).normal(size=(6, 12, 128, 128)) * 3)
    np.save(tmp_path / "a.npy", weights.astype(np.float32))
    page = write(tmp_path, tmp_path / "a.npy")
    assert page.stat().st_size < 1.5 * weights.size
    assert min(tab.open(page) for _ in range(3)) < 1


@pytest.mark.slow
def test_4096_tokens_open_zoom_and_pan_without_a_wait(tab: Browser, tmp_path: Path) -> None:
    scores = np.random.default_rng(4).normal(size=(4096, 4096)).astype(np.float32) * 3
    weights = softmax(np.where(np.tri(4096, dtype=bool), scores, -np.inf))
    np.save(tmp_path / "a.npy", weights)
    assert tab.open(write(tmp_path, tmp_path / "a.npy")) < 1
    *_, said = Matrix(tab, (4096, 4096)).read(4000, 20)
    row, column = map(int, re.findall(r"(?:Query|key) (\d+)", said))
    assert float(VALUE.search(said)[1]) == pytest.approx(weights[row, column], abs=0.004)  # type: ignore[index]
    x, y = tab.middle("canvas.matrix")
    for factor in range(5):
        tab.run("window.frames_ = []; window.on_ = true; (function f(t) { frames_.push(t); if (on_) requestAnimationFrame(f); })(performance.now())")  # fmt: skip
        tab.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)  # fmt: skip
        for step in range(60):
            tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x - step * 5, y=y - step * 3, button="left", buttons=1)  # fmt: skip
        tab.call("Input.dispatchMouseEvent", type="mouseReleased", x=x - 300, y=y - 180, button="left", clickCount=1)  # fmt: skip
        tab.run("window.on_ = false")
        frames: list[float] = tab.run("frames_.slice(1).map((t, i) => t - frames_[i])")
        assert np.median(frames) < 50, factor
        tab.click_on("button[title='Zoom in']")
