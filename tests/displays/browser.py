"""A headless Chromium that tests drive by the DevTools protocol, over two pipes."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time

NAMES = "chromium", "chromium-browser", "google-chrome", "chrome"
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--mute-audio", "--remote-debugging-pipe"),
)
# Chromium reads commands from descriptor 3 and writes replies to 4, which may be in use here by something else.
START = """
import os, sys
commands, replies = os.dup(int(sys.argv[1])), os.dup(int(sys.argv[2]))
commands, replies = (os.dup2(one, number) for one, number in ((commands, 103), (replies, 104)))
os.dup2(commands, 3), os.dup2(replies, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
KEYS = {"Escape": 27, " ": 32, "Enter": 13, "Tab": 9, "n": 78, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39}
TIMEOUT = 60  # seconds


def find_browser():
    """Return the path of a browser, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A browser with one page at a time."""

    def __init__(self, path, profile):
        (from_us, self._commands), (self._replies, to_us) = os.pipe(), os.pipe()
        start = [sys.executable, "-c", START, str(from_us), str(to_us), path, *FLAGS, f"--user-data-dir={profile}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(start, pass_fds=(from_us, to_us), **quiet)
        os.close(from_us)
        os.close(to_us)
        self._buffer, self._n_sent, self._session, self._target = b"", 0, None, None
        self.events = []  # of the page, as (method, parameters)
        self.call("Browser.getVersion")

    def close(self):
        """End the browser."""
        with contextlib.suppress(OSError, RuntimeError):
            self.call("Browser.close")
        os.close(self._commands)
        os.close(self._replies)
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def open(self, url, width=1280, height=800):
        """Open a page in place of the one before."""
        before, self._session, self.events = self._target, None, []
        self._target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        if before:
            self.call("Target.closeTarget", targetId=before)
        self._session = session
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=url)

    def call(self, method, **parameters):
        """Send a command and return its result."""
        self._n_sent += 1
        command = {"id": self._n_sent, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while (message := self._receive()).get("id") != self._n_sent:
            if message.get("sessionId") == self._session:
                self.events.append((message["method"], message["params"]))
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    def _receive(self):
        deadline = time.monotonic() + TIMEOUT
        while b"\0" not in self._buffer:
            if not select.select([self._replies], [], [], max(0, deadline - time.monotonic()))[0]:
                raise RuntimeError("the browser does not answer")
            content = os.read(self._replies, 1 << 20)
            if not content:
                raise RuntimeError("the browser has ended")
            self._buffer += content
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def run(self, script):
        """Return the value of a JavaScript expression, or of its promise."""
        options = {"returnByValue": True, "awaitPromise": True, "userGesture": False}
        reply = self.call("Runtime.evaluate", expression=script, **options)
        if "exceptionDetails" in reply:
            raise RuntimeError(reply["exceptionDetails"])
        return reply["result"].get("value")

    def wait_for(self, script):
        """Wait until an expression is true, and return its value."""
        deadline = time.monotonic() + TIMEOUT
        while not (value := self.run(script)):
            if time.monotonic() > deadline:
                raise AssertionError(f"never true: {script}")
            time.sleep(0.02)
        return value

    def mouse(self, kind, x, y, **options):
        """Move ("mouseMoved"), press or release the mouse."""
        options = {"button": "left", "clickCount": 1, **options} if kind != "mouseMoved" else options
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **options)

    def click(self, x, y):
        """Click."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, x, y)

    def press(self, key):
        """Press a key."""
        code = {"key": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        self.call("Input.dispatchKeyEvent", type="keyDown", **code, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def write(self, text):
        """Write into the element that has the focus."""
        self.call("Input.insertText", text=text)
