//! Epochs of the stores, anchored in the audit log, so that an older copy that was put back is refused (THREATS T7).
//!
//! A store's files vouch for each other and not for their age: whoever puts yesterday's folder back puts back a whole
//! store. So the log gets an entry `store.epoch` with position, chain and manifest of each store that changed: of the
//! control plane's documents before each checkpoint, of a tenant's stores each minute, when they open and when they close.
//! When a store opens, it must go on from its newest entry. An older copy of everything, the log included, is noticed by
//! the log's witnesses instead.
//!
//! An epoch is read after what it speaks of is durable, and recorded after that. A crash therefore leaves a store that is
//! as new as its newest entry or newer, and nobody is locked out by one.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use creta_audit::{AuditError, Details, Entry, Event, Hash, Log};
use creta_iam::Place;
use creta_identity::recovery::StoreAt;
use creta_model::{Problem, TenantId};
use creta_store::{Epoch, MetadataEpoch, Position, StoreError};

use crate::problem::{from_audit, from_store};
use crate::witness::{FORK_NOTICE, entries_of};

/// The entry of a moment.
const ANCHORED: &str = "store.epoch";
/// The entry by which an operator accepts an older copy: the store goes on from there.
pub(crate) const ACCEPTED: &str = "store.older-accepted";

/// Code of the refusal of a store that is older than the log knows it.
pub(crate) const OLDER_COPY: &str = "store/older-copy";

/// A store of a tenant or of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Store {
    Facts,
    Quarantine,
    Metadata,
}

impl Store {
    const ALL: [Self; 3] = [Self::Facts, Self::Quarantine, Self::Metadata];

    /// Reads the name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|store| store.as_str() == name)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Facts => "facts",
            Self::Quarantine => "quarantine",
            Self::Metadata => "metadata",
        }
    }

    /// Where it stands in the data folder.
    pub(crate) fn path(self, tenant: Option<&TenantId>) -> String {
        match (self, tenant) {
            (Self::Metadata, None) => "metadata.sqlite".to_owned(),
            (Self::Metadata, Some(tenant)) => format!("tenants/{tenant}/metadata.sqlite"),
            (Self::Facts, tenant) => format!("tenants/{}/facts/truth", tenant.map_or("", TenantId::as_str)),
            (Self::Quarantine, tenant) => format!("tenants/{}/facts/quarantine", tenant.map_or("", TenantId::as_str)),
        }
    }
}

/// A moment in the life of a store, of whichever kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    position: u64,
    chain: [u8; 32],
    manifest: u64,
}

impl From<Epoch> for Moment {
    fn from(epoch: Epoch) -> Self {
        Self { position: epoch.position.0, chain: epoch.chain, manifest: epoch.manifest }
    }
}

impl From<MetadataEpoch> for Moment {
    fn from(epoch: MetadataEpoch) -> Self {
        Self { position: epoch.number, chain: epoch.chain, manifest: 0 }
    }
}

impl Moment {
    pub(crate) fn facts(self) -> Epoch {
        Epoch { position: Position(self.position), chain: self.chain, manifest: self.manifest }
    }

    pub(crate) fn metadata(self) -> MetadataEpoch {
        MetadataEpoch { number: self.position, chain: self.chain }
    }

    /// What is later in the life of one store is greater.
    pub(crate) fn age(&self) -> (u64, u64) {
        (self.position, self.manifest)
    }

    /// As people read and sign it.
    pub(crate) fn of_store(self, tenant: Option<&TenantId>, store: Store) -> StoreAt {
        StoreAt {
            tenant: tenant.cloned(),
            store: store.as_str().to_owned(),
            position: self.position,
            chain: hex::encode(self.chain),
            manifest: self.manifest,
        }
    }

    fn details(self, store: Store) -> Result<Details, AuditError> {
        Details::none()
            .name("store", store.as_str())?
            .count("position", self.position)?
            .digest("chain", self.chain)?
            .count("manifest", self.manifest)
    }

    fn of(entry: &Entry) -> Option<(Store, Self)> {
        let detail = |key: &str| entry.details.get(key).map(String::as_str);
        let store = Store::ALL.into_iter().find(|store| detail("store") == Some(store.as_str()))?;
        let mut chain = [0; 32];
        hex::decode_to_slice(detail("chain")?.strip_prefix("sha256:")?, &mut chain).ok()?;
        let moment =
            Self { position: detail("position")?.parse().ok()?, chain, manifest: detail("manifest")?.parse().ok()? };
        Some((store, moment))
    }
}

