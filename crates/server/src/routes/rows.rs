//! Row rules and declassifications of one tenant.

use axum::response::Response;
use creta_audit::Details;
use creta_iam::{PrincipalId, RowRules};
use creta_model::{Instant, Problem, Scope, TenantId};
use creta_programme::PersonRef;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::accounts::client_id;
use crate::context::{Admitted, Guarded, Input};
use crate::data_policy::{RowsCompared, RowsProposed, TagLifted, TagsDropped};
use crate::people::authenticators::{About, Agreed};
use crate::problem::{Refusal, from_audit};
use crate::routes::agreed::sign_first;
use crate::routes::control::home_of;
use crate::routes::json as answer;
use crate::two_people::{Proposal, own_proposal};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantQuery {
    tenant: TenantId,
}

fn rows_view(proposal: &Proposal<RowsProposed>, in_force: bool, now: Instant) -> Value {
    json!({
        "proposal": proposal.id,
        "state": if in_force { "in-force" } else { proposal.state_at(now) },
        "proposed_by": proposal.proposed_by.account,
        "proposed": proposal.proposed,
        "approved_by": proposal.approved_by().map(|by| &by.account),
        "reason": proposal.reason,
    })
}

fn compared_view(compared: &RowsCompared, now: Instant) -> Value {
    let mut view = rows_view(&compared.proposal, compared.in_force, now);
    view["rules"] = json!(compared.proposal.matter.rules.rules);
    view["wider"] = json!(compared.comparison.wider);
    view["narrower"] = json!(compared.comparison.narrower);
    view["digest"] = json!(compared.digest);
    view
}

/// Refuses what is one's own, by what is known of both accounts now.
fn other_human<'a>(
    admitted: &'a Admitted<'_>,
    own: &'a PersonRef,
) -> impl FnOnce(&PersonRef) -> Result<(), Problem> + 'a {
    move |other| match admitted.app.people.is_other_human(other, own) {
        true => Ok(()),
        false => Err(own_proposal()),
    }
}

/// The rules that hold, and all proposals.
pub(super) async fn list(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let TenantQuery { tenant } = input.query()?;
    let view = guarded
        .act_at(
            move |app| home_of(app, &tenant),
            Details::none(),
            |admitted| {
                let policy = admitted.control.data_policy(admitted.scope()?)?;
                let held = policy.rows_in_force();
                let (now, id) = (admitted.now(), held.as_ref().map(|held| held.id));
                let proposals = policy.rows.list(|_| true);
                let views: Vec<Value> =
                    proposals.iter().map(|proposal| rows_view(proposal, Some(proposal.id) == id, now)).collect();
                Ok(json!({ "in_force": id, "rules": policy.rules().rules, "proposals": views }))
            },
        )
        .await?;
    answer(&view)
}

