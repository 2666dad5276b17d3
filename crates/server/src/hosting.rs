//! In whose account this machine runs, as its provider says (CH-27).
//!
//! A virtual machine at a provider can ask where it is at a link-local address that only the provider can answer. Which
//! address is a constant: no setting and no answer leads anywhere else. It is the one thing that is asked without TLS, since
//! no provider offers it otherwise; nothing secret is sent there, and no credential is asked for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use creta_model::Problem;
use serde::Serialize;
use ureq::Agent;

/// Where providers answer: the address that AWS, GCP and Azure share, and AWS's for machines without IPv4.
const METADATA: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), 80),
];
/// It is on the same link, so an answer comes at once or never.
const CONNECT_TIME_MAX: Duration = Duration::from_millis(500);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// A provider that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provider {
    /// Amazon Web Services: an account.
    Aws,
    /// Google Cloud: a project.
    Gcp,
    /// Microsoft Azure: a subscription.
    Azure,
}

impl Provider {
    const ALL: [Provider; 3] = [Self::Aws, Self::Gcp, Self::Azure];

    /// The word before the colon of `account`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An account as `config.toml` names it: `aws:123456789012`, or a name of the operator's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    /// The provider that has to confirm it.
    pub(crate) provider: Option<Provider>,
    /// The account, project or subscription.
    pub(crate) account: &'a str,
}

impl<'a> Named<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let of = |provider: Provider| Some((provider, text.strip_prefix(provider.as_str())?.strip_prefix(':')?));
        match Provider::ALL.into_iter().find_map(of) {
            Some((provider, account)) => Self { provider: Some(provider), account },
            None => Self { provider: None, account: text },
        }
    }
}

/// What a provider said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) provider: Provider,
    pub(crate) account: String,
}

/// On whose word it is known in which account this runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Word {
    /// The provider said so, and it is what `config.toml` names.
    Provider,
    /// No provider answers here; the operator named it.
    Operator,
}

/// Asks the provider. `None` where there is none: own machines. The error says why what answers is no provider's word.
pub(crate) fn ask() -> Result<Option<Told>, String> {
    ask_at(&METADATA)
}

/// As [`ask`], at given addresses: what a check plants a fault at.
pub(crate) fn ask_at(addresses: &[SocketAddr]) -> Result<Option<Told>, String> {
    let answers = |address: &&SocketAddr| TcpStream::connect_timeout(address, CONNECT_TIME_MAX).is_ok();
    let Some(address) = addresses.iter().find(answers) else { return Ok(None) };
    let client = Client::new(*address);
    let told = aws(&client).or_else(|| gcp(&client)).or_else(|| azure(&client));
    told.map(Some).ok_or_else(|| format!("something answers at {address}, but not as AWS, GCP or Azure do"))
}

/// Whether what was told is what is named.
pub(crate) fn compare(named: Option<&str>, told: Option<&Told>) -> Result<Word, Problem> {
    match (named.map(Named::parse), told) {
        (Some(Named { provider: None, .. }), None) => Ok(Word::Operator),
        (Some(named), Some(told)) if named.account == told.account => match named.provider {
            Some(provider) if provider == told.provider => Ok(Word::Provider),
            _ => Err(unconfirmed(told)),
        },
        (Some(named), Some(told)) => {
            let Told { provider, account } = told;
            let message = format!(
                "this machine runs in account `{account}` of `{provider}`, and `config.toml` names `{}` (CH-27)",
                named.account
            );
            Err(Problem::new("environment/account-differs", message).with_help(
                "start this environment on a machine of its own account; a data folder does not move to another one",
            ))
        }
        (Some(Named { provider: Some(provider), .. }), None) => {
            let message = format!("`{provider}` does not say in which account this machine runs (CH-27)");
            Err(Problem::new("environment/account-unseen", message).with_help(
                "let this machine reach the provider's metadata service (with AWS in a container: a hop limit of 2); on \
                 own machines name the account without a provider",
            ))
        }
        (None, Some(told)) => Err(unconfirmed(told)),
        (None, None) => Err(Problem::new("environment/account-unnamed", "nobody named the account that this environment has to itself (CH-27)")
            .with_help("name it as `account` in `config.toml`: a name of your own for own machines, `aws:`, `gcp:` or `azure:` and the account elsewhere")),
    }
}

