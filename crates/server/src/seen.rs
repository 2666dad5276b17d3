//! Where programs act from and what they do, so that what is new is told (CH-33): a token or a secret that was copied is used
//! from elsewhere, or for something else.
//!
//! Per service account the networks that it was seen from are kept, the actions that it was allowed, and the tags of the features
//! it asked for: sealed, bounded, durable. For a while after the first use (`learning_days`) everything is learned in
//! silence. After that the first use from a network wakes whoever is on call, and a use of another kind stands in the log;
//! `creta access analyze` shows both. Nothing is refused: a program that moves goes on working.
//!
//! A request costs a look-up in memory. What is new waits there, and a thread of the server's keeps and tells it within seconds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use creta_audit::{Details, Event};
use creta_iam::Principal;
use creta_model::{Instant, Problem, Span};
use creta_store::MetadataStore;
use serde::{Deserialize, Serialize};

use crate::accounts::client_id;
use crate::config::ProgramsConfig;
use crate::control_plane::ControlPlane;
use crate::intake::{Pager, Urgency};
use crate::problem::from_audit;
use crate::register::{Record, Register};

const FORMAT: &str = "creta.program-seen/1";
/// Most that is kept of one account, of networks and of uses each. Beyond it what was learned first is forgotten, and told anew
/// if it comes again.
const KEPT_MAX: usize = 128;
/// Most that waits to be kept, of all accounts together. What finds no room is noted at its next use.
const WAITING_MAX: usize = 4_096;
/// Most that is told of one account in an hour; more waits for its next use.
const TOLD_MAX: usize = 16;
const TOLD_WITHIN: Duration = Duration::from_secs(3_600);

/// What a program does or where from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum What {
    /// The network of an address, by its first address.
    Network(IpAddr),
    /// An action, or a tag of features with `tag:` before it.
    Use(String),
}

/// When something was first seen, and whether that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct First {
    pub(crate) at: Instant,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) told: bool,
}

/// What is known of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seen {
    format: String,
    pub(crate) client_id: String,
    /// Its first use of all.
    since: Instant,
    /// First addresses of networks.
    pub(crate) networks: BTreeMap<IpAddr, First>,
    /// Actions and tags.
    pub(crate) uses: BTreeMap<String, First>,
}

impl Record for Seen {
    const KIND: &'static str = "program-seen";

    fn id(&self) -> String {
        self.client_id.clone()
    }

    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|seen| seen.format == FORMAT)
    }
}

impl Seen {
    fn with(&self, what: &What, first: First) -> Self {
        let mut seen = self.clone();
        match what {
            What::Network(network) => keep(&mut seen.networks, *network, first),
            What::Use(name) => keep(&mut seen.uses, name.clone(), first),
        }
        seen
    }

    fn all(&self) -> impl Iterator<Item = What> + '_ {
        let networks = self.networks.keys().copied().map(What::Network);
        networks.chain(self.uses.keys().cloned().map(What::Use))
    }
}

fn keep<K: Ord + Clone>(all: &mut BTreeMap<K, First>, key: K, first: First) {
    if all.len() >= KEPT_MAX && !all.contains_key(&key) {
        let oldest = all.iter().min_by_key(|(_, first)| first.at).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            all.remove(&oldest);
        }
    }
    all.insert(key, first);
}

/// What is known of all programs, and what is new.
pub(crate) struct Sightings {
    config: ProgramsConfig,
    register: Register<Seen>,
    /// The same as the register, as it is asked at every request.
    known: RwLock<HashMap<String, BTreeSet<What>>>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    new: BTreeMap<String, BTreeSet<What>>,
    count: usize,
    told: HashMap<String, Told>,
}

#[derive(Default, Clone, Copy)]
struct Told {
    since: Duration,
    count: usize,
}

/// Something new that a program did, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NewUse {
    pub(crate) client_id: String,
    /// `network`, `action` or `tag`.
    pub(crate) what: &'static str,
    pub(crate) name: String,
    pub(crate) first: Instant,
}

impl Sightings {
    pub(crate) fn open(metadata: Arc<dyn MetadataStore>, config: ProgramsConfig) -> Result<Self, Problem> {
        let register: Register<Seen> = Register::load(metadata)?;
        let known = register.list(|_| true).into_iter().map(|seen| (seen.client_id.clone(), seen.all().collect()));
        let known = RwLock::new(known.collect());
        Ok(Self { config, register, known, waiting: Mutex::default() })
    }