/// One proposal beside what it would change now.
pub(super) async fn show(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let TenantQuery { tenant } = input.query()?;
    let id = input.path("id").to_owned();
    let view = guarded
        .act_at(
            move |app| home_of(app, &tenant),
            Details::none(),
            move |admitted| {
                let policy = admitted.control.data_policy(admitted.scope()?)?;
                Ok(compared_view(&policy.compared(policy.rows.require(&id)?), admitted.now()))
            },
        )
        .await?;
    answer(&view)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProposedRows {
    tenant: TenantId,
    rules: RowRules,
    reason: String,
}

/// Proposes rules instead of those that hold. What shows nothing more takes effect at once.
pub(super) async fn propose(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let ProposedRows { tenant, rules, reason } = input.json()?;
    let details = Details::none().count("rules", rules.rules.len() as u64).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act_at(
            move |app| home_of(app, &tenant),
            details,
            move |admitted| {
                let (control, by) = (admitted.control, admitted.human()?);
                let (policy, engine) = (control.data_policy(admitted.scope()?)?, admitted.engine_for_policy()?);
                let compared = policy.propose_rows((control, &engine, &admitted.permit), by, rules, &reason)?;
                Ok(compared_view(&compared, admitted.now()))
            },
        )
        .await?;
    answer(&view)
}

/// Puts somebody else's rules in force, as they were shown.
pub(super) async fn approve(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Seen { digest } = input.json()?;
    let (id, url) = (input.path("id").to_owned(), input.url.clone());
    let details = Details::none().keyed("proposal", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act(details, move |admitted| {
            let (control, by, seen) =
                (admitted.control, admitted.person()?.reference(), (id.as_str(), digest.as_str()));
            let (policy, may) = (control.data_policy(tenants_own(admitted)?)?, other_human(admitted, &by));
            let compared = policy.require_rows_approvable((control, &admitted.permit), &by, seen, may)?;
            let agreed = Agreed::Rows { id: id.clone(), digest: digest.clone() };
            match sign_first(admitted, &url, agreed, rows_agreed_to(&compared, &digest))? {
                Some(verify) => Ok(to_sign(compared_view(&compared, admitted.now()), verify)),
                None => approve_rows_now(admitted, &id, &digest),
            }
        })
        .await?;
    answer(&view)
}

/// Something that is signed first, and where.
fn to_sign(mut view: Value, verify: String) -> Value {
    view["verify"] = verify.into();
    view
}

/// What somebody's authenticator signs: the proposed rules beside those that held when they saw them.
fn rows_agreed_to(compared: &RowsCompared, seen: &str) -> About {
    let RowsCompared { proposal, comparison, .. } = compared;
    let mut text = vec![
        format!("Put the row rules in force that {} proposed: {}", proposal.proposed_by.account, proposal.reason),
        format!("What they show more: {}. What they show less: {}.", comparison.wider.len(), comparison.narrower.len()),
    ];
    text.extend(comparison.wider.iter().take(5).map(|wider| format!("Shows more, for example: {wider}")));
    let rules = serde_json::to_string_pretty(&proposal.matter.rules).expect("rules have a JSON form");
    About { action: "rows.approve", signed: seen.as_bytes().to_vec(), text, document: Some(rules) }
}

/// Puts them in force, by the rules of this moment.
pub(super) fn approve_rows_now(admitted: &Admitted<'_>, id: &str, digest: &str) -> Result<Value, Refusal> {
    let (control, by) = (admitted.control, admitted.person()?.reference());
    let (policy, engine) = (control.data_policy(tenants_own(admitted)?)?, admitted.engine_for_policy()?);
    let on = (control, &*engine, &admitted.permit);
    let compared = policy.approve_rows(on, by.clone(), (id, digest), other_human(admitted, &by))?;
    Ok(compared_view(&compared, admitted.now()))
}

/// The scope of whoever belongs to a tenant.
fn tenants_own<'a>(admitted: &'a Admitted<'_>) -> Result<&'a Scope, Problem> {
    admitted.permit.scope().ok_or_else(|| {
        Problem::new("not-found/scope", "definitions and their tags belong to a tenant, and you to none")
            .with_help("sign in as one of the tenant's people")
    })
}

fn lifted_view(proposal: &Proposal<TagLifted>, holds: bool, now: Instant) -> Value {
    let TagLifted { feature, tag, fingerprint, sources } = &proposal.matter;
    json!({
        "proposal": proposal.id,
        "state": proposal.state_at(now),
        // Of one that was approved, whether the definitions in force are those that were looked at.
        "holds": holds && proposal.approved_by().is_some(),
        "feature": feature,
        "tag": tag,
        "sources": sources,
        "fingerprint": fingerprint,
        "reason": proposal.reason,
        "proposed_by": proposal.proposed_by.account,
        "proposed": proposal.proposed,
        "approved_by": proposal.approved_by().map(|by| &by.account),
        "digest": proposal.digest(),
    })
}

/// All declassifications of the scope, oldest first.
pub(super) async fn lifted(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let views = guarded
        .act(Details::none(), |admitted| {
            let (policy, engine) =
                (admitted.control.data_policy(tenants_own(admitted)?)?, admitted.engine_for_policy()?);
            let view = |proposal: &Proposal<TagLifted>| {
                lifted_view(proposal, policy.holds(&engine, &proposal.matter), admitted.now())
            };
            Ok(policy.lifted.list(|_| true).iter().map(view).collect::<Vec<_>>())
        })
        .await?;
    answer(&json!({ "declassifications": views }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProposedLift {
    feature: String,
    tag: String,
    reason: String,
}

/// Proposes that a computed feature no longer carries a tag.
pub(super) async fn propose_lift(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let ProposedLift { feature, tag, reason } = input.json()?;
    let view = guarded
        .act(Details::none(), move |admitted| {
            let (control, by) = (admitted.control, admitted.person()?.reference());
            let (policy, engine) = (control.data_policy(tenants_own(admitted)?)?, admitted.engine_for_policy()?);
            let on = (control, &*engine, &admitted.permit);
            let proposal = policy.propose_lift(on, by, (feature, tag), &reason)?;
            Ok(lifted_view(&proposal, true, admitted.now()))
        })
        .await?;
    answer(&view)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    /// Of the proposal as it was shown.
    digest: String,
}

/// Approves it, if the feature is still what was looked at.
pub(super) async fn approve_lift(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Seen { digest } = input.json()?;
    let (id, url) = (input.path("id").to_owned(), input.url.clone());
    let details = Details::none().keyed("proposal", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act(details, move |admitted| {
            let (control, by, seen) =
                (admitted.control, admitted.person()?.reference(), (id.as_str(), digest.as_str()));
            let (policy, may) = (control.data_policy(tenants_own(admitted)?)?, other_human(admitted, &by));
            let may = |proposal: &Proposal<TagLifted>| may(&proposal.proposed_by);
            let proposal = policy.lifted.require_approvable(control, &admitted.permit, &by, seen, may)?;
            let agreed = Agreed::Lift { id: id.clone(), digest: digest.clone() };
            match sign_first(admitted, &url, agreed, lift_agreed_to(&proposal, &digest))? {
                Some(verify) => Ok(to_sign(lifted_view(&proposal, false, admitted.now()), verify)),
                None => approve_lift_now(admitted, &id, &digest),
            }
        })
        .await?;
    answer(&view)
}

/// What somebody's authenticator signs: that exactly this feature no longer carries exactly this tag.
fn lift_agreed_to(proposal: &Proposal<TagLifted>, seen: &str) -> About {
    let TagLifted { feature, tag, fingerprint, sources } = &proposal.matter;
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let text = vec![
        format!(
            "Agree that `{feature}` no longer carries the tag `{tag}`, as {} proposed.",
            proposal.proposed_by.account
        ),
        format!("The tag comes from {}. The definition is {fingerprint}.", sources.join(", ")),
        format!("Their reason: {}", proposal.reason),
    ];
    About { action: "declassify.approve", signed: seen.as_bytes().to_vec(), text, document: None }
}

/// Approves it, by the rules of this moment.
pub(super) fn approve_lift_now(admitted: &Admitted<'_>, id: &str, digest: &str) -> Result<Value, Refusal> {
    let (control, by) = (admitted.control, admitted.person()?.reference());
    let (policy, engine) = (control.data_policy(tenants_own(admitted)?)?, admitted.engine_for_policy()?);
    let on = (control, &*engine, &admitted.permit);
    let approved = policy.approve_lift(on, by.clone(), (id, digest), other_human(admitted, &by))?;
    Ok(lifted_view(&approved, true, admitted.now()))
}

/// Ends one, before or after it was approved.
pub(super) async fn withdraw_lift(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("proposal", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act(details, move |admitted| {
            let control = admitted.control;
            let (policy, engine) = (control.data_policy(tenants_own(admitted)?)?, admitted.engine_for_policy()?);
            let ended = policy.withdraw_lift((control, &engine, &admitted.permit), &id)?;
            Ok(lifted_view(&ended, false, admitted.now()))
        })
        .await?;
    answer(&view)
}

fn dropped_view(proposal: &Proposal<TagsDropped>, now: Instant) -> Value {
    let dropped = proposal.matter.dropped.iter().map(|(feature, tag)| json!({ "feature": feature, "tag": tag }));
    json!({
        "proposal": proposal.id,
        "state": proposal.state_at(now),
        "bundle": proposal.matter.bundle,
        "dropped": dropped.collect::<Vec<_>>(),
        "proposed_by": proposal.proposed_by.account,
        "proposed": proposal.proposed,
        "void_at": proposal.void_at(),
        "approved_by": proposal.approved_by().map(|by| &by.account),
        "digest": proposal.digest(),
    })
}

/// Removals of tags that deploys asked for, oldest first.
pub(super) async fn removals(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let views = guarded
        .act(Details::none(), |admitted| {
            let policy = admitted.control.data_policy(tenants_own(admitted)?)?;
            let all = policy.dropped.list(|_| true);
            Ok(all.iter().map(|proposal| dropped_view(proposal, admitted.now())).collect::<Vec<_>>())
        })
        .await?;
    answer(&json!({ "removals": views }))
}

/// Agrees that a deploy takes exactly these tags away.
pub(super) async fn approve_removal(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Seen { digest } = input.json()?;
    let (id, url) = (input.path("id").to_owned(), input.url.clone());
    let details = Details::none().keyed("proposal", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act(details, move |admitted| {
            let (control, by, seen) =
                (admitted.control, admitted.person()?.reference(), (id.as_str(), digest.as_str()));
            let policy = control.data_policy(tenants_own(admitted)?)?;
            let may = nobody_behind(admitted, &by);
            let proposal = policy.dropped.require_approvable(control, &admitted.permit, &by, seen, may)?;
            let agreed = Agreed::Removal { id: id.clone(), digest: digest.clone() };
            match sign_first(admitted, &url, agreed, removal_agreed_to(&proposal, &digest))? {
                Some(verify) => Ok(to_sign(dropped_view(&proposal, admitted.now()), verify)),
                None => approve_removal_now(admitted, &id, &digest),
            }
        })
        .await?;
    answer(&view)
}

/// Refuses whoever asked for it: by whichever account, or through a program whose secret they were shown.
fn nobody_behind<'a>(
    admitted: &'a Admitted<'_>,
    own: &'a PersonRef,
) -> impl FnOnce(&Proposal<TagsDropped>) -> Result<(), Problem> + 'a {
    move |proposal| {
        let people = &admitted.app.people;
        let is_own = |account: &PrincipalId| {
            let person = people.require_person(account.as_str());
            person.is_ok_and(|person| !people.is_other_human(&person.reference(), own))
        };
        let program =
            admitted.permit.scope().map(|scope| client_id(proposal.proposed_by.account.as_str(), &scope.tenant));
        let program = program.and_then(|id| admitted.control.account(&id));
        let mut shown = program.iter().flat_map(|program| [&program.shown_to, &program.made_by]).flatten();
        if shown.any(is_own) || !people.is_other_human(&proposal.proposed_by, own) {
            return Err(own_proposal());
        }
        Ok(())
    }
}

/// What somebody's authenticator signs: that exactly these features lose exactly these tags.
fn removal_agreed_to(proposal: &Proposal<TagsDropped>, seen: &str) -> About {
    let mut text = vec![format!("Agree that a deploy of {} takes tags away.", proposal.proposed_by.account)];
    let all = proposal.matter.dropped.iter();
    text.extend(all.map(|(feature, tag)| format!("`{feature}` loses `{tag}`: what it masked or withheld is shown.")));
    About { action: "tags.removal", signed: seen.as_bytes().to_vec(), text, document: None }
}

/// Agrees, by the rules of this moment.
pub(super) fn approve_removal_now(admitted: &Admitted<'_>, id: &str, digest: &str) -> Result<Value, Refusal> {
    let (control, by) = (admitted.control, admitted.person()?.reference());
    let policy = control.data_policy(tenants_own(admitted)?)?;
    let may = nobody_behind(admitted, &by);
    let approved = policy.dropped.approve(control, &admitted.permit, by.clone(), (id, digest), may)?;
    Ok(dropped_view(&approved, admitted.now()))
}
