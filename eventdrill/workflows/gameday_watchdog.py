"""A game day's watchdog: shows the live run on a page, stops it for a person or when it falls silent, and ends with the driver."""

import html
import json
import os
import secrets
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from reports.gameday import SILENCE_S

_PAGE_EVERY_S = 2.0
_GRACE_S = 60.0
"""So long a driver that was asked to stop may take to undo its faults."""
_HEEDS_WITHIN_S = 3.0
_LOOKS_EVERY_S = 0.5


class Watchdog:
    """What it knows, and what it does about it."""

    def __init__(self, day: Path, folder: Path, driver: int, token: str = "") -> None:
        self.day, self.folder, self.driver, self.token = day, folder, driver, token
        self.over = threading.Event()
        self._asked_s: float | None = None
        self.prediction: dict[str, Any] = json.loads((day / "prediction.json").read_text("utf-8"))

    def rows(self) -> list[dict[str, Any]]:
        """Return what the driver has told."""
        from eventdrill.workflows.gameday import read_watch

        return read_watch(self.folder)

    def reason_to_stop(self, rows: list[dict[str, Any]], now_s: float) -> str | None:
        """Return why the driver must be stopped: silence while load runs, or a file STOP that it does not heed."""
        if not rows or rows[-1]["phase"] not in ("running", "draining"):
            return None  # it prepares, reads back, or is stopping already
        stop = self.day / "STOP"
        if stop.exists() and rows[-1]["unix_s"] > stop.stat().st_mtime + _HEEDS_WITHIN_S:
            return stop.read_text("utf-8").strip() or "a person's word: the file STOP"
        if now_s - rows[-1]["unix_s"] > SILENCE_S:
            return f"no telemetry for {SILENCE_S:.0f} s"
        return None

    def look(self, now_s: float) -> None:
        """Ask the driver to stop where there is reason, and end it where it does not listen."""
        if self._asked_s is not None:
            if now_s - self._asked_s > _GRACE_S:
                os.kill(self.driver, signal.SIGKILL)  # its keeper ends the brokers, and their data goes with them
                self.over.set()
            return
        reason = self.reason_to_stop(self.rows(), now_s)
        if reason is not None:
            self._asked_s = now_s
            (self.day / "STOP").write_text(reason + "\n", "utf-8")
            os.kill(self.driver, signal.SIGINT)

    def write_page(self) -> None:
        """Write the page of this moment."""
        from reports.document import write_document
        from reports.gameday_live_page import live_document

        write_document(self.folder / "live.html", live_document(self.prediction, self.rows(), str(self.day / "STOP")))

    def buttons(self) -> str:
        """Return the buttons of the page of this moment: the stop, and what waits for a person."""
        rows = self.rows()
        waiting = rows[-1].get("waiting") if rows else None
        go = _button(f"/go/{self.token}", f"Let it begin: {html.escape(waiting)}", "#005a9c") if waiting else ""
        return f'<div class="hands">{_button(f"/stop/{self.token}", "Stop and heal now", "#a50e3a")}{go}</div>'

    def run(self) -> None:
        """Look until the driver has gone."""
        drawn_s = 0.0
        while not self.over.is_set():
            self.look(time.time())
            if time.monotonic() - drawn_s > _PAGE_EVERY_S:
                self.write_page()
                drawn_s = time.monotonic()
            self.over.wait(_LOOKS_EVERY_S)
        self.write_page()


def _button(action: str, text: str, colour: str) -> str:
    return f'<form method="post" action="{action}"><button style="background:{colour}">{text}</button></form>'


def _handler(dog: Watchdog) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Show the page with its buttons."""
            if self.path != "/":
                self.send_error(404)
                return
            path = dog.folder / "live.html"
            page = path.read_text("utf-8") if path.exists() else "<body><p>preparing</p></body>"
            self._answer(page.replace("<body>", "<body>" + dog.buttons(), 1))

        def do_POST(self) -> None:
            """Stop, or let in what waits, if it comes from our own page."""
            if secrets.compare_digest(self.path, f"/stop/{dog.token}"):
                (dog.day / "STOP").write_text("a person's word: the page's button\n", "utf-8")
                self._answer("<p>Stopping: the faults are being undone. <a href='/'>Back</a></p>")
            elif secrets.compare_digest(self.path, f"/go/{dog.token}"):
                (dog.day / "GO").write_text("the page's button\n", "utf-8")
                self._answer("<meta http-equiv='refresh' content='1;url=/'><p>It may begin. <a href='/'>Back</a></p>")
            else:
                self.send_error(403)

        def _answer(self, text: str) -> None:
            body = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: standard error is the driver's."""

    return Handler


def main() -> None:
    """Watch one run: the day's folder, the run's folder, the driver's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(10)
    dog = Watchdog(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), secrets.token_urlsafe(12))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(dog))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)

    def until_the_driver_goes() -> None:
        sys.stdin.read()
        dog.over.set()

    threading.Thread(target=until_the_driver_goes, daemon=True).start()
    dog.run()
    server.shutdown()


if __name__ == "__main__":
    main()
