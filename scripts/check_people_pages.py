"""Uses the pages of people as people do: asks, approves, begins, takes away, and is refused.

Called by `check_sign_in.py` with people who have registered their authenticators. Each page is looked at in
each of its forms: loading, empty, filled, failed, not permitted.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

from playwright.sync_api import Browser, Page, Route
from sign_in_browser import Somebody, must
from sign_in_world import World, finish, said

NEED = "Looks after the platform and its people"
REASON = "Watch how the tenants' loads go while the new disks are filled"
POLICY = """@id("auditors-run-checks")
permit (
  principal is Creta::Person in Creta::Role::"auditor",
  action == Creta::Action::"trust.run",
  resource is Creta::Environment
)
when { principal.environment == resource.environment };
"""
# What computers have to be like, and how a management tool says that one is so.
SIGNER = "5a" * 32
STANDARD = f"""
[devices.standard]
screen_lock_seconds_max = 300
report_hours_max = 24
password_managers = [{{ platform = "linux", package = {{ id = "1password", signer = "{SIGNER}" }} }}]

[devices.standard.os_versions_min]
ubuntu = "22.04"
"""
MANAGED = {
    "platform": "linux",
    "os": "ubuntu",
    "os_version": "24.04",
    "disk_encryption": "on",
    "firewall": "on",
    "automatic_updates": "on",
    "malware_protection": "on",
    "remote_login": "off",
    "password_manager_lock": "on",
    "browser_passwords": "off",
    "screen_lock_seconds": 300,
    "password_manager": "1password",
    "password_manager_signer": SIGNER,
}
# What is revoked is over, on open pages too.
SOON = 5.0


def people_pages(world: World, browser: Browser, ben: Somebody, ana: Somebody) -> None:
    """Everything, in the order in which a day goes. Ben is a security lead, Ana has no role."""
    sign_in_for_pages(world, ana)
    sign_in_for_pages(world, ben)
    cut_off(world, ana)
    refusals(world, ana)
    request = ask(world, ana)
    approve(world, ben, request)
    begin_and_lose(world, ben, ana, request)
    policies(world, browser, ben)
    tenant(world, browser, ana)
    secret(world, ben)
    computer(world, ben, ana)
    authenticators(ana)
    keyboard(world, ana)
    copied_cookie(world, browser, ana)
    ended_elsewhere(world, ana)
    sign_out(ben)


def opened(who: Somebody, path: str, heading: str) -> Page:
    """The page at a path, once it shows what it is about."""
    who.page.goto(f"{who.world.browsed}{path}")
    who.page.wait_for_selector(f"h1:has-text('{heading}')", timeout=15_000)
    return who.page


def sign_in_for_pages(world: World, who: Somebody) -> None:
    """From the page that nobody is signed in on, to the provider, the authenticator, and back to the page."""
    page = opened(who, "/my", "Sign in")
    world.provider.person = who.name
    if who.name == "ana":
        who.looker.look(page, "my-signed-out", "Sign in")
    page.click("[data-sign-in]")
    page.wait_for_selector("h1:has-text('Use your authenticator')", timeout=15_000)
    who.press()
    page.wait_for_selector("h1:has-text('My access')", timeout=15_000)
    must(page.url == f"{world.browsed}/my", "the browser is back where it began")
    who.looker.look(page, f"my-access-{who.name}", "My access")


def cut_off(world: World, ana: Somebody) -> None:
    """A page that waits for its server, and one whose server does not answer."""
    page, looker = ana.page, ana.looker
    held: list[Route] = []
    page.route("**/view", lambda route: held.append(route))
    page.goto(f"{world.browsed}/my")
    looker.look(page, "my-loading", "Creta")
    must(page.get_attribute("main", "aria-busy") == "true", "who listens is told that the page is busy")
    looker.cut_off = True
    for route in held:
        route.abort()
    looker.look(page, "my-failed", "The server did not answer")
    page.unroute("**/view")
    page.click("button")
    page.wait_for_selector("h1:has-text('My access')", timeout=15_000)
    looker.cut_off = False


def refusals(world: World, ana: Somebody) -> None:
    """What Ana may not see says what to ask for, and leads there; what is not there is not found."""
    looker = ana.looker
    page = opened(ana, "/my/reviews", "Not permitted")
    looker.look(page, "reviews-not-permitted", "Not permitted")
    page.click("a:has-text('fill it in here')")
    looker.look(page, "ask-filled-in", "Ask for access")
    must(page.input_value("#role") == "auditor", "the form knows the role")
    page = opened(ana, f"/my/requests/{'0' * 32}", "There is no such thing")
    looker.look(page, "request-not-found", "There is no such thing")


def ask(world: World, ana: Somebody) -> str:
    """Empty talk first; what was written stays. Then with a reason."""
    looker = ana.looker
    page = opened(ana, "/my/ask", "Ask for access")
    looker.look(page, "ask", "Ask for access")
    page.select_option("#role", "operator")
    page.fill("#reason", "please please please please")
    page.fill("#ticket", "OPS-77")
    page.click("main button[type=submit]")
    page.wait_for_selector(".problem", timeout=15_000)
    looker.look(page, "ask-refused", "Ask for access")
    must(page.input_value("#ticket") == "OPS-77", "what was written stays")
    page.fill("#reason", REASON)
    page.click("main button[type=submit]")
    page.wait_for_selector("h1:has-text('Request for access')", timeout=15_000)
    looker.look(page, "request-asked", "Request for access")
    must("/my/requests/" in page.url, "the address is that of the request")
    request = page.url.rsplit("/", 1)[1]
    looker.look(opened(ana, "/my/requests", "Requests"), "requests-own", "Requests")
    return request


def approve(world: World, ben: Somebody, request: str) -> None:
    """Ben reads what waits for him, and signs it."""
    looker = ben.looker
    page = opened(ben, "/my/requests", "Requests")
    looker.look(page, "requests-waiting", "Requests")
    page.click(f"a[href='/my/requests/{request}']")
    looker.look(page, "request-to-decide", "Request for access")
    must(REASON in page.inner_text("main"), "whoever approves reads why")
    page.click("button[value=approve]")
    page.wait_for_selector("h1:has-text('Do you agree?')", timeout=15_000)
    must(REASON in page.inner_text("main"), "and reads it again where it is signed")
    ben.press()
    page.wait_for_selector(".state.approved", timeout=15_000)
    must(page.url.endswith(request), "the browser is back at the request")
    looker.look(page, "request-approved", "Request for access")


def begin_and_lose(world: World, ben: Somebody, ana: Somebody, request: str) -> None:
    """Ana begins; Ben takes it away; her page, left open, knows it within seconds."""
    page = opened(ana, f"/my/requests/{request}", "Request for access")
    page.click("button:has-text('Begin')")
    page.wait_for_selector("h1:has-text('My access')", timeout=15_000)
    ana.looker.look(page, "my-access-granted", "My access")
    must("1 h left" in page.inner_text("#held + ul"), "the page says how long it lasts")
    lead = opened(ben, "/my", "My access")
    lead.click("section[aria-labelledby=others] summary")
    ben.looker.look(lead, "my-access-others", "My access")
    began = time.monotonic()
    lead.click("section[aria-labelledby=others] button")
    page.wait_for_selector("#held + p.none", timeout=15_000)
    took = time.monotonic() - began
    must(took < SOON, f"an open page knew after {took:.1f} s that its grant was taken away")
    print(f"sign-in: an open page knew after {took:.1f} s that its grant was taken away")
    ben.looker.look(lead, "my-access-taken", "My access")


def policies(world: World, browser: Browser, ben: Somebody) -> None:
    """Nothing is proposed; then something wider is, by Zoe with the command line, and Ben signs it."""
    looker = ben.looker
    looker.look(opened(ben, "/my/policies", "Access policies"), "policies-none", "Access policies")
    looker.look(opened(ben, "/my/reviews", "Reviews of access"), "reviews-none", "Reviews of access")
    zoe = Somebody(world, browser, looker, "zoe")
    person = zoe.sign_in("zoe", lambda: None)
    world.creta("person", "assign", person, "--role", "administrator", "--profile", "admin", "--need", NEED)
    file = world.folder / "wider.cedar"
    file.write_text(POLICY)
    world.creta("access", "policy", "propose", str(file), "--profile", "zoe")
    page = opened(ben, "/my/policies", "Access policies")
    looker.look(page, "policies-proposed", "Access policies")
    page.click("section[aria-labelledby=proposals] a")
    page.wait_for_selector("h1:has-text('Proposed policies')", timeout=15_000)
    looker.look(page, "policy-to-approve", "Proposed policies")
    page.click("main form button")
    looker.look(page, "policy-agree", "Do you agree?")
    must("auditors-run-checks" in page.inner_text("main"), "whoever signs reads the text")
    ben.press()
    page.wait_for_selector("h1:has-text('Proposed policies')", timeout=30_000)
    must("In force" in page.inner_text("main"), "the policies are in force")
    looker.look(page, "policy-in-force", "Proposed policies")


def tenant(world: World, browser: Browser, ana: Somebody) -> None:
    """Somebody of a tenant: their own scope, and who saw their data. Zoe is administrator and gives roles."""
    world.creta("tenant", "create", "acme", "--profile", "zoe")
    tia = Somebody(world, browser, ana.looker, "tia")
    person = tia.sign_in("tia", lambda: None)
    world.creta("person", "assign", person, "--tenant", "acme", "--profile", "zoe")
    sign_in_for_pages(world, tia)
    page = opened(tia, "/my/accesses", "Not permitted")
    tia.looker.look(page, "accesses-not-permitted", "Not permitted")
    role = ("--role", "developer", "--role", "operator", "--tenant", "acme", "--need", NEED)
    world.creta("person", "assign", person, *role, "--profile", "zoe")
    page = opened(tia, "/my/accesses", "Who saw our data")
    tia.looker.look(page, "accesses", "Who saw our data")
    page = opened(tia, "/my/accesses?before=0", "Who saw our data")
    tia.looker.look(page, "accesses-none", "Who saw our data")
    tia.looker.look(opened(tia, "/my/ask", "Ask for access"), "ask-of-tenant", "Ask for access")


def secret(world: World, ben: Somebody) -> None:
    """Tia is to be shown the secret of a program of her tenant's; Ben signs that she may."""
    program = ("scoring", "--tenant", "acme", "--role", "reader")
    why = "The scoring service of the shop starts on Monday"
    asked = world.ask("service-account", "request", *program, "--reason", why, "--profile", "tia")
    deciding = world.start("service-account", "approve", asked["request"], "--profile", "ben")
    page = opened(ben, said(deciding, r"https://[^/]+(/sign-in/verify\?prompt=[\w-]+)"), "Do you agree?")
    ben.looker.look(page, "secret-agree", "Do you agree?")
    must(why in page.inner_text("main"), "whoever signs reads why")
    ben.press()
    ben.looker.look(page, "secret-agreed", "Done")
    finish(deciding)
    world.creta("service-account", "create", *program, "--out", "scoring.json", "--profile", "tia")


