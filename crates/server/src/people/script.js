// Asks the browser's authenticator for what the page is about, and sends the answer.
"use strict";
const main = document.querySelector("main[data-prompt]");
const button = document.querySelector("button");
const alert = document.querySelector("[role=alert]");

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const known = (list) => (list ?? []).map((one) => ({ ...one, id: bytes(one.id) }));

async function ask() {
  const { publicKey } = JSON.parse(main.dataset.options);
  publicKey.challenge = bytes(publicKey.challenge);
  if (main.dataset.method === "create") {
    publicKey.user.id = bytes(publicKey.user.id);
    publicKey.excludeCredentials = known(publicKey.excludeCredentials);
    return navigator.credentials.create({ publicKey });
  }
  publicKey.allowCredentials = known(publicKey.allowCredentials);
  return navigator.credentials.get({ publicKey });
}

function written(credential) {
  const { response } = credential;
  const own = { clientDataJSON: text(response.clientDataJSON) };
  if (main.dataset.method === "create") {
    own.attestationObject = text(response.attestationObject);
    own.transports = response.getTransports?.() ?? [];
  } else {
    own.authenticatorData = text(response.authenticatorData);
    own.signature = text(response.signature);
    own.userHandle = response.userHandle ? text(response.userHandle) : null;
  }
  return {
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    response: own,
    extensions: credential.getClientExtensionResults(),
  };
}

// Browsers say why in words for programmers, and on purpose not exactly.
const reasons = {
  NotAllowedError: "The authenticator did not answer, or is not one that is registered for you here. Try again.",
  InvalidStateError: "This authenticator is registered already. Use it to sign in, or register another one.",
  NotSupportedError: "This authenticator cannot be used here. Try another one.",
  SecurityError: "This browser does not take this address for one that authenticators know.",
};
const sentence = (said) => said.charAt(0).toUpperCase() + said.slice(1) + ".";

button.addEventListener("click", async () => {
  button.disabled = true;
  alert.textContent = "";
  try {
    const response = written(await ask());
    const answer = await fetch("/sign-in/verify", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: main.dataset.prompt, response }),
    });
    const said = await answer.json();
    if (!answer.ok) throw new Error([said.message, said.help].filter(Boolean).map(sentence).join(" "));
    if (said.location) {
      window.location.assign(said.location);
      return;
    }
    document.querySelector("h1").textContent = said.title;
    main.querySelectorAll("p:not([role=alert]), pre").forEach((old) => old.remove());
    button.remove();
    const done = document.createElement("p");
    done.textContent = said.text;
    done.setAttribute("role", "status");
    main.append(done);
  } catch (error) {
    alert.textContent = reasons[error.name] ?? error.message;
    button.disabled = false;
  }
});
