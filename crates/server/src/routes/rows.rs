//! Row rules, declassifications and removals of tags of one tenant: what there is, and what is proposed. How one is approved
//! stands in [`approvals`](super::approvals).

use axum::response::Response;
use creta_audit::Details;
use creta_iam::RowRules;
use creta_model::{Instant, Problem, Scope, TenantId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::context::{Admitted, Guarded, Input};
use crate::data_policy::{RowsCompared, RowsProposed, TagLifted, TagsDropped};
use crate::problem::{Refusal, from_audit};
use crate::routes::control::home_of;
use crate::routes::json as answer;
use crate::two_people::Proposal;

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

pub(super) fn compared_view(compared: &RowsCompared, now: Instant) -> Value {
    let mut view = rows_view(&compared.proposal, compared.in_force, now);
    view["rules"] = json!(compared.proposal.matter.rules.rules);
    view["wider"] = json!(compared.comparison.wider);
    view["narrower"] = json!(compared.comparison.narrower);
    view["digest"] = json!(compared.digest);
    view
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

/// The scope of whoever belongs to a tenant.
pub(super) fn tenants_own<'a>(admitted: &'a Admitted<'_>) -> Result<&'a Scope, Problem> {
    admitted.permit.scope().ok_or_else(|| {
        Problem::new("not-found/scope", "definitions and their tags belong to a tenant, and you to none")
            .with_help("sign in as one of the tenant's people")
    })
}

pub(super) fn lifted_view(proposal: &Proposal<TagLifted>, holds: bool, now: Instant) -> Value {
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

pub(super) fn dropped_view(proposal: &Proposal<TagsDropped>, now: Instant) -> Value {
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