fn unconfirmed(told: &Told) -> Problem {
    let Told { provider, account } = told;
    let message = format!("this machine runs in an account of `{provider}`, and `config.toml` does not say so (CH-27)");
    Problem::new("environment/account-unnamed", message).with_help(format!(
        "write `account = \"{provider}:{account}\"` if that account belongs to this environment alone"
    ))
}

/// Whether a server may start here: a provider that is named has to confirm the account.
pub(crate) fn require(named: Option<&str>) -> Result<(), Problem> {
    let Some(text) = named.filter(|text| Named::parse(text).provider.is_some()) else { return Ok(()) };
    let told = ask().map_err(|reason| {
        Problem::new(
            "environment/account-unseen",
            format!("the account of this machine cannot be seen: {reason} (CH-27)"),
        )
        .with_help("`account` in `config.toml` names a provider, and nobody else can confirm it")
    })?;
    compare(Some(text), told.as_ref()).map(drop)
}

struct Client {
    agent: Agent,
    base: String,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(ANSWER_TIME_MAX))
            .build();
        Self { agent: config.new_agent(), base: format!("http://{address}") }
    }

    /// The body of a success, in which the provider's own header stands if one is given.
    fn ask(&self, method: &str, path: &str, header: (&str, &str), answered: Option<(&str, &str)>) -> Option<String> {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        let request = request.header(header.0, header.1).header("content-length", "0").body(()).ok()?;
        let mut response = self.agent.run(request).ok()?;
        let marked =
            answered.is_none_or(|(name, value)| response.headers().get(name).is_some_and(|given| given == value));
        if response.status() != 200 || !marked {
            return None;
        }
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().ok()?;
        Some(body.trim().to_owned())
    }
}

/// With a token first, so that nothing that merely forwards a GET is believed (IMDSv2).
fn aws(client: &Client) -> Option<Told> {
    let token = client.ask("PUT", "/latest/api/token", ("x-aws-ec2-metadata-token-ttl-seconds", "60"), None)?;
    let document = "/latest/dynamic/instance-identity/document";
    let document = client.ask("GET", document, ("x-aws-ec2-metadata-token", &token), None)?;
    let document: serde_json::Value = serde_json::from_str(&document).ok()?;
    told(Provider::Aws, document["accountId"].as_str()?)
}

fn gcp(client: &Client) -> Option<Told> {
    let flavor = ("metadata-flavor", "Google");
    let project = client.ask("GET", "/computeMetadata/v1/project/project-id", flavor, Some(flavor))?;
    told(Provider::Gcp, &project)
}

fn azure(client: &Client) -> Option<Told> {
    let path = "/metadata/instance/compute/subscriptionId?api-version=2021-02-01&format=text";
    told(Provider::Azure, &client.ask("GET", path, ("metadata", "true"), None)?)
}

/// An account that could be one: what else is answered is nobody's word.
fn told(provider: Provider, account: &str) -> Option<Told> {
    let plain = !account.is_empty() && crate::environments::check_account(account).is_ok();
    let shaped = match provider {
        Provider::Aws => account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()),
        Provider::Gcp => true,
        Provider::Azure => account.len() == 36 && account.bytes().filter(|byte| *byte == b'-').count() == 4,
    };
    (plain && shaped).then(|| Told { provider, account: account.to_owned() })
}