/// The newest anchored moment of every store.
pub(crate) struct Epochs {
    anchored: Mutex<HashMap<(Option<TenantId>, Store), Anchored>>,
    documents_lost: Option<Gap>,
}

/// The part of the log between an older copy of the control plane's documents and the entry by which it goes on: the copy
/// knows nothing of what happened there. Where the log itself went back, nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    since: u64,
    earlier: u64,
    accepted: u64,
    forked: Option<u64>,
}

impl Gap {
    /// From the anchored moments of the documents before the copy was accepted, each with its entry, in order.
    fn new(anchors: &[(u64, Moment)], (accepted, moment): (u64, Moment)) -> Self {
        let newer = anchors.iter().position(|(_, anchored)| anchored.position > moment.position);
        let newer = newer.unwrap_or(anchors.len());
        let anchor = |back| newer.checked_sub(back).map_or(0, |before| anchors[before].0);
        Self { since: anchor(1), earlier: anchor(2), accepted, forked: None }
    }

    /// The log went back, and the documents with it: it has no entries of what was lost.
    fn unknown(fork: u64) -> Self {
        Self { since: fork, earlier: fork, accepted: fork, forked: Some(fork) }
    }

    /// Entries that are written after what they speak of is durable: since the newest moment that is not newer than the copy.
    pub(crate) fn entries(&self) -> Range<u64> {
        self.since..self.accepted
    }

    /// Entries that may stand before what they speak of is durable: since the moment before that one.
    pub(crate) fn written_first(&self) -> Range<u64> {
        self.earlier..self.accepted
    }

    /// The newest entry that says that the log goes on from an older copy of itself, if any does.
    pub(crate) fn forked(&self) -> Option<u64> {
        self.forked
    }

    /// The newest entry by which a copy goes on.
    pub(crate) fn accepted(&self) -> u64 {
        self.forked.map_or(self.accepted, |fork| fork.max(self.accepted))
    }
}

#[derive(Clone, Copy)]
struct Anchored {
    moment: Moment,
    /// The entry that holds it.
    entry: u64,
}

impl Epochs {
    /// Reads them from the log, whose entries are those that were signed. Looks at each entry once.
    pub(crate) fn read(log: &Log) -> Result<Self, Problem> {
        let (mut anchored, mut documents, mut documents_lost, mut forked) = (HashMap::new(), Vec::new(), None, None);
        for (index, entry) in entries_of(log, &[ANCHORED, ACCEPTED, FORK_NOTICE]).map_err(|e| from_audit(&e))? {
            if entry.action == FORK_NOTICE {
                forked = Some(index);
            } else if let Some((store, moment)) = Moment::of(&entry) {
                if entry.tenant.is_none() && store == Store::Metadata {
                    if entry.action == ACCEPTED {
                        documents_lost = Some(Gap::new(&documents, (index, moment)));
                    }
                    documents.push((index, moment));
                }
                anchored.insert((entry.tenant, store), Anchored { moment, entry: index });
            }
        }
        // Documents that went back with the log agree with it.
        let documents_lost = match (documents_lost, forked) {
            (Some(gap), forked) => Some(Gap { forked, ..gap }),
            (None, forked) => forked.map(Gap::unknown),
        };
        Ok(Self { anchored: Mutex::new(anchored), documents_lost })
    }

    /// What the control plane's documents lost when an older copy of them was accepted, or a fork declared, last before this
    /// start.
    pub(crate) fn documents_lost(&self) -> Option<Gap> {
        self.documents_lost.clone()
    }

    /// Runs a store's own check against its newest anchored moment; a store that has none passes.
    pub(crate) fn check(
        &self,
        tenant: Option<&TenantId>,
        store: Store,
        check: impl FnOnce(Moment) -> Result<(), StoreError>,
    ) -> Result<(), Problem> {
        let Some(anchored) = self.lock().get(&(tenant.cloned(), store)).copied() else { return Ok(()) };
        match check(anchored.moment) {
            Ok(()) => Ok(()),
            Err(StoreError::Tampered { reason, .. }) => Err(older(tenant, store, &reason, anchored)),
            Err(other) => Err(from_store(&other)),
        }
    }

