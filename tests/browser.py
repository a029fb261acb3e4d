"""A headless Chromium driven over its DevTools protocol, which records what pages request and complain about."""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import websocket

CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-port=0", "--remote-allow-origins=*", "--window-size=1280,900"),
]


def wait_for(condition, seconds=30):
    "What a condition returns once it is true; fails after some seconds."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise TimeoutError(f"not true after {seconds} s")


class Browser:
    "One browser with one page."

    def __enter__(self):
        assert CHROMIUM, "no Chromium on this machine: apt-get install chromium"
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={self.profile.name}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.requests, self.complaints, self.last_id = [], [], 0
        port_file = Path(self.profile.name, "DevToolsActivePort")
        port = wait_for(lambda: port_file.exists() and port_file.read_text().split("\n")[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            page = next(target for target in json.load(answer) if target["type"] == "page")
        self.socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=30)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *exception):
        self.socket.close()
        self.process.terminate()
        self.process.wait(10)
        self.profile.cleanup()

    def call(self, method, **parameters):
        "The result of a DevTools command."
        self.last_id += 1
        self.socket.send(json.dumps({"id": self.last_id, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.last_id:
                assert "error" not in message, message
                return message["result"]
            self.note(message)

    def note(self, event):
        "Keep what an event says about requests, and any complaint."
        method, said = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif method == "Network.loadingFailed" and not said.get("canceled"):
            self.complaints.append(f"not loaded: {said['errorText']}")
        elif method == "Network.responseReceived" and said["response"]["status"] >= 400:
            self.complaints.append(f"{said['response']['status']} for {said['response']['url']}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(said["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert", "warning"):
            self.complaints.append(f"console: {[argument.get('value') for argument in said['args']]}")
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"log: {said['entry']['text']} {said['entry'].get('url', '')}")

    def run(self, script):
        "The value of a piece of JavaScript; promises are awaited."
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script):
        "Wait until a piece of JavaScript is true, and return its value."
        return wait_for(lambda: self.run(script))

    def open(self, url):
        "Open a page and wait until it has loaded, with its fonts and scripts."
        self.call("Page.navigate", url=url)
        self.wait(f"location.href.split('#')[0] == {json.dumps(url)} && document.readyState == 'complete'")
        self.run("document.fonts.ready.then(() => true)")

    def type(self, selector, text):
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def click(self, selector):
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def resize(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
