"""Signs in with a browser and a virtual authenticator: `check_sign_in.py CRETA [PICTURES]`.

Called by `check-sign-in`. A server of class staging, so that staff register an authenticator at their first
sign-in, use it at the second, and sign their approvals with it. Every page on the way is looked at where it
stands, on each screen and in each scheme.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from check_pages import RULES, SCHEMES, SCREENS
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from sign_in_world import World, finish, said

REASON = "Look into why last night's load of payments was refused"
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
ADDRESS = r"(https://\S+/sign-in\?\S+&dpop_jkt=[\w-]{43}(?:&authenticator=register)?)"


class Looker:
    """Looks at pages, and keeps what is wrong with them."""

    def __init__(self, pictures: Path | None) -> None:
        self.axe = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        self.pictures, self.looked, self.problems = pictures, 0, list[str]()

    def hear(self, page: Page, ours: tuple[str, ...]) -> None:
        """Has everything that a page complains about kept: what its policy refuses is said on the console."""
        page.on("console", lambda message: self.problem(page, f"console: {message.text}"))
        page.on("pageerror", lambda error: self.problem(page, f"its script failed: {error}"))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(ours) else self.problem(page, f"asked of {request.url}")
            ),
        )

    def problem(self, page: Page, what: str) -> None:
        """Something is wrong with the page.

        Not so the status of a refusal that was asked for, nor that the command line listens no more when the
        browser asks it for an icon.
        """
        asked_for = what.startswith(
            "console: Failed to load resource: the server responded with a status of 4"
        )
        if not asked_for and not page.url.startswith("http://127.0.0.1:"):
            self.problems.append(f"{page.url.split('?')[0]}: {what}")

    def look(self, page: Page, name: str, heading: str) -> None:
        """Looks at the page as it stands, on every screen."""
        page.wait_for_selector(f"h1:has-text('{heading}')", timeout=15_000)
        for screen, (width, height) in SCREENS.items():
            page.set_viewport_size({"width": width, "height": height})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                self.looked += 1
                # The page's own policy lets no script in: axe comes by the debugger.
                page.evaluate(self.axe)
                found = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
                for violation in found["violations"]:
                    where = ", ".join(" ".join(node["target"]) for node in violation["nodes"][:3])
                    self.problem(
                        page, f"{name} {screen} {scheme}: {violation['id']}: {violation['help']} ({where})"
                    )
                wide = page.evaluate("document.documentElement.scrollWidth")
                if wide > width:
                    self.problem(page, f"{name} {screen} {scheme}: wider than the screen: {wide} > {width}")
                if self.pictures is not None:
                    page.screenshot(path=str(self.pictures / f"{name}-{screen}-{scheme}.png"), full_page=True)


class Somebody:
    """A person with a browser and an authenticator of their own."""

    def __init__(self, world: World, browser: Browser, looker: Looker, name: str) -> None:
        self.world, self.looker, self.name = world, looker, name
        # The server's certificate is by an authority of its own, which this browser alone is told to take.
        self.context: BrowserContext = browser.new_context(ignore_https_errors=True)
        self.page = self.context.new_page()
        looker.hear(self.page, (world.url, world.browsed, "http://127.0.0.1:"))
        self.debugger = self.context.new_cdp_session(self.page)
        self.debugger.send("WebAuthn.enable")
        added = self.debugger.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
        self.authenticator: str = added["authenticatorId"]

    def verifies(self, verified: bool) -> None:
        """Whether the authenticator takes whoever touches it for its owner."""
        self.debugger.send(
            "WebAuthn.setUserVerified", {"authenticatorId": self.authenticator, "isUserVerified": verified}
        )

    def credentials(self) -> list[dict[str, Any]]:
        known = self.debugger.send("WebAuthn.getCredentials", {"authenticatorId": self.authenticator})
        credentials: list[dict[str, Any]] = known["credentials"]
        return credentials

    def press(self) -> None:
        self.page.click("button")

    def sign_in(self, profile: str, before: Callable[[], None]) -> str:
        """`creta login`: to the provider and back, `before` happens, the authenticator answers."""
        self.world.provider.person = self.name
        process = self.world.begin_login(profile)
        self.page.goto(said(process, ADDRESS))
        before()
        self.press()
        self.page.wait_for_url("http://127.0.0.1:*/signed-in?**")
        must("You are signed in" in self.page.inner_text("body"), "the command line's own page says so")
        finish(process)
        me = self.world.ask("whoami", "--profile", profile)
        must(me["user_verified"] is True, "the session is one with a verified user")
        return str(me["person"]["person"])


def must(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"sign-in: not so: {what}")


def sign_in_twice(ben: Somebody) -> str:
    """First with a new authenticator, then with the same."""
    looker, page = ben.looker, ben.page
    person = ben.sign_in("ben", lambda: looker.look(page, "register", "Register your authenticator"))
    must(len(ben.credentials()) == 1, "one credential was made")

    def refused_first() -> None:
        looker.look(page, "use", "Use your authenticator")
        ben.verifies(False)
        ben.press()
        page.wait_for_selector("[role=alert]:not(:empty)")
        looker.look(page, "use-refused", "Use your authenticator")
        ben.verifies(True)

    again = ben.sign_in("ben", refused_first)
    must(again == person, "the second sign-in is of the same person")
    must(len(ben.credentials()) == 1, "and with the same credential")
    must(ben.credentials()[0]["signCount"] >= 1, "which signed")
    return person


def approve(world: World, ben: Somebody, ana: Somebody) -> None:
    """Ana asks, Ben reads and signs."""
    asked = ("access", "request", "--role", "operator", "--ticket", "OPS-1234", "--hours", "2")
    request = world.ask(*asked, "--reason", REASON, "--profile", "ana")["request"]
    deciding = world.start("access", "approve", request, "--profile", "ben")
    address = said(deciding, r"(https://\S+/sign-in/verify\?prompt=[\w-]+)")
    # Somebody else's authenticator signs nothing for Ben, who then begins again.
    ana.page.goto(address)
    ana.press()
    ana.page.wait_for_selector("[role=alert]:not(:empty)")
    must(world.ask("access", "show", request, "--profile", "ana")["state"] == "open", "it is still open")
    ben.page.goto(address)
    ben.looker.look(ben.page, "agree", "Do you agree?")
    must(REASON in ben.page.inner_text("main"), "whoever approves reads why")
    ben.press()
    ben.looker.look(ben.page, "agreed", "Done")
    must("approved" in finish(deciding), "the command line says so too")
    must(world.ask("access", "show", request, "--profile", "ana")["state"] == "approved", "it is approved")
    # The prompt was used up.
    ben.page.goto(address)
    ben.looker.look(ben.page, "problem", "This did not work")


def device(world: World, ben: Somebody) -> None:
    """A code from another machine: wrong, turned away, and right."""
    page, looker = ben.page, ben.looker
    code = r"enter this code: ([B-Z]{4}-[B-Z]{4})"
    world.provider.person = ben.name
    stranger = world.begin_login("stranger", "--device")
    page.goto(f"{world.browsed}/sign-in/device")
    looker.look(page, "enter-code", "Sign in on another machine")
    page.fill("input[name=user_code]", "BBBB-BBBB")
    ben.press()
    looker.look(page, "enter-code-wrong", "Sign in on another machine")
    page.fill("input[name=user_code]", said(stranger, code))
    ben.press()
    page.click("button[value=no]")
    looker.look(page, "turned-away", "Nobody was signed in")
    stranger.communicate(timeout=60)
    must(stranger.returncode != 0, "the machine that was turned away has no session")

    lab = world.begin_login("lab", "--device")
    page.goto(f"{world.browsed}/sign-in/device")
    page.fill("input[name=user_code]", said(lab, code).lower())
    ben.press()
    looker.look(page, "your-machine", "Is this your machine?")
    page.click("button[value=yes]")
    page.wait_for_selector("h1:has-text('Use your authenticator')")
    ben.press()
    looker.look(page, "signed-in", "You are signed in")
    finish(lab)
    must(world.ask("whoami", "--profile", "lab")["user_verified"] is True, "with a verified user")


def main() -> int:
    """Signs in, approves and looks; exit code 1 if anything is wrong."""
    pictures = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
    looker = Looker(pictures)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        world = World(Path(folder), Path(sys.argv[1]).resolve(), "staging")
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            ben, ana = (Somebody(world, browser, looker, name) for name in ("ben", "ana"))
            lead = sign_in_twice(ben)
            world.creta("person", "assign", lead, "--role", "security-lead", "--profile", "admin")
            ana.sign_in("ana", lambda: None)
            approve(world, ben, ana)
            device(world, ben)
            actions = {entry["entry"]["action"] for entry in world.entries(0)}
            wanted = {"authenticator.registered", "authenticator.verified"}
            must(wanted <= actions, f"the log has {wanted - actions}")
        finally:
            browser.close()
            world.stop()
    for problem in looker.problems:
        print(problem)
    print(f"sign-in: {looker.looked} views, {len(looker.problems)} problems")
    return 1 if looker.problems or not looker.looked else 0


if __name__ == "__main__":
    sys.exit(main())
