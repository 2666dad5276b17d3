"""People with a browser and a virtual authenticator each, and somebody who looks at every page they see.

For `check_sign_in.py` and `check_people_pages.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from check_pages import RULES, SCHEMES, SCREENS
from playwright.sync_api import Browser, BrowserContext, Page
from sign_in_world import World, finish, said

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
        self.cut_off = False

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

        Not so the status of a refusal that was asked for, nor what a browser that was cut off says about it,
        nor that the command line listens no more when the browser asks it for an icon.
        """
        asked_for = what.startswith(
            "console: Failed to load resource: the server responded with a status of 4"
        ) or (self.cut_off and what.startswith("console: Failed to load resource: net::ERR_"))
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

    def another_authenticator(self) -> str:
        """Holds another one from now on, and the one before back; gives the name of that one."""
        before = self.authenticator
        held_back = {"authenticatorId": before, "enabled": False}
        self.debugger.send("WebAuthn.setAutomaticPresenceSimulation", held_back)
        options = {"options": AUTHENTICATOR | {"transport": "usb"}}
        self.authenticator = self.debugger.send("WebAuthn.addVirtualAuthenticator", options)[
            "authenticatorId"
        ]
        return before

    def forget_authenticator(self, authenticator: str) -> None:
        self.debugger.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": authenticator})

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
