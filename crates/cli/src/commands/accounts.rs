//! `creta tenant`, `creta service-account` and `creta canary`.

use std::path::{Path, PathBuf};

use creta_server::Credential;
use serde::{Deserialize, Serialize};

use super::connect;
use super::signed::wait_for_signature;
use crate::args::{CanaryCommand, ServiceAccountCommand, TenantCommand};
use crate::failure::Failure;
use crate::http::{encoded, query_string};
use crate::profile::{self, Profile};
use crate::terminal::{Align, Terminal, table};

#[derive(Debug, Serialize, Deserialize)]
struct Tenant {
    tenant: String,
    created: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tenants {
    tenants: Vec<Tenant>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Account {
    client_id: String,
    name: String,
    role: Option<String>,
    #[serde(default)]
    require_proof: bool,
    created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Accounts {
    service_accounts: Vec<Account>,
}

pub(crate) fn tenant(command: TenantCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        TenantCommand::Create { name, connection } => {
            let (server, _) = connect(&connection)?;
            let made: Tenant = server.post("/v1/tenants", &serde_json::json!({ "tenant": name }))?;
            terminal.show(&made, || {
                let next = "creta service-account create NAME --role reader --out FILE --tenant";
                format!("made tenant `{0}`\nnext: {next} {0}", made.tenant)
            });
        }
        TenantCommand::List(connection) => {
            let (server, _) = connect(&connection)?;
            let listed: Tenants = server.get("/v1/tenants")?;
            terminal.show(&listed, || {
                let row = |tenant: &Tenant| vec![tenant.tenant.clone(), tenant.created.clone()];
                let rows: Vec<_> = listed.tenants.iter().map(row).collect();
                table(&[("tenant", Align::Left), ("created", Align::Left)], &rows)
            });
        }
    }
    Ok(())
}

pub(crate) fn service_account(command: ServiceAccountCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        ServiceAccountCommand::Create { name, tenant, environment: _, role, require_proof, out, connection } => {
            let (server, profile) = connect(&connection)?;
            let (path, mut request) = match &tenant {
                Some(tenant) => {
                    ("/v1/service-accounts", serde_json::json!({ "name": name, "tenant": tenant, "role": role }))
                }
                None if ["provisioner", "backup", "monitor"].contains(&role.as_str()) => {
                    (PROVISIONERS, serde_json::json!({ "name": name, "role": role }))
                }
                None => return Err(not_of_environment(&role)),
            };
            if require_proof {
                request["require_proof"] = true.into();
            }
            // Before anything is made on the server: afterwards a secret that has nowhere to go would be lost.
            require_absent(&out)?;
            let authority = authority_of(&profile)?;
            let made: Made = server.post(path, &request)?;
            let credential = credential(&profile, authority, &made);
            let json = serde_json::to_vec_pretty(&credential).expect("a credential has a JSON form");
            profile::write_private(&out, &json)?;
            let shown = serde_json::json!({ "client_id": made.client_id, "tenant": tenant, "role": role, "file": out });
            terminal.show(&shown, || {
                let file = out.display();
                let whose = tenant.map_or_else(|| "the environment".to_owned(), |tenant| format!("`{tenant}`"));
                format!(
                    "made service account `{}`, which is {role} of {whose}; its secret is in {file} and nowhere else\n\
                     next: creta login --from {file}",
                    made.client_id
                )
            });
        }
        ServiceAccountCommand::List { tenant, connection } => {
            let (server, _) = connect(&connection)?;
            let path = match tenant {
                Some(tenant) => query_string("/v1/service-accounts", &[("tenant", Some(tenant))]),
                None => PROVISIONERS.to_owned(),
            };
            let listed: Accounts = server.get(&path)?;
            terminal.show(&listed, || accounts_table(&listed.service_accounts));
        }
        ServiceAccountCommand::Rotate { client_id, out, overlap_hours, require_proof, connection } => {
            let (server, profile) = connect(&connection)?;
            require_absent(&out)?;
            let authority = authority_of(&profile)?;
            let path = format!("{}/{}/rotate", kept_at(&client_id), encoded(&client_id));
            let mut request = serde_json::json!({ "overlap_hours": overlap_hours });
            if let Some(required) = require_proof {
                request["require_proof"] = required.into();
            }
            let made: Made = server.post(&path, &request)?;
            let credential = credential(&profile, authority, &made);
            let json = serde_json::to_vec_pretty(&credential).expect("a credential has a JSON form");
            profile::write_private(&out, &json)?;
            let shown = serde_json::json!({ "client_id": made.client_id, "file": out, "overlap_hours": overlap_hours });
            terminal.show(&shown, || {
                let file = out.display();
                format!(
                    "`{}` has a new secret, which is in {file} and nowhere else; the old one is good for {overlap_hours} h\n\
                     next: creta login --from {file}",
                    made.client_id
                )
            });
        }
        ServiceAccountCommand::Request { name, tenant, environment: _, role, rotate, reason, connection } => {
            let what = if rotate { "rotate" } else { "create" };
            let (path, body) = match (tenant, role.as_deref()) {
                (Some(tenant), role) => {
                    let body = serde_json::json!({"what": what, "tenant": tenant, "name": name, "role": role, "reason": reason});
                    (REQUESTS, body)
                }
                (None, None | Some("provisioner")) => {
                    (PROVISIONER_REQUESTS, serde_json::json!({"what": what, "name": name, "reason": reason}))
                }
                (None, Some(role)) => return Err(not_of_environment(role)),
            };
            let asked: SecretRequest = connect(&connection)?.0.post(path, &body)?;
            terminal.show(&asked, || {
                let SecretRequest { request, says, void_at, .. } = &asked;
                format!(
                    "asked to {says}; void at {void_at}\n\
                     somebody else approves it with: creta service-account approve {request}\n\
                     then: creta service-account {what} ..."
                )
            });
        }
        ServiceAccountCommand::Requests(connection) => {
            let SecretRequests { requests } = connect(&connection)?.0.get(REQUESTS)?;
            terminal.show(&serde_json::json!({ "requests": requests }), || requests_table(&requests));
        }
        ServiceAccountCommand::Approve { id, connection } => {
            let (server, _) = connect(&connection)?;
            let find = || {
                let SecretRequests { requests } = server.get(REQUESTS)?;
                requests.into_iter().find(|request: &SecretRequest| request.request == id).ok_or_else(|| {
                    Failure::usage(
                        "not-found/proposal",
                        format!("there is no request `{id}` that you can see"),
                        "`creta service-account requests` shows those that you can",
                    )
                })
            };
            let shown = find()?;
            let SecretRequest { says, requested_by, reason, .. } = &shown;
            terminal.complain(&format!("{requested_by} asks to {says}\nreason: {reason}"));
            let path = format!("{REQUESTS}/{}/approve", encoded(&id));
            let mut approved: SecretRequest = server.post(&path, &serde_json::json!({ "digest": shown.digest }))?;
            if let Some(address) = approved.verify.take() {
                approved = wait_for_signature(&address, terminal, "`creta service-account requests`", || {
                    Ok(Some(find()?).filter(|now| now.state == "approved"))
                })?;
            }
            terminal.show(&approved, || {
                format!("approved; {} can do it until {}", approved.requested_by, approved.void_at)
            });
        }
        ServiceAccountCommand::Revoke { client_id, connection } => {
            let (server, _) = connect(&connection)?;
            let revoked: Account =
                server.post_empty(&format!("{}/{}/revoke", kept_at(&client_id), encoded(&client_id)))?;
            terminal.show(&revoked, || format!("revoked `{}`; its tokens ended with it", revoked.client_id));
        }
    }
    Ok(())
}

/// Where accounts of the environment are; those of tenants are elsewhere.
const PROVISIONERS: &str = "/v1/provisioners";

fn kept_at(client_id: &str) -> &'static str {
    let tenant = client_id.split_once('@').and_then(|(_, tenant)| creta_model::TenantId::parse(tenant).ok());
    if tenant.is_some_and(|tenant| creta_iam::is_reserved(&tenant)) { PROVISIONERS } else { "/v1/service-accounts" }
}

