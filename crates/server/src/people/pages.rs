//! The pages of a sign-in. Plain HTML: no scripts, no styles from elsewhere, every text escaped by construction.

use std::net::IpAddr;

use super::authenticators::Prompt;
use creta_model::Problem;
use maud::{DOCTYPE, Markup, html};

/// What every page of this family may load and do: its own style, its own forms. Browsers apply `form-action` to where a
/// form leads in the end too, which is the identity provider.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self' https: http://127.0.0.1:* http://localhost:*; base-uri 'none'; frame-ancestors 'none'";

/// The same for the page that asks an authenticator, which needs our script.
pub(crate) const POLICY_WITH_SCRIPT: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What asks the authenticator.
pub(crate) const SCRIPT: &str = include_str!("script.js");

/// Asks for the person's authenticator.
pub(crate) fn prompt(prompt: &Prompt) -> String {
    let (title, act) = match (prompt.method, prompt.text.len()) {
        ("create", _) => ("Register your authenticator", "Register it"),
        (_, 1) => ("Use your authenticator", "Use the authenticator"),
        _ => ("Do you agree?", "Agree and sign"),
    };
    let body = html! {
        @for line in &prompt.text { p { (prose(line)) } }
        @if let Some(text) = &prompt.document { pre tabindex="0" aria-label="The text" { (text) } }
        p role="alert" class="alert" aria-live="polite" {}
        button type="button" { (act) }
        noscript { p class="alert" { "Authenticators need a browser with scripts." } }
        script src="/sign-in/script.js" {}
    };
    let options = prompt.options.to_string();
    let main = html! { main data-prompt=(prompt.id) data-method=(prompt.method) data-options=(options) { h1 { (title) } (body) } };
    document(title, &main)
}

fn page(title: &str, body: &Markup) -> String {
    document(title, &html! { main { h1 { (title) } (body) } })
}

fn document(title: &str, main: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="same-origin";
                title { (title) " · Creta" }
                link rel="stylesheet" href="/sign-in/style.css";
            }
            body { (main) }
        }
    };
    page.into_string()
}

/// Asks how somebody wants to sign in, where some have a password here.
pub(crate) fn begin(provider: bool, wrong: Option<&Problem>) -> String {
    page(
        "Sign in",
        &html! {
            (alert(wrong))
            @if provider {
                form method="post" action="/sign-in/local" {
                    button type="submit" name="with" value="provider" { "Sign in with your organisation" }
                }
                p class="or" { "Or, if you were invited to Creta by an administrator:" }
            }
            form method="post" action="/sign-in/local" {
                label for="name" { "Name" }
                input id="name" name="name" required autocomplete="username" autocapitalize="none" spellcheck="false"
                    maxlength="128";
                label for="password" { "Password" }
                input id="password" name="password" type="password" required autocomplete="current-password" maxlength="256";
                button type="submit" class=[provider.then_some("quiet")] { "Sign in with a password" }
            }
        },
    )
}

/// Whoever was invited chooses a password.
pub(crate) fn choose_password(code: &str, person: &str, asks_word: bool, wrong: Option<&Problem>) -> String {
    page(
        "Choose a password",
        &html! {
            (alert(wrong))
            p { "You will sign in as " strong { (person) } "." }
            form method="post" action="/sign-in/invited" {
                input type="hidden" name="code" value=(code);
                // Password managers keep the two together.
                input class="hidden" type="text" name="username" value=(person) autocomplete="username" readonly disabled
                    tabindex="-1" aria-hidden="true";
                @if asks_word {
                    label for="word" { "The word that you were told" }
                    input id="word" name="word" required autocomplete="off" autocapitalize="characters" maxlength="20"
                        aria-describedby="about-word";
                    p id="about-word" class="note" { "Two people agreed to invite you: one sent you this link, the other tells you a "
                        "word. If nobody did, call whoever looks after your account there." }
                }
                label for="password" { "Password" }
                input id="password" name="password" type="password" required autocomplete="new-password" minlength="14"
                    maxlength="256" aria-describedby="rules";
                p id="rules" class="note" { "At least 14 characters. Best is what a password manager makes, or five random "
                    "words. No kinds of characters are asked for; what is known from breaches or easily guessed is refused." }
                label for="again" { "The same again" }
                input id="again" name="again" type="password" required autocomplete="new-password" maxlength="256";
                button type="submit" { "Go on" }
            }
        },
    )
}