def computer(world: World, ben: Somebody, ana: Somebody) -> None:
    """Ana's computer vouches for her browser: nobody asks first, then the command does, and it counts."""
    looker = ana.looker
    looker.look(opened(ana, "/my/computer", "This computer"), "computer-nobody-asks", "This computer")
    world.creta(
        "device", "enrol", "--software", "--name", "ana's laptop", "--serial", "C02X", "--profile", "ana"
    )
    looker.look(opened(ana, "/my", "My access"), "my-device-not-as-it-should", "My access")
    time.sleep(1.1)
    collected = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    export = world.folder / "managed.json"
    export.write_text(json.dumps([MANAGED | {"serial": "C02X", "collected": collected}]))
    world.creta("device", "import", "--mdm", str(export), "--profile", "ben")
    vouching = world.start("device", "browser", "--no-browser", "--profile", "ana")
    ana.page.goto(said(vouching, r"(https://\S+/my/computer\?\S+)"))
    looker.look(ana.page, "computer-asked", "This computer")
    ana.page.click("main form button")
    finish(vouching)
    page = opened(ana, "/my/computer", "This computer")
    must(
        "This browser counts as ana's laptop" in page.inner_text("main"), "the browser counts as the computer"
    )
    looker.look(page, "computer-vouched", "This computer")
    looker.look(opened(ana, "/my", "My access"), "my-computer", "My access")