const REQUESTS: &str = "/v1/service-account-requests";
const PROVISIONER_REQUESTS: &str = "/v1/provisioner-requests";

fn not_of_environment(role: &str) -> Failure {
    let message = format!("an account of the environment cannot be {role}");
    let help = "make it `provisioner`, `backup` or `monitor`, or name the tenant it belongs to with `--tenant`";
    Failure::usage("service-account/role", message, help)
}

/// That somebody asks to be shown a secret.
#[derive(Debug, Serialize, Deserialize)]
struct SecretRequest {
    request: String,
    state: String,
    what: String,
    client_id: String,
    role: String,
    reason: String,
    requested_by: String,
    requested: String,
    void_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approved_by: Option<String>,
    says: String,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify: Option<String>,
}

#[derive(Debug, Deserialize)]
struct SecretRequests {
    requests: Vec<SecretRequest>,
}

fn requests_table(requests: &[SecretRequest]) -> String {
    if requests.is_empty() {
        return "no requests".to_owned();
    }
    let row = |r: &SecretRequest| vec![r.request.clone(), r.state.clone(), r.requested_by.clone(), r.says.clone()];
    let headings = [("request", Align::Left), ("state", Align::Left), ("by", Align::Left), ("what", Align::Left)];
    table(&headings, &requests.iter().map(row).collect::<Vec<_>>())
}