/// A second factor is registered: the first code of an application, or a security key instead.
pub(crate) fn register_factor(address: &str, elsewhere: Option<&str>, wrong: Option<&Problem>) -> String {
    let secret = address.split("secret=").nth(1).and_then(|rest| rest.split('&').next()).unwrap_or_default();
    page(
        "Register a second factor",
        &html! {
            (alert(wrong))
            (signed_in(elsewhere))
            p { "Scan this with an application that makes codes, and type the code that it shows." }
            (qr(address))
            details {
                summary { "I cannot scan it" }
                p { "Type this secret into the application (six digits, every 30 seconds):" }
                p { code { (secret) } }
                p { a href=(address) { "Or open the application on this device" } }
            }
            form method="post" action="/sign-in/second-factor" {
                (code_field())
                button type="submit" { "Register the application" }
            }
            form method="post" action="/sign-in/second-factor" {
                p class="or" { "Better, if you have one: a security key or this device's own authenticator cannot be fooled by "
                    "a page that looks like this one." }
                button type="submit" name="key" value="yes" class="quiet" { "Use a security key or this device instead" }
            }
        },
    )
}

/// Asks for the code of an application.
pub(crate) fn enter_factor(elsewhere: Option<&str>, wrong: Option<&Problem>) -> String {
    page(
        "Enter your code",
        &html! {
            (alert(wrong))
            (signed_in(elsewhere))
            form method="post" action="/sign-in/second-factor" {
                (code_field())
                button type="submit" { "Sign in" }
            }
        },
    )
}

/// Where somebody will be signed in who signs in for another machine.
fn signed_in(elsewhere: Option<&str>) -> Markup {
    html! {
        @if let Some(elsewhere) = elsewhere {
            p { "You will be signed in " (elsewhere) ". Stop here if you did not run " code { "creta login --device" } " there." }
        }
    }
}

fn code_field() -> Markup {
    html! {
        label for="code" { "The code that your application shows now" }
        input id="code" name="code" required inputmode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" maxlength="6"
            placeholder="123456";
    }
}

fn alert(problem: Option<&Problem>) -> Markup {
    html! { @if let Some(problem) = problem { p role="alert" class="alert" { (prose(&sentence(&problem.message))) "." } } }
}

/// A picture for cameras: dark squares on white, whatever the page's colours are, with the quiet zone that ISO 18004 asks for.
fn qr(text: &str) -> Markup {
    let Ok(code) = qrcodegen::QrCode::encode_text(text, qrcodegen::QrCodeEcc::Medium) else { return html! {} };
    let (size, quiet) = (code.size(), 4);
    let dark = (0..size).flat_map(|y| (0..size).map(move |x| (x, y))).filter(|(x, y)| code.get_module(*x, *y));
    let path: String = dark.map(|(x, y)| format!("M{} {}h1v1h-1z", x + quiet, y + quiet)).collect();
    let side = size + 2 * quiet;
    html! {
        svg class="qr" role="img" aria-label="Picture of the secret, for an application's camera"
            viewBox=(format!("0 0 {side} {side}")) width="240" height="240" shape-rendering="crispEdges" {
            rect width=(side) height=(side) fill="#ffffff" {}
            path d=(path) fill="#000000" {}
        }
    }
}

/// The title when whoever was invited is done.
pub(crate) const REGISTERED: &str = "You can sign in now";
/// And what to do.
pub(crate) const REGISTERED_TEXT: &str =
    "Close this window. From now on you sign in with your password and this second factor.";

/// Whoever was invited is done.
pub(crate) fn registered() -> String {
    page(REGISTERED, &html! { p { (REGISTERED_TEXT) } })
}

/// Somebody signed in for a device.
pub(crate) fn done() -> String {
    page(
        "You are signed in",
        &html! { p { "Close this window and go back to where you ran " code { "creta login" } "." } },
    )
}

/// Somebody turned a device away.
pub(crate) fn refused() -> String {
    page(
        "Nobody was signed in",
        &html! {
            p { "The other machine was turned away. If you did not run " code { "creta login" } " there, tell whoever looks "
                "after security: somebody asked you to enter their code." }
        },
    )
}

