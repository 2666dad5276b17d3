//! Credentials that belong to nobody (CH-33): whoever uses one found it where nobody should have looked.
//!
//! A planted credential has the form of a real one and no account behind it. It is refused exactly as any wrong secret is, by the
//! same words and the same steps: whoever tries it learns nothing. That it was tried is noted in memory, and told within
//! seconds by a thread of the server's: an entry in the tenant's log, and a page for whoever is on call. Wherever the secret
//! comes along counts: at the token endpoint under whatever client id, and as the bearer token or the password of a request.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use creta_audit::{Details, Event, Permit};
use creta_iam::{ClientSecret, Place, PrincipalId};
use creta_keys::ScopeKey;
use creta_model::{Instant, Problem, Scope};
use creta_store::MetadataStore;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::accounts::client_id;
use crate::control_plane::ControlPlane;
use crate::intake::{Pager, Urgency};
use crate::problem::from_audit;
use crate::register::{Record, Register};
use crate::seen::network_name;

const FORMAT: &str = "creta.planted-credential/1";
/// Separates keyed hashes of planted secrets from all others.
const DOMAIN: &str = "planted secret";
/// Most that one tenant has at a time.
const PLANTED_MAX: usize = 64;
/// Between two entries about one of them.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// A credential that nobody has any business with. Its secret is kept nowhere; here stands a keyed hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Planted {
    format: String,
    /// `name@tenant`, as of a real one.
    pub(crate) client_id: String,
    pub(crate) scope: Scope,
    /// HMAC-SHA256 of the secret under a key of the control plane, in hexadecimal.
    mark: String,
    /// The account of the person who planted it; none where it was the local administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) planted_by: Option<PrincipalId>,
    pub(crate) planted: Instant,
    /// How often it was used, as far as that was told.
    #[serde(default)]
    pub(crate) times: u64,
    /// When that was told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<Instant>,
    /// When it was taken up again: it is found and told of no more. Its name stays taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Instant>,
}

impl Record for Planted {
    const KIND: &'static str = "planted-credential";

    fn id(&self) -> String {
        self.client_id.clone()
    }

    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|planted| planted.format == FORMAT)
    }
}

/// All of them, and the uses that wait to be told. Memory is bounded by how many are planted.
pub(crate) struct PlantedCredentials {
    register: Register<Planted>,
    waiting: Mutex<BTreeMap<String, Uses>>,
}

#[derive(Default)]
struct Uses {
    times: u64,
    from: Option<IpAddr>,
    told: Option<Duration>,
}

impl PlantedCredentials {
    pub(crate) fn open(metadata: Arc<dyn MetadataStore>) -> Result<Self, Problem> {
        Ok(Self { register: Register::load(metadata)?, waiting: Mutex::default() })
    }

    /// One by its client id, ended or not.
    pub(crate) fn find(&self, client_id: &str) -> Option<Planted> {
        self.register.find(client_id)
    }

    /// Those of a tenant by client id, ended ones included.
    pub(crate) fn of(&self, scope: &Scope) -> Vec<Planted> {
        self.register.list(|planted| planted.scope == *scope)
    }

    /// Notes that a secret was shown, if it is a planted one. Takes the same steps for every secret and waits for no disk.
    pub(crate) fn note(&self, control: &ControlPlane, secret: &str, from: IpAddr) {
        let secret = ClientSecret::parse(secret).unwrap_or_else(|_| ClientSecret::from_bytes([0; 32]));
        let mark = mark_of(control.own_key(), &secret);
        let Some(planted) = self.register.find_by(|planted| planted.mark == mark && planted.ended.is_none()) else {
            return;
        };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let uses = waiting.entry(planted.client_id).or_default();
        uses.times += 1;
        uses.from = Some(from);
    }

    /// The same for whatever secret a header `authorization` holds: as a bearer token, or as a password.
    pub(crate) fn note_header(&self, control: &ControlPlane, value: &[u8], from: IpAddr) {
        let value = std::str::from_utf8(value).ok().and_then(|value| value.split_once(' '));
        let Some((scheme, shown)) = value.map(|(scheme, shown)| (scheme, shown.trim())) else { return };
        if !scheme.eq_ignore_ascii_case("basic") {
            return self.note(control, shown, from);
        }
        let decoded = BASE64.decode(shown).ok().map(Zeroizing::new);
        let pair =
            decoded.as_ref().and_then(|pair| std::str::from_utf8(pair).ok()).and_then(|pair| pair.split_once(':'));
        if let Some((_, password)) = pair {
            self.note(control, password, from);
        }
    }

    /// What has to be told now. `now` is monotonic time.
    fn due(&self, now: Duration) -> Vec<(String, u64, Option<IpAddr>)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        for (id, uses) in waiting.iter_mut().filter(|(_, uses)| uses.times > 0) {
            if uses.told.is_none_or(|told| now >= told + TOLD_EVERY) {
                due.push((id.clone(), std::mem::take(&mut uses.times), uses.from.take()));
                uses.told = Some(now);
            }
        }
        due
    }
}

