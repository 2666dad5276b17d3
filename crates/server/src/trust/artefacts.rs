//! What somebody outside issued: the log names it first, file and statement are stored sealed, and what is shown is computed
//! from both at every look (CI-04, CI-05, CH-08). There is no switch.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use creta_audit::{Details, Event, Permit};
use creta_compliance::{
    ARTEFACT_BYTES_MAX, ARTEFACT_FORMAT, Artefact, ArtefactError, CommitmentId, Ledger, RecordedArtefact, detail,
};
use creta_model::{Instant, Problem};
use creta_proof::Hash;
use serde::{Deserialize, Serialize};

use super::{Trust, lock, refusals};
use crate::control_plane::ControlPlane;
use crate::problem::{from_audit, from_store};

/// Kinds of the documents that hold statements and files, by digest.
const STATEMENT_KIND: &str = "artefact";
const FILE_KIND: &str = "artefact-file";

/// What somebody hands in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewArtefact {
    commitment: CommitmentId,
    /// By default the only one that the commitment needs.
    #[serde(default)]
    kind: Option<String>,
    issuer: String,
    issued: Instant,
    expires: Instant,
    scope_from: Instant,
    scope_to: Instant,
    /// In base64.
    file: String,
}

/// An artefact as it is listed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ListedArtefact {
    /// Absent where what is stored is not what the log names.
    #[serde(skip_serializing_if = "Option::is_none")]
    artefact: Option<Artefact>,
    id: String,
    commitment: String,
    kind: String,
    expires: Instant,
    log_index: u64,
    received_at: Instant,
    /// `counts`, `expired`, or why it does not count.
    status: String,
}