/// Asks for the code that a device shows.
pub(crate) fn enter_code(wrong: bool) -> String {
    page(
        "Sign in on another machine",
        &html! {
            @if wrong { p role="alert" class="alert" { "Nobody waits with this code. Look at it again; codes last ten minutes." } }
            form method="post" action="/sign-in/device" {
                label for="code" { "The code that " code { "creta login --device" } " shows" }
                input id="code" name="user_code" required autocomplete="off" autocapitalize="characters" spellcheck="false"
                    maxlength="20" placeholder="BCDF-GHJK";
                button type="submit" { "Go on" }
            }
        },
    )
}

/// Shows from where the code was asked for, before anything is signed in.
pub(crate) fn confirm_code(user_code: &str, address: IpAddr, word: &str) -> String {
    page(
        "Is this your machine?",
        &html! {
            p { "The code " strong { (user_code) } " was asked for from the address " strong { (address) } "." }
            p { "Go on only if you ran " code { "creta login --device" } " there yourself, just now. Whoever sent you a code "
                "wants to be signed in as you." }
            form method="post" action="/sign-in/device" {
                input type="hidden" name="user_code" value=(user_code);
                input type="hidden" name="word" value=(word);
                button type="submit" name="confirm" value="yes" { "It is mine: sign in" }
                button type="submit" name="confirm" value="no" class="quiet" { "It is not mine" }
            }
        },
    )
}

/// What went wrong, for people.
pub(crate) fn problem(problem: &Problem) -> String {
    page(
        "This did not work",
        &html! {
            p role="alert" class="alert" { (prose(&sentence(&problem.message))) "." }
            @if let Some(help) = &problem.help { p { (prose(&sentence(help))) "." } }
        },
    )
}

/// A message as the beginning of a paragraph: messages begin in lowercase for the terminal.
fn sentence(message: &str) -> String {
    let mut rest = message.chars();
    let first = rest.next();
    first.into_iter().flat_map(char::to_uppercase).chain(rest).collect()
}

/// Text with what stands in backticks as code.
fn prose(text: &str) -> Markup {
    html! {
        @for (position, part) in text.split('`').enumerate() {
            @if position % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// The style of these pages: readable on a phone, dark where the reader's system is.
pub(crate) const STYLE: &str = r#":root { color-scheme: light dark; --text: #1a1d21; --back: #ffffff; --quiet: #555d66; --line: #767f89; --act: #0b57d0; --on-act: #ffffff; --alert: #a30d1d }
@media (prefers-color-scheme: dark) { :root { --text: #eceff2; --back: #15181c; --quiet: #aab3bd; --line: #7d8791; --act: #a8c7fa; --on-act: #062e6f; --alert: #ffb4ab } }
body { margin: 0; background: var(--back); color: var(--text); font: 1rem/1.5 system-ui, sans-serif }
main { max-width: 34rem; margin: 10vh auto 2rem; padding: 0 1.25rem; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.25 }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere }
p code { display: inline-block }
label { display: block; margin: 1rem 0 .25rem }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .6rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--back); color: var(--text) }
button { font: inherit; margin: 1rem .75rem 0 0; padding: .6rem 1.2rem; border: 1px solid var(--act); border-radius: .4rem; background: var(--act); color: var(--on-act); cursor: pointer }
button.quiet { background: none; color: var(--text); border-color: var(--line) }
:focus-visible { outline: 3px solid var(--act); outline-offset: 2px }
pre { font-family: ui-monospace, monospace; font-size: .9rem; padding: .75rem; border: 1px solid var(--line); border-radius: .4rem; overflow-x: auto; max-height: 40vh }
.or, .note { color: var(--quiet) }
.or { margin: 1.75rem 0 0 }
.note { font-size: .9rem; margin: .25rem 0 0 }
.hidden { display: none }
.qr { display: block; border-radius: .4rem }
details { margin: .75rem 0 }
.alert { color: var(--alert); font-weight: 600 }
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_sentence_with_code_in_it_and_nothing_else() {
        let shown = |message: &str| problem(&Problem::new("not-found/prompt", message).with_help("run `creta login`"));
        let page = shown("this `sign-in` took <b>too</b> long");
        assert!(page.contains("This <code>sign-in</code> took &lt;b&gt;too&lt;/b&gt; long."), "{page}");
        assert!(page.contains("Run <code>creta login</code>."), "{page}");
        assert!(shown("").contains(r#"class="alert">.</p>"#));
    }
}