    /// Notes where a program was just let in from.
    pub(crate) fn note_network(&self, principal: &Principal, from: IpAddr) {
        self.note(principal, || What::Network(self.config.network_of(from)));
    }

    /// Notes what a program was just allowed to do, and with features of which tags.
    pub(crate) fn note_use<'a>(&self, principal: &Principal, action: &str, tags: impl IntoIterator<Item = &'a str>) {
        self.note(principal, || What::Use(action.to_owned()));
        for tag in tags {
            self.note(principal, || What::Use(format!("tag:{tag}")));
        }
    }

    fn note(&self, principal: &Principal, what: impl FnOnce() -> What) {
        let Principal::ServiceAccount { id, scope, .. } = principal else { return };
        let (id, what) = (client_id(id.as_str(), &scope.tenant), what());
        if self.known.read().unwrap_or_else(PoisonError::into_inner).get(&id).is_some_and(|all| all.contains(&what)) {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.count < WAITING_MAX && waiting.new.entry(id).or_default().insert(what) {
            waiting.count += 1;
        }
    }

    /// What was told of programs since, oldest first.
    pub(crate) fn told_since(&self, since: Instant) -> Vec<NewUse> {
        let mut news = Vec::new();
        for seen in self.register.list(|_| true) {
            let new = |first: &First| first.told && since <= first.at;
            let of =
                |what, name, first: &First| NewUse { client_id: seen.client_id.clone(), what, name, first: first.at };
            let networks = seen.networks.iter().filter(|(_, first)| new(first));
            news.extend(networks.map(|(network, first)| of("network", self.config.name_of(*network), first)));
            for (name, first) in seen.uses.iter().filter(|(_, first)| new(first)) {
                news.push(match name.strip_prefix("tag:") {
                    Some(tag) => of("tag", tag.to_owned(), first),
                    None => of("action", name.clone(), first),
                });
            }
        }
        news.sort_by(|a, b| (a.first, &a.client_id, &a.name).cmp(&(b.first, &b.client_id, &b.name)));
        news
    }

    fn take(&self) -> BTreeMap<String, BTreeSet<What>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.count = 0;
        std::mem::take(&mut waiting.new)
    }

    /// Whether another thing may be told of an account now, which counts it. `now` is monotonic time.
    fn may_tell(&self, id: &str, now: Duration) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.told.retain(|_, told| now < told.since + TOLD_WITHIN);
        let told = waiting.told.entry(id.to_owned()).or_insert(Told { since: now, count: 0 });
        told.count += 1;
        told.count <= TOLD_MAX
    }

    /// Keeps what is new, and tells it where the account is known for long enough. What cannot be recorded now is noted again at
    /// its next use.
    pub(crate) fn keep(&self, control: &ControlPlane, pager: &Pager) -> Result<(), Problem> {
        if control.log().halted().is_some() {
            return Ok(());
        }
        let now = control.platform().clock.now();
        for (id, new) in self.take() {
            let since = self.register.with(&id, |seen| seen.since);
            let learned = since.is_some_and(|since| since.plus(Span::days(self.config.learning_days)) <= now);
            for what in new {
                if learned && !self.may_tell(&id, control.platform().clock.monotonic()) {
                    continue;
                }
                if learned {
                    self.tell(control, pager, (&id, &what), now)?;
                }
                self.learn(&id, &what, First { at: now, told: learned })?;
            }
        }
        Ok(())
    }

    fn learn(&self, id: &str, what: &What, first: First) -> Result<(), Problem> {
        let seen = match self.register.change(id, |seen| Ok::<_, Problem>(seen.with(what, first)))? {
            Some(seen) => seen,
            None => {
                let (networks, uses) = (BTreeMap::new(), BTreeMap::new());
                let empty =
                    Seen { format: FORMAT.to_owned(), client_id: id.to_owned(), since: first.at, networks, uses };
                self.register.add(empty.with(what, first))?.ok_or_else(crate::problem::internal)?
            }
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(id.to_owned(), seen.all().collect());
        Ok(())
    }

    fn tell(
        &self,
        control: &ControlPlane,
        pager: &Pager,
        (id, what): (&str, &What),
        now: Instant,
    ) -> Result<(), Problem> {
        let Some(account) = control.account(id) else { return Ok(()) };
        let mut details = Details::none().name("service-account", id);
        if let Some(owner) = account.made_by.as_ref().or(account.shown_to.as_ref()) {
            details = details.and_then(|details| details.name("owner", owner.as_str()));
        }
        let (action, details) = match what {
            What::Network(network) => (
                "service-account.new-network",
                details.and_then(|details| details.name("network", self.config.name_of(*network))),
            ),
            What::Use(name) => {
                ("service-account.new-use", details.and_then(|details| details.name("use", name.as_str())))
            }
        };
        let event = Event::new(action, account.principal.home()).with(details.map_err(|e| from_audit(&e))?);
        control.log().record(event.for_commitment("CH-33")).map_err(|e| from_audit(&e))?;
        if let What::Network(_) = what {
            tracing::warn!(service_account = id, "a service account is used from a network it was never seen from");
            let reference =
                format!("network-{}", hex::encode(&creta_proof::Hash::of(&[id.as_bytes()]).as_bytes()[..8]));
            if let Err(error) = pager.ask(&reference, now, Urgency::Urgent) {
                tracing::error!(%error, "that somebody has to be paged could not be noted");
            }
        }
        Ok(())
    }
}