impl Trust {
    /// Records an artefact: the log first, then file and statement.
    pub(crate) fn record_artefact(
        &self,
        control: &ControlPlane,
        new: NewArtefact,
        permit: &Permit,
    ) -> Result<ListedArtefact, Problem> {
        let file = BASE64.decode(&new.file).map_err(|_| Problem::new("artefact/file", "`file` is not base64"))?;
        let row = self.registry.commitment(&new.commitment).ok_or_else(|| {
            Problem::new("not-found/commitment", format!("there is no commitment `{}`", new.commitment))
        })?;
        let kinds: Vec<&str> = row.artefacts.iter().map(|needed| needed.kind.as_str()).collect();
        let kind = match (new.kind, kinds.as_slice()) {
            (Some(kind), _) => kind,
            (None, [only]) => (*only).to_owned(),
            (None, _) => String::new(),
        };
        if !kinds.contains(&kind.as_str()) {
            let error = ArtefactError::Kind { commitment: new.commitment, kind };
            let help = if kinds.is_empty() {
                "it is not shown by an artefact of somebody outside".to_owned()
            } else {
                format!("it needs {}", kinds.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", "))
            };
            return Err(refused(&error).with_help(help));
        }
        let mut id = [0; 8];
        control.platform().random.fill(&mut id);
        let artefact = Artefact {
            format: ARTEFACT_FORMAT.to_owned(),
            id: hex::encode(id),
            commitment: row.id.clone(),
            kind,
            issuer: new.issuer,
            issued: new.issued,
            expires: new.expires,
            scope_from: new.scope_from,
            scope_to: new.scope_to,
            file: Hash::of(&[&file]),
            bytes: file.len() as u64,
        };
        let own = self.own_names(control);
        if let Err(error) = artefact.require_valid(own.iter().map(String::as_str), control.platform().clock.now()) {
            if matches!(error, ArtefactError::OwnIssuer { .. }) {
                refusals::count(control, refusals::Kind::OwnIssuer);
            }
            return Err(refused(&error));
        }
        let details = Details::none()
            .name(detail::ARTEFACT, artefact.id.clone())
            .and_then(|details| details.name(detail::ARTEFACT_FOR, artefact.commitment.to_string()))
            .and_then(|details| details.name(detail::KIND, artefact.kind.clone()))
            .and_then(|details| details.digest(detail::STATEMENT, *artefact.digest().as_bytes()))
            .and_then(|details| details.digest(detail::FILE, *artefact.file.as_bytes()))
            .and_then(|details| details.instant(detail::ISSUED, artefact.issued))
            .and_then(|details| details.instant(detail::EXPIRES, artefact.expires))
            .map_err(|e| from_audit(&e))?;
        control.log().record(Event::of(permit, Ledger::ARTEFACT_ACTION).with(details)).map_err(|e| from_audit(&e))?;
        let file_id = artefact.file.to_string();
        if control.metadata().read(FILE_KIND, &file_id).map_err(|e| from_store(&e))?.is_none() {
            control.metadata().write(FILE_KIND, &file_id, None, &file).map_err(|e| from_store(&e))?;
        }
        let statement = artefact.digest().to_string();
        control.metadata().write(STATEMENT_KIND, &statement, None, &artefact.to_bytes()).map_err(|e| from_store(&e))?;
        self.catch_up(control)?;
        self.artefact(control, &artefact.id)
    }

    /// Names that no issuer may have: the organisation's, and those of everybody with an account of the environment.
    fn own_names(&self, control: &ControlPlane) -> Vec<String> {
        let mut names = vec![self.organisation.name.clone()];
        names.extend(control.account_names());
        names
    }

    /// All artefacts, oldest first.
    pub(crate) fn artefacts(&self, control: &ControlPlane) -> Result<Vec<ListedArtefact>, Problem> {
        self.catch_up(control)?;
        let recorded = lock(&self.ledger).artefacts().to_vec();
        Ok(recorded.iter().map(|recorded| self.listed(control, recorded)).collect())
    }

    /// The artefact of a name.
    pub(crate) fn artefact(&self, control: &ControlPlane, id: &str) -> Result<ListedArtefact, Problem> {
        Ok(self.listed(control, &self.require_artefact(control, id)?))
    }

    /// Its file, when it is what the log names.
    pub(crate) fn artefact_file(&self, control: &ControlPlane, id: &str) -> Result<Vec<u8>, Problem> {
        let recorded = self.require_artefact(control, id)?;
        stored(control, FILE_KIND, &recorded.file).map_err(|reason| Problem::new("artefact/not-as-logged", reason))
    }

    fn require_artefact(&self, control: &ControlPlane, id: &str) -> Result<RecordedArtefact, Problem> {
        self.catch_up(control)?;
        let found = lock(&self.ledger).artefacts().iter().find(|recorded| recorded.id == id).cloned();
        found.ok_or_else(|| Problem::new("not-found/artefact", "there is no artefact of this name"))
    }

    fn listed(&self, control: &ControlPlane, recorded: &RecordedArtefact) -> ListedArtefact {
        let signed = control.log().checkpoint().map_err(|error| error.to_string());
        let fetched = signed.and_then(|signed| Self::proven_artefact(control, recorded, signed.as_str()));
        let status = match &fetched {
            Err(reason) => reason.clone(),
            Ok(_) if recorded.expires <= control.platform().clock.now() => "expired".to_owned(),
            Ok(_) => "counts".to_owned(),
        };
        ListedArtefact {
            id: recorded.id.clone(),
            commitment: recorded.commitment.clone(),
            kind: recorded.kind.clone(),
            expires: recorded.expires,
            log_index: recorded.index,
            received_at: recorded.received_at,
            artefact: fetched.ok(),
            status,
        }
    }

    /// A statement, proven to be what its entry of the log says, within a checkpoint, and its file too (R4).
    pub(super) fn proven_artefact(
        control: &ControlPlane,
        recorded: &RecordedArtefact,
        signed: &str,
    ) -> Result<Artefact, String> {
        let bytes = stored(control, STATEMENT_KIND, &recorded.statement)?;
        stored(control, FILE_KIND, &recorded.file)?;
        let names = format!("\"{}\":\"sha256:{}\"", detail::STATEMENT, recorded.statement);
        Self::require_in_log(control, recorded.index, signed, &names)?;
        let artefact: Artefact = serde_json::from_slice(&bytes).map_err(|_| "its statement cannot be read")?;
        let fits = artefact.file == recorded.file
            && artefact.commitment.as_str() == recorded.commitment
            && artefact.kind == recorded.kind
            && (artefact.issued, artefact.expires) == (recorded.issued, recorded.expires);
        if fits { Ok(artefact) } else { Err("its statement is not the one that the log names".to_owned()) }
    }

    /// All that the log names.
    pub(super) fn recorded_artefacts(&self) -> Vec<RecordedArtefact> {
        lock(&self.ledger).artefacts().to_vec()
    }
}

/// The stored bytes of a digest.
fn stored(control: &ControlPlane, kind: &str, digest: &Hash) -> Result<Vec<u8>, String> {
    match control.metadata().read(kind, &digest.to_string()) {
        Ok(Some(document)) if Hash::of(&[&document.body]) == *digest => Ok(document.body),
        Ok(Some(_)) => Err("it was changed after the log named it".to_owned()),
        Ok(None) => Err("it is gone".to_owned()),
        Err(error) => Err(format!("it cannot be read: {error}")),
    }
}

/// Largest request: a file in base64 with what is said of it.
pub(crate) const REQUEST_BYTES_MAX: usize = ARTEFACT_BYTES_MAX / 3 * 4 + (16 << 10);

fn refused(error: &ArtefactError) -> Problem {
    let code = match error {
        ArtefactError::OwnIssuer { .. } => "artefact/own-issuer",
        ArtefactError::Issuer => "artefact/issuer",
        ArtefactError::Dates { .. } => "artefact/dates",
        ArtefactError::Kind { .. } => "artefact/kind",
        _ => "artefact/file",
    };
    Problem::new(code, error.to_string())
}
