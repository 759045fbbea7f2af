"""A page in headless Chromium, driven by the DevTools protocol over pipes: the standard library is all it takes.

https://chromedevtools.github.io/devtools-protocol/: messages are JSON that ends with a zero byte, on the file
descriptors 3 (to the browser) and 4 (from it).
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_START = (
    "import os, sys; r, w = map(int, sys.argv[1:3]); os.dup2(r, 3); os.dup2(w, 4); os.execvp(sys.argv[3], sys.argv[3:])"
)
_WAIT_S = 30


def find_chromium():
    """The browser's path; ``None`` where none is installed."""
    return os.environ.get("FLAN_JAX_CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """One browser with one page."""

    def __init__(self, program, profile):
        to_browser, self._from_browser = os.pipe(), os.pipe()
        # Above 4, so that putting them on 3 and 4 closes neither too early.
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (to_browser[0], self._from_browser[1])]
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                 "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
                 "--force-color-profile=srgb", "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank")  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _START, *map(str, ends), program, *flags],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in (*ends, to_browser[0], self._from_browser[1]):
            os.close(fd)
        self._in, self._out = to_browser[1], self._from_browser[0]
        self._buffer = b""
        self._number = 0
        self._session = None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self):
        """Ends the browser and waits for it: what it still writes would stand in the way of removing its profile."""
        self._session = None
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except (RuntimeError, OSError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method, **parameters):
        """Sends a command and returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while True:
            found = self._read(_WAIT_S)
            if found is None:
                raise TimeoutError(f"no answer to {method}")
            if found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return found["result"]

    def _read(self, wait):
        while b"\0" not in self._buffer:
            if not select.select([self._out], [], [], wait)[0]:
                return None
            read = os.read(self._out, 1 << 20)
            if not read:
                raise RuntimeError("the browser ended")
            self._buffer += read
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(raw)
        if "method" in message:
            self.events.append(message)
        return message

    def size(self, width, height=900):
        """Sets the window; below 600 it is a phone."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def colors(self, scheme):
        """Sets what the system prefers: light or dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, page):
        """Goes to a file or an address and waits until its charts are drawn."""
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri() if isinstance(page, Path) else page)
        self.wait("document.readyState === 'complete' && !!document.querySelector('#report')?.children.length")
        self.settle()

    def settle(self):
        """Waits for two frames, in which observers of sizes draw."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def run(self, expression):
        """The value of an expression on the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"].get("exception", {}).get("description", str(found)))
        return found["result"].get("value")

    def wait(self, expression, seconds=_WAIT_S):
        """Waits until an expression is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.run(expression):
                return
            time.sleep(0.05)
        raise TimeoutError(f"never true: {expression}")

    def screenshot(self, path, *, whole=False):
        """Writes a PNG of the window, or of the whole page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(found["data"]))

    def errors(self):
        """What the console was told, and exceptions that nobody caught."""
        words = []
        for event in self.events:
            what, about = event["method"], event["params"]
            if what == "Runtime.exceptionThrown":
                words.append(about["exceptionDetails"].get("exception", {}).get("description", "exception"))
            elif what == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
                words.append(about["entry"]["text"])
            elif what == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
                words.append(str(about["args"]))
        return words

    def requests(self):
        """Addresses that were asked for."""
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