def authenticators(ana: Somebody) -> None:
    """Ana registers a second authenticator with her first, and takes the first away with the second."""
    page, looker = opened(ana, "/my", "My access"), ana.looker
    must(page.locator("#authenticators ~ ul summary").count() == 0, "the last one cannot be taken away")
    ana.world.provider.person = ana.name
    page.click("[data-sign-in=register]")
    page.wait_for_selector("h1:has-text('Use your authenticator')", timeout=15_000)
    ana.press()
    page.wait_for_selector("h1:has-text('Register your authenticator')", timeout=15_000)
    looker.look(page, "register-another", "Register your authenticator")
    first = ana.another_authenticator()
    ana.press()
    page.wait_for_selector("h1:has-text('My access')", timeout=15_000)
    must(page.locator("#authenticators ~ ul > li").count() == 2, "both are there")
    page.click("#authenticators ~ ul > li:first-child summary")
    looker.look(page, "my-authenticators", "My access")
    page.click("#authenticators ~ ul > li:first-child button")
    page.wait_for_selector("h1:has-text('Do you agree?')", timeout=15_000)
    looker.look(page, "authenticator-agree", "Do you agree?")
    ana.press()
    page.wait_for_selector("h1:has-text('My access')", timeout=15_000)
    must(page.locator("#authenticators ~ ul > li").count() == 1, "one is left")
    looker.look(page, "my-authenticator-left", "My access")
    ana.forget_authenticator(first)
    # The command line's session ended with it.
    refused = ana.world.creta("whoami", "--profile", "ana", fails=True)
    must("creta login" in refused, f"sessions elsewhere are over: {refused}")
    ana.sign_in("ana", lambda: None)