/// A metadata service of one provider on loopback, for as long as this lives: what a check is tried with.
pub(crate) struct Planted {
    pub(crate) address: SocketAddr,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Planted {
    /// Answers as `provider` does to machines of `account`.
    pub(crate) fn new(provider: Provider, account: &str) -> std::io::Result<Self> {
        use std::io::{Read as _, Write as _};
        use std::sync::atomic::{AtomicBool, Ordering};
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let (address, account) = (listener.local_addr()?, account.to_owned());
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let _ = stream.set_read_timeout(Some(ANSWER_TIME_MAX));
                let mut head = [0; 2_048];
                let read = stream.read(&mut head).unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
                let (status, marked, body) = answer(provider, &account, &head);
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\n{marked}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Ok(Self { address, stop, thread: Some(thread) })
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Release);
        let _ = TcpStream::connect_timeout(&self.address, CONNECT_TIME_MAX); // Wakes it, so that it sees that it is over.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Status, further headers and body of a planted answer. `head` is in lower case.
fn answer(provider: Provider, account: &str, head: &str) -> (u16, &'static str, String) {
    let asks = |line: &str, header: &str| head.starts_with(line) && head.contains(header);
    match provider {
        Provider::Aws if asks("put /latest/api/token ", "x-aws-ec2-metadata-token-ttl-seconds: 60") => {
            (200, "", "dG9rZW4=".to_owned())
        }
        Provider::Aws
            if asks("get /latest/dynamic/instance-identity/document ", "x-aws-ec2-metadata-token: dg9rzw4=") =>
        {
            (200, "", format!("{{\"accountId\": \"{account}\", \"region\": \"eu-central-1\"}}"))
        }
        Provider::Gcp if asks("get /computemetadata/v1/project/project-id ", "metadata-flavor: google") => {
            (200, "metadata-flavor: Google\r\n", account.to_owned())
        }
        Provider::Azure if asks("get /metadata/instance/compute/subscriptionid?", "metadata: true") => {
            (200, "", account.to_owned())
        }
        Provider::Aws | Provider::Gcp | Provider::Azure => (404, "", String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNTS: [(Provider, &str); 3] = [
        (Provider::Aws, "123456789012"),
        (Provider::Gcp, "acme-prod-1"),
        (Provider::Azure, "8d10da13-8125-4ba9-a717-bf7490507b3d"),
    ];

    fn code(named: Option<&str>, told: Option<&Told>) -> String {
        compare(named, told).map_or_else(|problem| problem.code, |word| format!("{word:?}"))
    }

    #[test]
    fn each_provider_is_asked_in_its_own_way() {
        for (provider, account) in ACCOUNTS {
            let planted = Planted::new(provider, account).expect("a free port");
            let told = ask_at(&[planted.address]).expect("answered").expect("a provider");
            assert_eq!(told, Told { provider, account: account.to_owned() });
            let named = format!("{provider}:{account}");
            assert_eq!(code(Some(&named), Some(&told)), "Provider");
        }
    }

    #[test]
    fn attack_ch27_an_account_that_the_provider_does_not_confirm_is_refused() {
        let told = |provider, account: &str| Told { provider, account: account.to_owned() };
        let aws = told(Provider::Aws, "123456789012");
        for (named, told, expected) in [
            (Some("aws:210987654321"), Some(&aws), "environment/account-differs"),
            (Some("210987654321"), Some(&aws), "environment/account-differs"),
            (Some("gcp:123456789012"), Some(&aws), "environment/account-unnamed"),
            (Some("123456789012"), Some(&aws), "environment/account-unnamed"),
            (None, Some(&aws), "environment/account-unnamed"),
            (Some("aws:123456789012"), None, "environment/account-unseen"),
            (None, None, "environment/account-unnamed"),
            (Some("rack-7"), None, "Operator"),
            (Some("awsome:7"), None, "Operator"),
        ] {
            assert_eq!(code(named, told), expected, "{named:?} {told:?}");
        }
    }

    #[test]
    fn attack_ch27_what_is_no_provider_says_nothing() {
        // Right in form, and from nobody who could be asked: an account of another shape, and an answer without its mark.
        for (provider, account) in [(Provider::Aws, "rack-7"), (Provider::Azure, "acme"), (Provider::Gcp, "a b")] {
            let planted = Planted::new(provider, account).expect("a free port");
            assert!(ask_at(&[planted.address]).is_err(), "{provider} {account}");
        }
        let gone = Planted::new(Provider::Aws, "123456789012").expect("a free port").address;
        assert_eq!(ask_at(&[gone]), Ok(None), "nobody there is no provider");
    }

    #[test]
    fn nothing_but_the_link_is_asked() {
        for address in METADATA {
            let link = match address.ip() {
                IpAddr::V4(four) => four.is_link_local(),
                IpAddr::V6(six) => six.is_unique_local(),
            };
            assert!(link && address.port() == 80, "{address}");
        }
    }
}