/// A service account that was just made.
#[derive(Deserialize)]
struct Made {
    client_id: String,
    client_secret: String,
}

/// Planted credentials: in the same form as real ones, for whoever looks where nobody should.
pub(crate) fn canary(command: CanaryCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        CanaryCommand::Token { name, tenant, out, connection } => {
            let (server, profile) = connect(&connection)?;
            require_absent(&out)?;
            let authority = authority_of(&profile)?;
            let made: Made = server.post(CANARIES, &serde_json::json!({ "name": name, "tenant": tenant }))?;
            let credential = credential(&profile, authority, &made);
            let json = serde_json::to_vec_pretty(&credential).expect("a credential has a JSON form");
            profile::write_private(&out, &json)?;
            let shown = serde_json::json!({ "client_id": made.client_id, "tenant": tenant, "file": out });
            terminal.show(&shown, || {
                format!(
                    "planted `{}`: the credential in {} belongs to nobody, and its use wakes whoever is on call\n\
                     next: put it where a thief would look and nobody else does",
                    made.client_id,
                    out.display()
                )
            });
        }
        CanaryCommand::List { tenant, connection } => {
            let path = query_string(CANARIES, &[("tenant", Some(tenant))]);
            let listed: Canaries = connect(&connection)?.0.get(&path)?;
            terminal.show(&listed, || canaries_table(&listed.canary_tokens));
        }
        CanaryCommand::End { client_id, connection } => {
            let path = format!("{CANARIES}/{}/end", encoded(&client_id));
            let ended: Canary = connect(&connection)?.0.post_empty(&path)?;
            terminal.show(&ended, || format!("`{}` is planted no more: its use is told to nobody", ended.client_id));
        }
    }
    Ok(())
}

const CANARIES: &str = "/v1/canary-tokens";

/// A planted credential, without its secret.
#[derive(Debug, Serialize, Deserialize)]
struct Canary {
    client_id: String,
    planted: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    planted_by: Option<String>,
    times: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Canaries {
    canary_tokens: Vec<Canary>,
}

fn canaries_table(canaries: &[Canary]) -> String {
    let row = |canary: &Canary| {
        let used =
            canary.used.as_ref().map_or_else(|| "never".to_owned(), |at| format!("{} times, {at}", canary.times));
        let state = canary.ended.as_ref().map_or_else(|| "planted".to_owned(), |at| format!("ended {at}"));
        vec![canary.client_id.clone(), canary.planted.clone(), used, state]
    };
    let headings =
        [("client id", Align::Left), ("planted", Align::Left), ("used", Align::Left), ("state", Align::Left)];
    table(&headings, &canaries.iter().map(row).collect::<Vec<_>>())
}

/// What a client of the profile's server has to trust, which its credential file names.
///
/// # Errors
///
/// The profile names none.
fn authority_of(profile: &Profile) -> Result<PathBuf, Failure> {
    profile.ca_file.clone().ok_or_else(|| {
        Failure::usage(
            "profile/no-authority",
            "the profile names no certificate authority; nothing was made",
            "add one with `creta login --ca FILE`",
        )
    })
}

/// Everything that a client needs, in one file.
fn credential(profile: &Profile, ca: PathBuf, made: &Made) -> Credential {
    Credential {
        url: profile.url.clone(),
        client_id: made.client_id.clone(),
        client_secret: made.client_secret.clone(),
        ca,
    }
}

fn require_absent(file: &Path) -> Result<(), Failure> {
    if file.symlink_metadata().is_err() {
        return Ok(());
    }
    let message = format!("`{}` is already there; nothing was made", file.display());
    Err(Failure::usage("file/already-there", message, "name another file with `--out`"))
}

fn accounts_table(accounts: &[Account]) -> String {
    let row = |account: &Account| {
        let state = account.revoked.as_ref().map_or("active".to_owned(), |at| format!("revoked {at}"));
        let proof = if account.require_proof { "required" } else { "if shown" };
        let role = account.role.clone().unwrap_or_default();
        vec![account.client_id.clone(), role, account.created.clone(), proof.to_owned(), state]
    };
    let headings = [
        ("client id", Align::Left),
        ("role", Align::Left),
        ("created", Align::Left),
        ("proof", Align::Left),
        ("state", Align::Left),
    ];
    table(&headings, &accounts.iter().map(row).collect::<Vec<_>>())
}