    /// The newest anchored moment of a store.
    pub(crate) fn newest(&self, tenant: Option<&TenantId>, store: Store) -> Option<Moment> {
        self.lock().get(&(tenant.cloned(), store)).map(|anchored| anchored.moment)
    }

    /// Records the moment of a store, which must be durable, unless it is the newest that stands in the log.
    pub(crate) fn anchor(&self, log: &Log, place: &Place, store: Store, moment: Moment) -> Result<(), AuditError> {
        let mut anchored = self.lock();
        let key = (place.scope().map(|scope| scope.tenant.clone()), store);
        let goes_on = match anchored.get(&key) {
            None => moment.position > 0,
            // Another thread may have read later and recorded earlier.
            Some(Anchored { moment: newest, .. }) => {
                *newest != moment && newest.position <= moment.position && newest.manifest <= moment.manifest
            }
        };
        if goes_on {
            let event = Event::new(ANCHORED, place.clone()).with(moment.details(store)?).for_commitment("CI-12");
            let entry = log.record(event)?;
            anchored.insert(key, Anchored { moment, entry });
        }
        Ok(())
    }

    /// Records that a store goes on from this moment although the log knows a later one, why, and on whose statement. The
    /// reason itself is kept by whoever gave it; the log has its digest.
    pub(crate) fn accept(
        &self,
        log: &Log,
        place: &Place,
        store: Store,
        moment: Moment,
        (reason, statement): (&str, Option<Hash>),
    ) -> Result<u64, AuditError> {
        let entry = log.record(accepted(place, store, moment, (reason, statement))?)?;
        let key = (place.scope().map(|scope| scope.tenant.clone()), store);
        self.lock().insert(key, Anchored { moment, entry });
        Ok(entry)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Option<TenantId>, Store), Anchored>> {
        self.anchored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epochs({} stores)", self.lock().len())
    }
}

/// What [`Epochs::accept`] records.
pub(crate) fn accepted(
    place: &Place,
    store: Store,
    moment: Moment,
    (reason, statement): (&str, Option<Hash>),
) -> Result<Event, AuditError> {
    let reason = *Hash::of(&[reason.as_bytes()]).as_bytes();
    let mut details = moment.details(store)?.digest("reason", reason)?;
    if let Some(statement) = statement {
        details = details.digest("statement", *statement.as_bytes())?;
    }
    Ok(Event::new(ACCEPTED, place.clone()).with(details).for_commitment("CI-12"))
}

fn older(tenant: Option<&TenantId>, store: Store, reason: &str, anchored: Anchored) -> Problem {
    let path = store.path(tenant);
    let whose = tenant.map_or_else(|| "the control plane".to_owned(), |tenant| format!("tenant `{tenant}`"));
    let accept = tenant.map_or_else(String::new, |tenant| format!(" --tenant {tenant}"));
    tracing::error!(path, reason, entry = anchored.entry, "a store is not the one that the audit log speaks of");
    Problem::new(OLDER_COPY, format!("the {} store of {whose} is refused: {reason}", store.as_str()))
        .with_note("place", path.clone(), None)
        .with_note(
            "audit log",
            format!("entry {} has its position {} and its chain", anchored.entry, anchored.moment.position),
            None,
        )
        .with_help(format!(
            "put the newest copy of `{path}` back; if it is lost, stop the server and run \
             `creta audit accept-older --data FOLDER{accept} --reason TEXT`, which stands in the log; outside class \
             development two people have to approve that: `creta restore draw --help`"
        ))
}

#[cfg(test)]
mod tests {
    use creta_audit::Log;
    use creta_model::{Environment, Scope};

    use super::*;

    fn moment(position: u64, chain: u8, manifest: u64) -> Moment {
        Moment { position, chain: [chain; 32], manifest }
    }

    fn newest(epochs: &Epochs, tenant: &str, store: Store) -> Option<Moment> {
        let tenant = TenantId::parse(tenant).expect("valid");
        let mut found = None;
        let seen = epochs.check(Some(&tenant), store, |moment| {
            found = Some(moment);
            Ok(())
        });
        seen.expect("passes");
        found
    }

