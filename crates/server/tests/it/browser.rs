//! A browser as its pages' script plays it: a key, a cookie, and what goes with each request.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use creta_identity::dpop::Prover;
use serde_json::json;

use crate::people::{browse_for_pages, header, now, origin, prover, random};
use crate::provider::Provider;
use crate::soft_authenticator::SoftAuthenticator;
use crate::support::{JSON, Reply, Server};

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
pub(crate) const REASON: &str = "Look into why last night's load of payments was refused";

/// A browser in which somebody is signed in: its key, its cookie, and what its pages send with changes.
pub(crate) struct Browser {
    pub(crate) prover: Prover,
    pub(crate) cookie: String,
    pub(crate) word: String,
    pub(crate) session: String,
}

/// What a request shows beside its proof; each attack leaves out or changes one.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) cookie: Option<String>,
    pub(crate) proof: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) site: Option<&'static str>,
    pub(crate) word: Option<String>,
}

impl Browser {
    pub(crate) fn open(server: &Server, provider: &Provider, who: &str) -> Self {
        Self::open_with(server, provider, who, None)
    }

    pub(crate) fn open_with(
        server: &Server,
        provider: &Provider,
        who: &str,
        own: Option<&mut SoftAuthenticator>,
    ) -> Self {
        let (prover, verifier) = (prover(), URL_SAFE_NO_PAD.encode(random::<32>()));
        let thumbprint = prover.thumbprint().as_str().to_owned();
        let back = browse_for_pages(server, provider, who, (&thumbprint, &verifier), own);
        let location = match back.status {
            303 => header(&back, "location"),
            _ => back.ok()["location"].as_str().expect("back to the page").to_owned(),
        };
        let query = location.strip_prefix(&format!("{}/my/signed-in?", origin(server))).expect("an own address");
        let code = query.split('&').find_map(|pair| pair.strip_prefix("code=")).expect("a code").to_owned();
        let opened = arrive(server, &prover, &code, &verifier);
        let cookie = header(&opened, "set-cookie");
        for word in ["__Host-creta-session=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
            assert!(cookie.contains(word), "{cookie}");
        }
        assert!(!cookie.contains("Domain") && !cookie.contains("Max-Age"), "it goes with the browser: {cookie}");
        let cookie = cookie.split(';').next().expect("a pair").to_owned();
        let value = cookie.split_once('=').expect("a pair").1.to_owned();
        assert_eq!(opened.ok()["bound"], creta_identity::dpop::access_token_hash(&value));
        let session = value.split('.').next().expect("an id").to_owned();
        let mut browser = Self { prover, cookie, word: String::new(), session };
        browser.word = attribute(&browser.get(server, "/view").ok_page(), "word");
        browser
    }

    pub(crate) fn value(&self) -> &str {
        self.cookie.split_once('=').expect("a pair").1
    }

    pub(crate) fn prove(&self, server: &Server, method: &str, path: &str) -> String {
        let path = path.split('?').next().expect("a path");
        let url = format!("{}{path}", server.running().url());
        self.prover.prove(method, &url, Some(self.value()), None, random(), now())
    }

    /// All that a page's script sends.
    pub(crate) fn shown(&self, server: &Server, method: &str, path: &str) -> Shown {
        Shown {
            cookie: Some(self.cookie.clone()),
            proof: Some(self.prove(server, method, path)),
            origin: (method != "GET").then(|| server.running().url()),
            site: Some("same-origin"),
            word: (method != "GET").then(|| self.word.clone()),
        }
    }

    pub(crate) fn get(&self, server: &Server, path: &str) -> Reply {
        send(server, "GET", path, &self.shown(server, "GET", path), None)
    }

    pub(crate) fn post(&self, server: &Server, path: &str, fields: &[(&str, &str)]) -> Reply {
        send(server, "POST", path, &self.shown(server, "POST", path), Some(&encoded(fields)))
    }

    pub(crate) fn ask(&self, server: &Server, role: &str) -> String {
        self.ask_because(server, role, REASON)
    }

    pub(crate) fn ask_because(&self, server: &Server, role: &str, reason: &str) -> String {
        let fields = [("role", role), ("reason", reason), ("ticket", "OPS-1234"), ("hours", "2")];
        let made = self.post(server, "/view/ask", &fields);
        assert_eq!(made.status, 201, "{}", made.text());
        header(&made, "content-location").strip_prefix("/my/requests/").expect("its page").to_owned()
    }
}

pub(crate) fn encoded(fields: &[(&str, &str)]) -> String {
    let escaped = |text: &str| -> String {
        text.bytes()
            .map(
                |byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") },
            )
            .collect()
    };
    fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&")
}

pub(crate) fn send(server: &Server, method: &str, path: &str, shown: &Shown, body: Option<&str>) -> Reply {
    let mut headers = Vec::new();
    let given = [
        ("cookie", shown.cookie.as_deref()),
        ("dpop", shown.proof.as_deref()),
        ("origin", shown.origin.as_deref()),
        ("sec-fetch-site", shown.site),
        ("creta-form", shown.word.as_deref()),
        ("content-type", body.map(|_| FORM)),
    ];
    headers.extend(given.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
    server.send_with(method, path, None, &headers, body.map(str::as_bytes))
}

pub(crate) fn arrive(server: &Server, prover: &Prover, code: &str, verifier: &str) -> Reply {
    let url = format!("{}/sign-in/browser", server.running().url());
    let proof = prover.prove("POST", &url, None, None, random(), now());
    let origin = server.running().url();
    let headers =
        [("dpop", proof.as_str()), ("content-type", JSON), ("origin", &origin), ("sec-fetch-site", "same-origin")];
    let body = json!({"code": code, "code_verifier": verifier}).to_string();
    server.send_with("POST", "/sign-in/browser", None, &headers, Some(body.as_bytes()))
}

/// The code of a refusal that is a page.
pub(crate) fn refused(reply: &Reply, status: u16) -> String {
    assert_eq!((reply.status, reply.content_type.as_str()), (status, "text/html; charset=utf-8"), "{}", reply.text());
    attribute(&reply.text(), "code")
}

pub(crate) fn attribute(page: &str, name: &str) -> String {
    let value = page.split(&format!("data-{name}=\"")).nth(1).unwrap_or_else(|| panic!("{name} in {page}"));
    value.split('"').next().expect("an end").replace("&amp;", "&")
}

impl Reply {
    pub(crate) fn ok_page(&self) -> String {
        assert_eq!((self.status, self.content_type.as_str()), (200, "text/html; charset=utf-8"), "{}", self.text());
        self.text()
    }
}

pub(crate) fn log(server: &Server) -> String {
    server.get("/v1/audit/entries?limit=1000", &server.admin_token()).text()
}
