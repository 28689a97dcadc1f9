"""A headless Chromium as a person uses it: pointer, keys, what is seen, and what is asked for.

It is driven over a pipe by its own protocol (--remote-debugging-pipe), without a library.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHIFT, _CTRL = 8, 2
_KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Home": 36, "End": 35}  # fmt: skip


def find_chromium() -> str | None:
    """Return the path of a Chromium, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next(filter(None, map(shutil.which, names)), None)


@dataclass
class Browser:
    """One tab, and all that it said.

    Parameters
    ----------
    to, back
        Descriptors of the pipe.
    requests
        The addresses that were asked for.
    said
        What was written to the console, errors that nobody caught, and violated policies.
    """

    to: int
    back: int
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)
    _session: str = ""
    _number: int = 0
    _waiting: bytes = b""

    def call(self, method: str, **parameters: Any) -> Any:
        """Send one message and return the answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data) :]
        until = time.monotonic() + 60
        while True:
            answer = self._read(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._hear(answer)

    def _read(self, until: float) -> Any:
        while b"\0" not in self._waiting:
            if not select.select([self.back], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self.back, 1 << 20)
            assert part, "the browser has ended"
            self._waiting += part
        message, _, self._waiting = self._waiting.partition(b"\0")
        return json.loads(message)

    def _hear(self, message: dict[str, Any]) -> None:
        what, told = message.get("method", ""), message.get("params", {})
        if what == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif what == "Runtime.consoleAPICalled":
            self.said.append(json.dumps(told["args"]))
        elif what == "Runtime.exceptionThrown":
            told = told["exceptionDetails"]
            self.said.append(told.get("exception", told).get("description", "error"))
        elif what == "Log.entryAdded":
            self.said.append(told["entry"]["text"])
        elif what == "Browser.downloadWillBegin":
            self.downloads.append(told["suggestedFilename"])

    def start(self, width: int, height: int, *, dark: bool = False) -> None:
        """Open a tab with the network off."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Network.emulateNetworkConditions",
            offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1,
        )  # fmt: skip
        self.resize(width, height)
        self.theme(dark=dark)

    def resize(self, width: int, height: int) -> None:
        """Give the window a size."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)  # fmt: skip

    def theme(self, *, dark: bool) -> None:
        """Set what the system prefers."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, path: Path | str, ready: str = "document.body?.dataset.ready") -> float:
        """Open a file; return after how many seconds it was ready."""
        self.requests.clear()
        began = time.monotonic()
        self.call("Page.navigate", url=f"file://{path}")
        self.wait(ready)
        return time.monotonic() - began

    def run(self, code: str) -> Any:
        """Return the value of an expression, of a promise what it promises."""
        done = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, code: str, seconds: float = 30) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + seconds
        while not self.run(f"!!({code})"):
            assert time.monotonic() < until, f"never true: {code}"
            time.sleep(0.01)

    def point(self, x: float, y: float) -> None:
        """Move the pointer."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x: float, y: float, *, shift: bool = False) -> None:
        """Click with the left button."""
        self.point(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left",
                clickCount=1, modifiers=_SHIFT * shift,
            )  # fmt: skip

    def click_on(self, selector: str, *, shift: bool = False) -> None:
        """Click in the middle of an element."""
        x, y = self.middle(selector)
        self.click(x, y, shift=shift)

    def middle(self, selector: str) -> tuple[float, float]:
        """Return the middle of an element, brought in sight."""
        code = f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'nearest'}}); const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
        x, y = self.run(code)
        return x, y

    def press(self, key: str, *, shift: bool = False, ctrl: bool = False) -> None:
        """Press a key and let it go."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        more = {"text": text} if text and not ctrl else {}
        code = _KEYS.get(key, ord(key[0].upper()))
        name = key if len(key) > 1 else ""
        for kind in ("keyDown" if more else "rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=name, windowsVirtualKeyCode=code,
                modifiers=_SHIFT * shift | _CTRL * ctrl, **(more if kind == "keyDown" else {}),
            )  # fmt: skip

    def type(self, text: str) -> None:
        """Type a text."""
        for sign in text:
            self.press(sign)

    def choose(self, selector: str, value: str) -> None:
        """Choose from a list, or tick a box by ``true``."""
        what = f"e.value = {json.dumps(value)}"
        code = f"(() => {{ const e = document.querySelector({json.dumps(selector)}); {what}; e.dispatchEvent(new Event('change', {{bubbles: true}})); }})()"
        self.run(code)

    def shot(self, path: Path | str, *, whole: bool = True) -> None:
        """Save what is seen as PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)[
            "data"
        ]
        with open(path, "wb") as stream:
            stream.write(base64.b64decode(data))


@contextmanager
def browser(
    folder: Path | str, width: int = 1400, height: int = 900, *, dark: bool = False
) -> Iterator[Browser]:
    """Yield a tab of a Chromium of its own, with a profile in a folder."""
    program = find_chromium()
    assert program
    down, up = os.pipe(), os.pipe()
    words = [
        program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
        "--remote-debugging-pipe", f"--user-data-dir={folder}/profile", "about:blank",
    ]  # fmt: skip
    script = f'exec "$@" 3<&{down[0]} 4>&{up[1]}'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *words],
        pass_fds=[down[0], up[1]], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for end in (down[0], up[1]):
        os.close(end)
    tab = Browser(down[1], up[0])
    try:
        tab.start(width, height, dark=dark)
        yield tab
        tab._session = ""
        tab.call("Browser.close")
    finally:
        for end in (down[1], up[0]):
            os.close(end)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