impl ControlPlane {
    /// Plants a credential of the permit's scope. Its secret is in the answer and nowhere else.
    pub(crate) fn plant_credential(
        &self,
        name: &PrincipalId,
        permit: &Permit,
    ) -> Result<(Planted, ClientSecret), Problem> {
        let tenant = &permit.scope().ok_or_else(crate::problem::internal)?.tenant;
        let scope = self.require_tenant(tenant)?;
        self.require_free(name, tenant)?;
        let planted = self.planted();
        if planted.register.list(|one| one.scope == scope && one.ended.is_none()).len() >= PLANTED_MAX {
            let message = format!("a tenant has at most {PLANTED_MAX} planted credentials");
            return Err(Problem::new("conflict/planted", message).with_help("take one up: `creta canary end ID`"));
        }
        let mut bytes = Zeroizing::new([0; 32]);
        self.platform().random.fill(bytes.as_mut_slice());
        let secret = ClientSecret::from_bytes(*bytes);
        let id = client_id(name.as_str(), tenant);
        let record = Planted {
            format: FORMAT.to_owned(),
            client_id: id.clone(),
            scope,
            mark: mark_of(self.own_key(), &secret),
            planted_by: permit.principal().person().map(|person| person.id().clone()),
            planted: self.platform().clock.now(),
            times: 0,
            used: None,
            ended: None,
        };
        let taken = || Problem::new("conflict/service-account", format!("there is or was a service account `{id}`"));
        let made = planted.register.add(record)?.ok_or_else(taken)?;
        self.record_done_to(permit, "canary.planted", ("canary", &id));
        Ok((made, secret))
    }

    /// Takes a planted credential up again: its use is told no more. Harmless when repeated.
    pub(crate) fn end_planted(&self, id: &str, permit: &Permit) -> Result<Planted, Problem> {
        let now = self.platform().clock.now();
        let own = |planted: &Planted| permit.scope() == Some(&planted.scope);
        let Some(planted) = self.planted().find(id).filter(own) else { return Err(no_planted(id)) };
        if planted.ended.is_some() {
            return Ok(planted);
        }
        let details = Details::none().name("canary", id).map_err(|e| from_audit(&e))?;
        // First: what nobody hears of any more is known to be so.
        self.log().record(Event::of(permit, "canary.ended").with(details)).map_err(|e| from_audit(&e))?;
        let end = |planted: &Planted| Ok::<_, Problem>(Planted { ended: Some(now), ..planted.clone() });
        self.planted().register.change(id, end)?.ok_or_else(|| no_planted(id))
    }
}

/// Tells of the uses that wait: an entry each, and whoever is on call is woken. What cannot be recorded now waits.
pub(crate) fn tell(control: &ControlPlane, pager: &Pager) {
    if control.log().halted().is_some() {
        return;
    }
    let now = control.platform().clock.now();
    for (id, times, from) in control.planted().due(control.platform().clock.monotonic()) {
        let Some(planted) = control.planted().find(&id) else { continue };
        tracing::warn!(canary = id, times, "a planted credential was used: somebody has read what they should not");
        let details = Details::none().name("canary", id.as_str()).and_then(|details| details.count("times", times));
        let details = details.and_then(|details| match from {
            Some(from) => details.name("network", network_name(from)),
            None => Ok(details),
        });
        match details {
            Ok(details) => {
                let event = Event::new("canary.used", Place::Scope(planted.scope.clone())).with(details);
                control.record(event.for_commitment("CH-33"));
            }
            Err(error) => tracing::error!(%error, "the use of a planted credential could not be recorded"),
        }
        let reference = format!("canary-{}", hex::encode(&creta_proof::Hash::of(&[id.as_bytes()]).as_bytes()[..8]));
        if let Err(error) = pager.ask(&reference, now, Urgency::Urgent) {
            tracing::error!(%error, "that somebody has to be paged could not be noted");
        }
        let used = |planted: &Planted| {
            Ok::<_, Problem>(Planted { times: planted.times + times, used: Some(now), ..planted.clone() })
        };
        if let Err(problem) = control.planted().register.change(&id, used) {
            tracing::error!(%problem, "the use of a planted credential could not be kept");
        }
    }
}

pub(crate) fn no_planted(id: &str) -> Problem {
    Problem::new("not-found/canary", format!("there is no planted credential `{id}`"))
        .with_help("`GET /v1/canary-tokens?tenant=...` lists them")
}

fn mark_of(key: &ScopeKey, secret: &ClientSecret) -> String {
    hex::encode(key.mac(DOMAIN, &[secret.expose_bytes()]))
}
