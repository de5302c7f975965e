"""A headless Chromium driven through its debugging pipe, for what only a browser can say of a page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --remote-debugging-pipe"


class Browser:
    """Commands out, answers and events in, each ended by a zero byte.

    Args:
        write: descriptor that takes commands.
        read: descriptor that gives answers.
    """

    def __init__(self, write: int, read: int) -> None:
        self._out, self._in = os.fdopen(write, "wb"), os.fdopen(read, "rb")
        self._number, self._session = 0, ""
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        """Closes both ends, at which the browser leaves."""
        self._out.close()
        self._in.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Returns the answer to a command."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        return answer["result"]

    def open(self, page: Path) -> None:
        """Loads a page in a tab of its own and waits for it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def value(self, expression: str) -> Any:
        """Returns what a JavaScript expression is in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def press(self, key: str) -> None:
        """Presses a key where the focus is."""
        text = {"text": "\r"} if key == "Enter" else {}
        codes = {"key": key, "code": key, "windowsVirtualKeyCode": {"Enter": 13}.get(key, 0)}
        self.call("Input.dispatchKeyEvent", type="keyDown", **codes, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **codes)

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (letter := self._in.read(1)) != b"\0":
            assert letter, "the browser has left"
            text += letter
        return json.loads(text)


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Starts a browser with a profile folder of its own and ends it."""
    to_read, write = os.pipe()
    read, to_write = os.pipe()
    command = f'exec "{PROGRAM}" {FLAGS} "--user-data-dir={profile}" 3<&{to_read} 4>&{to_write}'
    with subprocess.Popen(
        ["bash", "-c", command], pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        os.close(to_read)
        os.close(to_write)
        driven = Browser(write, read)
        try:
            yield driven
        finally:
            driven.close()
            process.terminate()
            process.wait(20)
