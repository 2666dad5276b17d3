"""People without the provider, with a browser and authenticators: `check_accounts.py CRETA [PICTURES]`.

Called by `check-sign-in`. Two members of staff open the emergency account. A tenant's user is invited,
chooses a password, registers an application that makes codes, and signs in with both. Every page on the way
is looked at where it stands, on each screen and in each scheme.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from sign_in_browser import ADDRESS, Looker, Somebody, must
from sign_in_world import World, finish, said

EMERGENCY = "The identity provider is down and a stolen deploy token is in use"
CHOSEN = "seven otters juggle"
APPOINTED = {"kim": "administrator", "lee": "administrator", "ben": "security-lead"}


def emergency(world: World, kim: Somebody, lee: Somebody) -> None:
    """Two people open the emergency account, one acts and closes it, and a third looks at what happened."""
    for somebody in (kim, lee):
        somebody.sign_in(somebody.name, lambda: None)
    holders = (f"--holder={somebody.name}@example.com" for somebody in (kim, lee))
    world.creta("break-glass", "seal", *holders, "--profile", "kim")
    for somebody in (kim, lee):
        world.creta("break-glass", "take", "--out", f"{somebody.name}.half", "--profile", somebody.name)

    def shows(somebody: Somebody) -> tuple[str, ...]:
        return (
            "--as",
            f"{somebody.name}@example.com",
            "--half-file",
            f"{somebody.name}.half",
            "--profile",
            "kim",
        )

    opening = world.start("break-glass", "open", "--reason", EMERGENCY, "--minutes", "10", *shows(kim))
    heard = said(opening, r"(https://\S+prompt=[\w-]+[\s\S]*break-glass join [0-9a-f]{32})")
    name = heard.split()[-1]
    kim.page.goto(heard.split()[0])
    kim.looker.look(kim.page, "emergency-first", "Do you agree?")
    must(EMERGENCY in kim.page.inner_text("main"), "whoever signs reads why")
    kim.press()
    kim.looker.look(kim.page, "emergency-first-signed", "Done")
    joining = world.start("break-glass", "join", name, *shows(lee))
    lee.page.goto(said(joining, r"(https://\S+prompt=[\w-]+)"))
    finish(joining)
    lee.looker.look(lee.page, "emergency-second", "Do you agree?")
    lee.press()
    lee.looker.look(lee.page, "emergency-open", "Done")
    finish(opening)
    listed = world.ask("person", "list", "--profile", "emergency")["persons"]
    must(len(listed) == len(APPOINTED), f"the account acts, and sees who is here: {listed}")
    world.creta("break-glass", "close", name)
    refused = world.creta("person", "list", "--profile", "emergency", fails=True)
    must("break-glass/not-open" in refused or "auth/" in refused, f"and not after it was closed: {refused}")
    words = ("--finding", "justified", "--words", "The token was ended, and the log shows nothing else")
    world.creta("break-glass", "review", name, *words, "--profile", "ben")


def code_of(secret: str, later: int) -> str:
    """The code of an application (RFC 6238), so many steps from now."""
    step = struct.pack(">Q", int(time.time()) // 30 + later)
    digest = hmac.new(base64.b32decode(secret + "=" * (-len(secret) % 8)), step, hashlib.sha1).digest()
    start = digest[19] & 15
    return f"{(struct.unpack('>I', digest[start : start + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


def invited(world: World, eve: Somebody) -> None:
    """A tenant's user without a provider: a link, a password, codes, and a sign-in."""
    page, looker = eve.page, eve.looker
    world.creta("tenant", "create", "acme", "--profile", "kim")
    asked = ("person", "invite", "eve@acme.example", "--tenant", "acme", "--role", "viewer")
    asked += ("--need", "Eve answers what customers of Acme ask")
    link = world.ask(*asked, "--profile", "kim")["link"]
    page.goto(link)
    looker.look(page, "choose-password", "Choose a password")

    def choose(text: str) -> None:
        page.fill("input[name=password]", text)
        page.fill("input[name=again]", text)
        press(page, "Go on")

    choose("Password1234567!")
    page.wait_for_selector("[role=alert]:not(:empty)")
    looker.look(page, "choose-password-refused", "Choose a password")
    choose(CHOSEN)
    looker.look(page, "register-factor", "Register a second factor")
    page.click("summary")
    secret = page.inner_text("details p code")
    page.fill("input[name=code]", "000000")
    press(page, "Register the application")
    page.wait_for_selector("[role=alert]:not(:empty)")
    looker.look(page, "register-factor-refused", "Register a second factor")
    page.fill("input[name=code]", code_of(secret, 0))
    press(page, "Register the application")
    looker.look(page, "registered", "You can sign in now")
    page.goto(link)
    looker.look(page, "invitation-used", "This did not work")

    process = world.begin_login("eve")
    page.goto(said(process, ADDRESS))
    looker.look(page, "begin", "Sign in")
    for password in ("something else altogether", CHOSEN):
        page.fill("input[name=name]", "eve@acme.example")
        page.fill("input[name=password]", password)
        press(page, "Sign in with a password")
        if password != CHOSEN:
            page.wait_for_selector("[role=alert]:not(:empty)")
            looker.look(page, "begin-refused", "Sign in")
    looker.look(page, "enter-factor", "Enter your code")
    page.fill("input[name=code]", code_of(secret, 1))
    press(page, "Sign in")
    page.wait_for_url("http://127.0.0.1:*/signed-in?**")
    finish(process)
    me = world.ask("whoami", "--profile", "eve")
    must(me["user_verified"] is True and "people/acme" in me["home"], f"with two factors, at home: {me}")


def press(page: Page, words: str) -> None:
    page.click(f"button:has-text('{words}')")


def main() -> int:
    """Goes both ways and looks; exit code 1 if anything is wrong."""
    pictures = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    looker = Looker(pictures)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        world = World(Path(folder), Path(sys.argv[1]).resolve(), "staging", APPOINTED)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            names = ("ben", "kim", "lee", "eve")
            ben, kim, lee, eve = (Somebody(world, browser, looker, name) for name in names)
            ben.sign_in("ben", lambda: None)
            emergency(world, kim, lee)
            invited(world, eve)
            actions = {entry["entry"]["action"] for entry in world.entries(0, "ben")}
            wanted = {
                "break-glass.opened",
                "break-glass.reviewed",
                "person.invited",
                "authenticator.verified",
            }
            must(wanted <= actions, f"the log has {wanted - actions}")
        finally:
            browser.close()
            world.stop()
    for problem in looker.problems:
        print(problem)
    print(f"accounts: {looker.looked} views, {len(looker.problems)} problems")
    return 1 if looker.problems or not looker.looked else 0


if __name__ == "__main__":
    sys.exit(main())
