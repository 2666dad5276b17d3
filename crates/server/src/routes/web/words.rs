//! Words of pages: messages as sentences, commands as links, instants with their zone.

use creta_model::Instant;
use maud::{Markup, html};

/// A message as the beginning of a paragraph: messages begin in lowercase for the terminal.
pub(super) fn sentence(message: &str) -> String {
    let mut rest = message.chars();
    let first = rest.next();
    first.into_iter().flat_map(char::to_uppercase).chain(rest).collect()
}

/// Text with what stands in backticks as code. A command of the terminal that has a page has a link to it.
pub(super) fn prose(text: &str) -> Markup {
    html! {
        @for (position, part) in text.split('`').enumerate() {
            @if position % 2 == 0 { (part) } @else {
                code { (part) }
                @if let Some((address, does)) = page_of(part) { " (" a href=(address) { (does) } ")" }
            }
        }
    }
}

/// The page that does what a command does, and what its link says.
pub(super) fn page_of(command: &str) -> Option<(String, &'static str)> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let is_id = |word: &str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let open = |address: String| Some((address, "open it here"));
    match words.as_slice() {
        ["creta", "access", "request", options @ ..] => Some((ask_address(options), "fill it in here")),
        ["creta", "access", "list"] => open("/my/requests".to_owned()),
        ["creta", "access", "show" | "approve" | "deny" | "activate" | "withdraw", id] if is_id(id) => {
            open(format!("/my/requests/{id}"))
        }
        ["creta", "access", "policy", "show"] => open("/my/policies".to_owned()),
        ["creta", "access", "policy", "show" | "approve", id] if is_id(id) => open(format!("/my/policies/{id}")),
        ["creta", "review", "list"] => open("/my/reviews".to_owned()),
        ["creta", "review", "show", id] if is_id(id) => open(format!("/my/reviews/{id}")),
        _ => None,
    }
}

/// The page that asks for access, filled in as far as the command says. Ticket and reason are examples there.
fn ask_address(options: &[&str]) -> String {
    let mut parameters = Vec::new();
    let mut left = options.iter();
    while let Some(option) = left.next() {
        let name = match *option {
            "--environment" => {
                parameters.push("place=environment".to_owned());
                continue;
            }
            "--role" => "role",
            "--tenant" => "tenant",
            "--hours" => "hours",
            _ => continue,
        };
        // Names of roles and tenants need no escape in an address; anything else is left for the person to write.
        let plain = |value: &&&str| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if let Some(value) = left.next().filter(plain) {
            parameters.push(format!("{name}={value}"));
        }
    }
    if parameters.is_empty() { "/my/ask".to_owned() } else { format!("/my/ask?{}", parameters.join("&")) }
}

/// An instant to the minute, with its zone.
pub(super) fn moment(at: Instant) -> Markup {
    let text = at.to_string();
    let minute = text.get(..16).unwrap_or(&text).replace('T', " ");
    html! { time datetime=(text) { (minute) " UTC" } }
}

/// How long until then: `1 h 12 min`, rounded up to the minute.
pub(super) fn left(now: Instant, then: Instant) -> String {
    let micros = u64::try_from(then.micros().saturating_sub(now.micros())).unwrap_or(0);
    let minutes = micros.div_ceil(60_000_000);
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// How somebody signed in (RFC 8176), in words.
pub(super) fn signed_in_with(methods: &[String]) -> String {
    let word = |method: &String| {
        Some(
            match method.as_str() {
                "provider" => "the organisation's provider",
                "hwk" | "swk" => "an authenticator",
                "pwd" => "a password",
                "otp" => "a one-time code",
                "mfa" | "user" => return None, // Said by the others already.
                other => return Some(other.to_owned()),
            }
            .to_owned(),
        )
    };
    methods.iter().filter_map(word).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use creta_model::Span;

    use super::*;

    #[test]
    fn a_command_that_has_a_page_leads_there_filled_in() {
        let page = |command: &str| page_of(command).map(|(address, _)| address);
        let ask = "creta access request --role viewer --tenant acme --hours 1 --ticket OPS-1234 --reason \"...\"";
        assert_eq!(page(ask).as_deref(), Some("/my/ask?role=viewer&tenant=acme&hours=1"));
        let environment = "creta access request --role operator --environment --hours 1 --ticket OPS-1234";
        assert_eq!(page(environment).as_deref(), Some("/my/ask?role=operator&place=environment&hours=1"));
        assert_eq!(page("creta access request").as_deref(), Some("/my/ask"));
        assert_eq!(
            page("creta access request --role a&b=c").as_deref(),
            Some("/my/ask"),
            "nothing slips into an address"
        );
        let id = "3bc6a1134dbd392b450e3e809f0fb146";
        assert_eq!(page(&format!("creta access show {id}")), Some(format!("/my/requests/{id}")));
        for other in ["creta access show ID", "creta login", "creta", "", "access list"] {
            assert_eq!(page(other), None, "{other}");
        }
    }

    #[test]
    fn text_is_escaped_wherever_it_comes_from() {
        let page = prose("see `<b>` and <script>x</script>").into_string();
        assert_eq!(page, "see <code>&lt;b&gt;</code> and &lt;script&gt;x&lt;/script&gt;");
    }

    #[test]
    fn methods_are_said_in_words() {
        let said =
            |methods: &[&str]| signed_in_with(&methods.iter().map(|method| (*method).to_owned()).collect::<Vec<_>>());
        assert_eq!(said(&["pwd", "hwk", "user"]), "a password and an authenticator");
        assert_eq!(said(&["provider"]), "the organisation's provider");
        assert_eq!(said(&["face"]), "face");
    }

    #[test]
    fn what_is_left_is_rounded_up() {
        let now = Instant::parse("2026-01-01T12:00:00Z").expect("valid");
        let after = |seconds: u32| left(now, now.plus(Span::seconds(seconds)));
        assert_eq!(
            [after(1), after(60), after(61), after(3600), after(4260)],
            ["1 min", "1 min", "2 min", "1 h", "1 h 11 min"]
        );
        assert_eq!(left(now.plus(Span::seconds(5)), now), "0 min");
        assert_eq!(moment(now).into_string(), "<time datetime=\"2026-01-01T12:00:00Z\">2026-01-01 12:00 UTC</time>");
    }
}