def keyboard(world: World, ana: Somebody) -> None:
    """Everything can be reached without a mouse, in the order of the page."""
    page = opened(ana, "/my/ask", "Ask for access")
    wanted = page.evaluate(
        "[...document.querySelectorAll('a[href], button, input, select, textarea, summary')]"
        ".filter(one => one.offsetParent !== null && !(one.type === 'radio' && !one.checked)).length"
    )
    reached: list[str] = []
    for _ in range(wanted + 2):
        page.keyboard.press("Tab")
        at = page.evaluate("document.activeElement === document.body ? '' : document.activeElement.outerHTML")
        if at and at not in reached:
            reached.append(at)
    must(len(reached) >= wanted, f"{len(reached)} of {wanted} places are reached by keyboard")


def copied_cookie(world: World, browser: Browser, ana: Somebody) -> None:
    """Ana's cookies in another browser show nothing."""
    elsewhere = browser.new_context(ignore_https_errors=True)
    elsewhere.add_cookies(ana.context.cookies())
    page = elsewhere.new_page()
    page.goto(f"{world.browsed}/my")
    page.wait_for_selector("h1:has-text('Sign in')", timeout=15_000)
    must("ana@example.com" not in page.content(), "a copied cookie shows nothing")
    answer = page.request.get(f"{world.browsed}/view")
    must(answer.status == 401 and "ana@example.com" not in answer.text(), "nor without the page's script")
    elsewhere.close()
    must(opened(ana, "/my", "My access").url.endswith("/my"), "the browser itself is still signed in")


def ended_elsewhere(world: World, ana: Somebody) -> None:
    """The terminal ends the browser's session; the page, left open, goes blank within seconds."""
    page = opened(ana, "/my", "My access")
    sessions = world.ask("session", "list", "--profile", "ana")["sessions"]
    mine = [one["session"] for one in sessions if one["client"] == "browser" and one["open"]]
    must(len(mine) == 1, f"one open session in a browser, not {len(mine)}")
    world.creta("session", "end", mine[0], "--profile", "ana")
    began = time.monotonic()
    page.wait_for_selector("h1:has-text('Sign in')", timeout=15_000)
    took = time.monotonic() - began
    must(took < SOON, f"an open page went blank {took:.1f} s after its session was ended")
    must("ana@example.com" not in page.inner_text("body"), "nothing stays on it")
    print(f"sign-in: an open page went blank {took:.1f} s after its session was ended")
    ana.looker.look(page, "my-over", "Sign in")


def sign_out(ben: Somebody) -> None:
    """Ben signs out; his cookie and his key are gone."""
    page = opened(ben, "/my", "My access")
    page.click("button:has-text('Sign out')")
    ben.looker.look(page, "signed-out", "Signed out")
    must(not [one for one in ben.context.cookies() if one["name"] == "__Host-creta-session"], "no cookie")
    opened(ben, "/my", "Sign in")