    #[test]
    fn what_is_anchored_is_read_back_by_scope_and_store() {
        let log = Log::in_memory(Environment::parse("prod").expect("valid")).expect("opens");
        let epochs = Epochs::read(&log).expect("reads");
        let place = |tenant: &str| Place::Scope(Scope::parse(tenant, "prod").expect("valid"));
        let anchor = |tenant, store, moment| epochs.anchor(&log, &place(tenant), store, moment).expect("recorded");

        anchor("acme", Store::Facts, moment(0, 0, 0));
        assert_eq!(log.size(), 0, "an empty store says nothing");
        anchor("acme", Store::Facts, moment(3, 1, 1));
        anchor("acme", Store::Facts, moment(3, 1, 1));
        assert_eq!(log.size(), 1, "nothing new");
        anchor("acme", Store::Facts, moment(3, 1, 2));
        anchor("acme", Store::Facts, moment(2, 9, 2));
        assert_eq!(log.size(), 2, "an earlier moment comes too late");
        anchor("acme", Store::Metadata, moment(7, 2, 0));
        anchor("globex", Store::Facts, moment(9, 3, 1));

        for epochs in [&epochs, &Epochs::read(&log).expect("reads")] {
            assert_eq!(newest(epochs, "acme", Store::Facts), Some(moment(3, 1, 2)));
            assert_eq!(newest(epochs, "acme", Store::Metadata), Some(moment(7, 2, 0)));
            assert_eq!(newest(epochs, "acme", Store::Quarantine), None);
            assert_eq!(newest(epochs, "globex", Store::Facts), Some(moment(9, 3, 1)));
        }
    }

    #[test]
    fn attack_ch35_what_an_older_copy_knows_nothing_of_begins_before_it_was_made() {
        let place = || Place::Environment(Environment::parse("prod").expect("valid"));
        let log = Log::in_memory(Environment::parse("prod").expect("valid")).expect("opens");
        let epochs = Epochs::read(&log).expect("reads");
        let lost = || {
            let gap = Epochs::read(&log).expect("reads").documents_lost();
            gap.map(|gap| (gap.entries(), gap.written_first().start))
        };
        for position in [2, 5, 9, 12] {
            epochs.anchor(&log, &place(), Store::Metadata, moment(position, 1, 0)).expect("recorded");
        }
        assert_eq!(lost(), None);
        let accept = |position| {
            epochs.accept(&log, &place(), Store::Metadata, moment(position, 1, 0), ("lost", None)).expect("recorded")
        };
        assert_eq!((accept(9), lost()), (4, Some((2..4, 1))), "the newest that is not newer, and one before");
        // Going on from there and back again: what was lost the first time is lost once more.
        epochs.anchor(&log, &place(), Store::Metadata, moment(10, 7, 0)).expect("recorded");
        assert_eq!((accept(9), lost()), (6, Some((2..6, 1))));
        assert_eq!((accept(2), lost()), (7, Some((0..7, 0))));
        // A tenant's stores say nothing about people.
        let tenant = Place::Scope(Scope::parse("acme", "prod").expect("valid"));
        epochs.accept(&log, &tenant, Store::Metadata, moment(1, 1, 0), ("lost", None)).expect("recorded");
        assert_eq!(lost(), Some((0..7, 0)));
    }

    #[test]
    fn a_refused_store_says_where_it_is_and_an_operator_may_accept_it() {
        let log = Log::in_memory(Environment::parse("prod").expect("valid")).expect("opens");
        let epochs = Epochs::read(&log).expect("reads");
        let place = Place::Scope(Scope::parse("acme", "prod").expect("valid"));
        epochs.anchor(&log, &place, Store::Facts, moment(30, 1, 2)).expect("recorded");
        let tenant = TenantId::parse("acme").expect("valid");
        let refused = epochs.check(Some(&tenant), Store::Facts, |_| {
            Err(StoreError::Tampered { store: "x".into(), reason: "an older copy was put in its place".into() })
        });
        let problem = refused.expect_err("older");
        assert_eq!(problem.code, "store/older-copy");
        let text = problem.to_string();
        for part in ["tenant `acme`", "an older copy", "tenants/acme/facts/truth", "position 30", "--tenant acme"] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }

        epochs.accept(&log, &place, Store::Facts, moment(20, 4, 1), ("the disk was lost", None)).expect("recorded");
        assert_eq!(newest(&Epochs::read(&log).expect("reads"), "acme", Store::Facts), Some(moment(20, 4, 1)));
        let entry = &log.entries(1..2).expect("within")[0];
        assert_eq!(entry.action, "store.older-accepted");
        assert!(entry.details["reason"].starts_with("sha256:"), "the text itself may hold anything");
    }
}
