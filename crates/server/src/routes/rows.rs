//! Row rules and declassifications of one tenant.

use axum::response::Response;
use creta_audit::Details;
use creta_iam::RowRules;
use creta_model::{Instant, Problem, Scope, TenantId};
use creta_programme::PersonRef;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::context::{Admitted, Guarded, Input};
use crate::data_policy::{RowsCompared, RowsProposed, TagLifted};
use crate::problem::{Refusal, from_audit};
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
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("proposal", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act(details, move |admitted| {
            let (control, by) = (admitted.control, admitted.person()?.reference());
            let (policy, engine) = (control.data_policy(tenants_own(admitted)?)?, admitted.engine_for_policy()?);
            let on = (control, &*engine, &admitted.permit);
            let compared = policy.approve_rows(on, by.clone(), (&id, &digest), other_human(admitted, &by))?;
            Ok(compared_view(&compared, admitted.now()))
        })
        .await?;
    answer(&view)
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
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("proposal", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act(details, move |admitted| {
            let (control, by) = (admitted.control, admitted.person()?.reference());
            let (policy, engine) = (control.data_policy(tenants_own(admitted)?)?, admitted.engine_for_policy()?);
            let on = (control, &*engine, &admitted.permit);
            let approved = policy.approve_lift(on, by.clone(), (&id, &digest), other_human(admitted, &by))?;
            Ok(lifted_view(&approved, true, admitted.now()))
        })
        .await?;
    answer(&view)
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
