"""A headless Chromium, driven through chromedriver by the WebDriver protocol of the W3C; for tests alone."""

import base64
import contextlib
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DRIVER = shutil.which("chromedriver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's key of a reference
# without the sandbox, as containers have none; all names but that of this machine lead nowhere
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


class Browser:
    """One window, with a page: a file or an address."""

    def __init__(self, page: Path | str, width: int = 1200, height: int = 900, *, dark: bool = False):
        assert CHROMIUM and DRIVER
        self._driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
        try:
            assert self._driver.stdout is not None
            line = next(line for line in self._driver.stdout if "started successfully" in line)
            port = re.findall(r"port (\d+)", line)[-1]
            self._url = f"http://127.0.0.1:{port}/session"
            chrome = {"binary": CHROMIUM, "args": FLAGS}
            wanted = {"goog:chromeOptions": chrome, "goog:loggingPrefs": {"browser": "ALL"}}
            session = self._ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            self._url += f"/{session}"
            self._ask("POST", "/timeouts", {"script": 60_000})
            screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
            self.chrome("Emulation.setDeviceMetricsOverride", **screen)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            self.chrome("Emulation.setEmulatedMedia", features=[scheme])
            self._ask("POST", "/url", {"url": page if isinstance(page, str) else page.resolve().as_uri()})
        except BaseException:
            with contextlib.suppress(Exception):  # without it, Chromium would outlive its driver
                self._ask("DELETE", "")
            self._stop()
            raise

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._ask("DELETE", "")
        self._stop()

    def _stop(self) -> None:
        self._driver.terminate()
        assert self._driver.stdout is not None
        self._driver.stdout.close()
        self._driver.wait()

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self._url}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=400) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def chrome(self, command: str, **options: Any) -> Any:
        """A command of Chromium's own protocol."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": options})

    def run(self, script: str, *arguments: Any) -> Any:
        """The result of an asynchronous function's body; `arguments` are its arguments."""
        body = f"return (async (...arguments) => {{ {script} }})(...arguments)"
        return self._ask("POST", "/execute/sync", {"script": body, "args": list(arguments)})

    def give(self, selector: str, file: Path) -> None:
        """Chooses a file, as a user does."""
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]
        self._ask("POST", f"/element/{found}/value", {"text": str(file.resolve())})

    def draw(self, selector: str, points: list[tuple[float, float]]) -> None:
        """Presses the mouse and moves it through points, which are shares of an element's sides."""
        script = "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
        script += "return [box.left, box.top, box.width, box.height]"
        left, top, width, height = self.run(script, selector)
        moves = [
            {"type": "pointerMove", "duration": 0, "x": round(left + x * width), "y": round(top + y * height)}
            for x, y in points
        ]
        press, lift = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        actions = [moves[0], press, *moves[1:], lift]
        self._ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def click(self, selector: str) -> None:
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]
        self._ask("POST", f"/element/{found}/click", {})

    def screenshot(self, file: Path) -> None:
        """The whole page, also what is below the window."""
        found = self.chrome("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(found["data"]))

    def complaints(self) -> list[str]:
        """Errors in the browser's console."""
        return [
            line["message"] for line in self._ask("POST", "/se/log", {"type": "browser"}) if line["level"] == "SEVERE"
        ]
