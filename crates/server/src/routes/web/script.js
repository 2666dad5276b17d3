// The script of people's pages. It proves this browser's key with each request, and shows what the server answers.
//
// The key is made here and cannot be read, not by this script either; the server's cookie cannot be read by scripts at all.
// Each is worth nothing without the other (RFC 9449).
"use strict";

const PREFIX = "/my";
const VIEWS = "/view";
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
// Browsers' clocks are wrong more often than the server's, which its page brings.
const ahead = Number(document.documentElement.dataset.now) - Math.floor(Date.now() / 1000);

const utf8 = (text) => new TextEncoder().encode(text);
const encoded = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const random = () => encoded(crypto.getRandomValues(new Uint8Array(32)));
const digest = async (text) => encoded(await crypto.subtle.digest("SHA-256", utf8(text)));

// What this browser keeps: `own`, the key of its session and the hash of the cookie it belongs to; `coming`, the same of a
// sign-in under way.
const store = new Promise((resolve, reject) => {
  const opening = indexedDB.open("creta", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("keys");
  opening.onsuccess = () => resolve(opening.result);
  opening.onerror = () => reject(opening.error);
});

async function within(mode, act) {
  const keys = (await store).transaction("keys", mode).objectStore("keys");
  return new Promise((resolve, reject) => {
    const asked = act(keys);
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

const kept = (name) => within("readonly", (keys) => keys.get(name));
const keep = (name, value) => within("readwrite", (keys) => keys.put(value, name));
const forget = (name) => within("readwrite", (keys) => keys.delete(name));

async function prove(key, method, path) {
  const head = { typ: "dpop+jwt", alg: "ES256", jwk: key.jwk };
  const claims = {
    jti: random(),
    htm: method,
    htu: location.origin + path.split("?")[0],
    iat: Math.floor(Date.now() / 1000) + ahead,
  };
  if (key.bound) claims.ath = key.bound;
  const text = [head, claims].map((part) => encoded(utf8(JSON.stringify(part)))).join(".");
  return text + "." + encoded(await crypto.subtle.sign(ALGORITHM, key.pair.privateKey, utf8(text)));
}

// Asks for a page. The browser's parser makes a document of it that runs nothing.
async function ask(method, path, form) {
  const key = await kept("own");
  const headers = key ? { dpop: await prove(key, method, path) } : {};
  const word = document.querySelector("main")?.dataset.word;
  if (method !== "GET" && word) headers["creta-form"] = word;
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open(method, path);
    request.responseType = "document";
    Object.entries(headers).forEach(([name, value]) => request.setRequestHeader(name, value));
    request.onloadend = () => resolve({ status: request.status, page: request.response, at: request.getResponseHeader("content-location") });
    request.send(form ?? null);
  });
}

// Words for when there is no page to show.
function tell(title, text) {
  const main = document.createElement("main");
  main.id = "content";
  const heading = document.createElement("h1");
  heading.textContent = title;
  const why = document.createElement("p");
  why.setAttribute("role", "alert");
  why.className = "alert";
  why.textContent = text;
  const again = document.createElement("button");
  again.type = "button";
  again.textContent = "Try again";
  again.addEventListener("click", () => location.reload());
  main.append(heading, why, again);
  document.title = title + " · Creta";
  document.body.replaceChildren(main);
}

const lost = () => tell("The server did not answer", "Look at your connection. If that is not it, tell whoever runs the server.");

function show(page) {
  document.title = page.title;
  document.body.replaceChildren(...[...page.body.children].map((part) => document.adoptNode(part)));
  prepare();
}

// Gives a page that was shown its hands.
function prepare() {
  document.querySelectorAll("form[method=post]").forEach((form) => form.addEventListener("submit", submit));
  document.querySelectorAll("[data-sign-in]").forEach((button) =>
    button.addEventListener("click", () => signIn(button.dataset.signIn).catch(unable)),
  );
  // The command line of this computer waits for the word: nothing but a port is taken from the page for its address.
  const told = document.querySelector("[data-told]")?.dataset;
  if (told) {
    const word = new URLSearchParams({ code: told.told, state: told.state });
    location.assign("http://127.0.0.1:" + Number(told.port) + "/this-computer?" + word);
  }
  const go = document.querySelector("[data-go]")?.dataset.go;
  if (go && new URL(go, location.href).origin === location.origin) location.assign(go);
}

async function load() {
  const { status, page } = await ask("GET", VIEWS + location.pathname.slice(PREFIX.length) + location.search);
  if (!page) return lost();
  show(page);
  if (status !== 401) watch();
}

async function submit(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const fields = new FormData(form);
  if (event.submitter?.name) fields.append(event.submitter.name, event.submitter.value);
  const buttons = [...form.querySelectorAll("button")];
  buttons.forEach((button) => (button.disabled = true));
  form.querySelectorAll(".problem").forEach((old) => old.remove());
  form.setAttribute("aria-busy", "true");
  const { status, page, at } = await ask("POST", new URL(form.action).pathname, new URLSearchParams(fields));
  form.removeAttribute("aria-busy");
  buttons.forEach((button) => (button.disabled = false));
  const problem = page?.querySelector(".problem");
  if (page && (status < 300 || status === 401 || !problem)) {
    if (at && at !== location.pathname) history.pushState(null, "", at);
    if (page.querySelector("[data-code=signed-out]")) await forget("own");
    show(page);
    window.scrollTo(0, 0);
    document.querySelector(".said, h1")?.focus?.();
    if (status !== 401) watch();
    return;
  }
  // What somebody wrote stays, with what is wrong with it beside it.
  const why = problem ? document.adoptNode(problem) : document.createElement("p");
  if (!problem) {
    why.className = "problem alert";
    why.setAttribute("role", "alert");
    why.textContent = "The server did not answer. Nothing is known to have changed; look before you try again.";
  }
  why.tabIndex = -1;
  const of = page?.querySelector("main")?.dataset.code?.endsWith("/reason") ? form.elements.reason : null;
  if (of) of.after(why);
  else form.append(why);
  why.focus();
}

// Leaves for the provider, with a key that was made for this sign-in.
async function signIn(wish) {
  const pair = await crypto.subtle.generateKey(ALGORITHM, false, ["sign", "verify"]);
  const { crv, kty, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const to = location.pathname === PREFIX + "/signed-in" ? PREFIX : location.pathname + location.search;
  const coming = { pair, jwk: { crv, kty, x, y }, verifier: random(), state: random(), to };
  await keep("coming", coming);
  const asked = new URLSearchParams({
    state: coming.state,
    code_challenge: await digest(coming.verifier),
    code_challenge_method: "S256",
    dpop_jkt: await digest(JSON.stringify(coming.jwk)),
  });
  if (wish === "register") asked.set("authenticator", "register");
  location.assign("/sign-in/browser?" + asked);
}

// Came back with a code.
async function arrive() {
  const said = new URLSearchParams(location.search);
  history.replaceState(null, "", location.pathname);
  const coming = await kept("coming");
  await forget("coming");
  if (!coming || said.get("state") !== coming.state) {
    return tell("Nobody was signed in", "This sign-in began elsewhere, or was used. Open “My access” and sign in there.");
  }
  const path = "/sign-in/browser";
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", dpop: await prove(coming, "POST", path) },
    body: JSON.stringify({ code: said.get("code"), code_verifier: coming.verifier }),
  });
  const told = await answer.json();
  if (!answer.ok) return tell("Nobody was signed in", [told.message, told.help].filter(Boolean).join("; ") + ".");
  await keep("own", { pair: coming.pair, jwk: coming.jwk, bound: told.bound });
  location.replace(coming.to);
}

// Listens whether this session is over, or anything that it held was taken away: then what is shown is asked for anew, and
// nothing stays that may no longer be seen. Only while somebody can see the page.
let listening;
async function watch() {
  listening?.abort();
  if (document.hidden) return;
  const own = (listening = new AbortController());
  let last = "";
  try {
    const path = VIEWS + "/watch";
    const key = await kept("own");
    if (!key) return;
    const answer = await fetch(path, { headers: { dpop: await prove(key, "GET", path) }, signal: own.signal });
    if (answer.status === 401) last = "over";
    if (answer.ok) {
      const words = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await words.read(); !part.done; part = await words.read()) last = part.value.trim();
    }
  } catch (error) {
    if (own.signal.aborted) return;
  }
  if (own.signal.aborted) return;
  if (last.endsWith("over")) {
    document.querySelector("main")?.replaceChildren();
    return load();
  }
  setTimeout(() => own === listening && watch(), last ? 0 : 5000);
}

const unable = () =>
  tell("This browser cannot do this", "It has to keep a key for these pages, and does not: private windows and strict settings forbid it. Use the command line instead.");

document.addEventListener("visibilitychange", () => (document.hidden ? listening?.abort() : listening && watch()));
window.addEventListener("popstate", () => location.reload());
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
(location.pathname === PREFIX + "/signed-in" ? arrive() : load()).catch(unable);
