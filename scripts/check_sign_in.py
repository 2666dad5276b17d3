"""Signs in with a browser and a virtual authenticator: `check_sign_in.py CRETA [PICTURES]`.

Called by `check-sign-in`. A server of class staging, so that staff register an authenticator at their first
sign-in, use it at the second, and sign their approvals with it. Then the pages of people, in all their forms
(`check_people_pages.py`). Every page on the way is looked at where it stands, on each screen and in each
scheme.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from check_people_pages import STANDARD, people_pages
from playwright.sync_api import sync_playwright
from sign_in_browser import Looker, Somebody, must
from sign_in_world import World, finish, said

NEED = "Answers requests of the data teams and reads their policies"
REASON = "Look into why last night's load of payments was refused"


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
        world = World(Path(folder), Path(sys.argv[1]).resolve(), "staging", settings=STANDARD)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            ben, ana = (Somebody(world, browser, looker, name) for name in ("ben", "ana"))
            lead = sign_in_twice(ben)
            world.creta(
                "person", "assign", lead, "--role", "security-lead", "--profile", "admin", "--need", NEED
            )
            ana.sign_in("ana", lambda: None)
            approve(world, ben, ana)
            device(world, ben)
            people_pages(world, browser, ben, ana)
            actions = {entry["entry"]["action"] for entry in world.entries(0, "ben")}
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
