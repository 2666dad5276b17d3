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
                meta name="referrer" content="no-referrer";
                title { (title) " · Creta" }
                link rel="stylesheet" href="/sign-in/style.css";
            }
            body { (main) }
        }
    };
    page.into_string()
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
pub(crate) fn confirm_code(user_code: &str, address: IpAddr) -> String {
    page(
        "Is this your machine?",
        &html! {
            p { "The code " strong { (user_code) } " was asked for from the address " strong { (address) } "." }
            p { "Go on only if you ran " code { "creta login --device" } " there yourself, just now. Whoever sent you a code "
                "wants to be signed in as you." }
            form method="post" action="/sign-in/device" {
                input type="hidden" name="user_code" value=(user_code);
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
main { max-width: 34rem; margin: 10vh auto 2rem; padding: 0 1.25rem }
h1 { font-size: 1.5rem; line-height: 1.25 }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere }
p code { display: inline-block }
label { display: block; margin: 1rem 0 .25rem }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .6rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--back); color: var(--text) }
button { font: inherit; margin: 1rem .75rem 0 0; padding: .6rem 1.2rem; border: 1px solid var(--act); border-radius: .4rem; background: var(--act); color: var(--on-act); cursor: pointer }
button.quiet { background: none; color: var(--text); border-color: var(--line) }
:focus-visible { outline: 3px solid var(--act); outline-offset: 2px }
pre { font-family: ui-monospace, monospace; font-size: .9rem; padding: .75rem; border: 1px solid var(--line); border-radius: .4rem; overflow-x: auto; max-height: 40vh }
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
