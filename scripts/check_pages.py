"""Looks at a rendered site in a browser: `check_pages.py SITE [PICTURES]`. Called by `check-pages`."""

import functools
import http.server
import json
import sys
import threading
from importlib.resources import files
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

SCREENS = {"phone": (375, 812), "desk": (1280, 900)}
SCHEMES = ("light", "dark")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files with the headers that the site asks for."""

    headers_to_send: tuple[tuple[str, str], ...] = ()

    def end_headers(self) -> None:
        """Adds them to every answer."""
        for name, value in self.headers_to_send:
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing of each request."""


def serve(site: Path) -> str:
    """Serves the folder until the program ends; gives its address."""
    pairs = (line.split(": ", 1) for line in (site / "headers.txt").read_text().splitlines())
    Handler.headers_to_send = tuple((name, value) for name, value in pairs)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(site))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def places(site: Path) -> list[str]:
    """Every page, but of the commitments only the first in each state: they differ in nothing else."""
    report = json.loads((site / "trust/trust.json").read_text())
    first = {row["state"]: f"trust/commitments/{row['id']}/" for row in reversed(report["commitments"])}
    pages = [f"{page.parent.relative_to(site)}/" for page in sorted(site.glob("trust/**/index.html"))]
    return [page for page in pages if not page.startswith("trust/commitments/") or page in first.values()]


def look(
    browser: Browser, base: str, place: str, screen: str, scheme: str, axe: str, pictures: Path | None
) -> list[str]:
    """Opens one page on one screen and gives what is wrong with it."""
    width, height = SCREENS[screen]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=1
    )
    page = context.new_page()
    heard: list[str] = []
    page.on("console", lambda message: heard.append(f"console: {message.text}"))
    page.on("dialog", lambda dialog: (heard.append(f"a script ran: {dialog.message}"), dialog.dismiss()))
    page.on(
        "request",
        lambda request: None if request.url.startswith(base) else heard.append(f"asked of {request.url}"),
    )
    page.on(
        "response",
        lambda answer: heard.append(f"{answer.status} for {answer.url}") if answer.status >= 400 else None,
    )
    page.goto(f"{base}/{place}")
    page.evaluate(axe)
    found = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
    for violation in found["violations"]:
        targets = ", ".join(" ".join(node["target"]) for node in violation["nodes"][:3])
        heard.append(f"{violation['id']}: {violation['help']} ({targets})")
    wide = page.evaluate("document.documentElement.scrollWidth")
    if wide > width:
        heard.append(f"wider than the screen: {wide} > {width}")
    if pictures is not None:
        name = place.strip("/").replace("/", "-")
        page.screenshot(path=str(pictures / f"{name}-{screen}-{scheme}.png"), full_page=True)
    context.close()
    return heard


def main() -> int:
    """Looks at every page; exit code 1 if anything is wrong."""
    site = Path(sys.argv[1])
    pictures = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    base, looked, failed = serve(site), 0, 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for place in places(site):
            for screen in SCREENS:
                for scheme in SCHEMES:
                    looked += 1
                    for problem in look(browser, base, place, screen, scheme, axe, pictures):
                        failed += 1
                        print(f"{place} {screen} {scheme}: {problem}")
        browser.close()
    print(f"pages: {looked} views, {failed} problems")
    return 1 if failed or not looked else 0


if __name__ == "__main__":
    sys.exit(main())