/// The network of an address as entries name it where no account is asked about: 256 addresses, or a site.
pub(crate) fn network_name(address: IpAddr) -> String {
    let config = ProgramsConfig::default();
    config.name_of(config.network_of(address))
}

impl ProgramsConfig {
    /// The first address of the network that an address is in. One of IPv4 that is written as IPv6 is of IPv4.
    fn network_of(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.network_v4_bits)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.network_v6_bits)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        }
    }

    fn name_of(&self, network: IpAddr) -> String {
        let bits = if network.is_ipv4() { self.network_v4_bits } else { self.network_v6_bits };
        format!("{network}/{bits}")
    }
}

#[cfg(test)]
mod tests {
    use creta_iam::{PrincipalId, Role};
    use creta_store::MemoryMetadata;

    use super::*;

    fn program(name: &str) -> Principal {
        let scope = creta_model::Scope::parse("acme", "prod").expect("valid");
        Principal::service_account(PrincipalId::parse(name).expect("valid"), scope, Role::Reader)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn networks_are_of_256_addresses_and_sites_unless_it_is_said() {
        assert_eq!(network_name(address("203.0.113.77")), "203.0.113.0/24");
        assert_eq!(network_name(address("::ffff:203.0.113.77")), "203.0.113.0/24");
        assert_eq!(network_name(address("2001:db8:1:2::3")), "2001:db8:1::/48");
        let wide = ProgramsConfig { network_v4_bits: 0, network_v6_bits: 0, ..ProgramsConfig::default() };
        assert_eq!(wide.network_of(address("203.0.113.77")), address("0.0.0.0"));
        assert_eq!(wide.network_of(address("2001:db8::1")), address("::"));
    }

    #[test]
    fn attack_t4_what_a_stolen_token_does_fills_no_memory() {
        let metadata = Arc::new(MemoryMetadata::default());
        let open = || Sightings::open(metadata.clone(), ProgramsConfig::default()).expect("opens");
        let sightings = open();
        let etl = program("etl");
        for number in 0..20_000_u32 {
            sightings.note_network(&etl, IpAddr::V4(Ipv4Addr::from_bits(number << 8)));
        }
        let new = sightings.take();
        assert_eq!(new["etl@acme"].len(), WAITING_MAX);
        let first = |micros| First { at: Instant::from_micros(micros).expect("valid"), told: false };
        for (number, what) in new["etl@acme"].iter().take(500).enumerate() {
            sightings.learn("etl@acme", what, first(number as i64)).expect("kept");
        }
        let kept = sightings.register.find("etl@acme").expect("kept");
        assert_eq!((kept.networks.len(), kept.since), (KEPT_MAX, first(0).at));
        // What was learned is known after a restart.
        let (again, newest) = (open(), *kept.networks.keys().next_back().expect("some"));
        again.note_network(&etl, newest);
        assert_eq!(again.take(), BTreeMap::new());
        let told = (0..100).filter(|_| sightings.may_tell("etl@acme", Duration::from_secs(5))).count();
        assert_eq!(told, TOLD_MAX);
        assert!(sightings.may_tell("other@acme", Duration::from_secs(5)), "others are told of");
        assert!(sightings.may_tell("etl@acme", Duration::from_secs(5) + TOLD_WITHIN));
    }
}
