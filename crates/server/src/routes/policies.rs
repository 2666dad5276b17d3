//! Access policies: what holds, what is proposed, and putting it in force.

use axum::response::Response;
use creta_audit::Details;
use creta_iam::{Comparison, Policies};
use creta_model::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::context::{Admitted, Guarded, Input};
use crate::policies::{Compared, PolicyRecord};
use crate::problem::{Refusal, from_audit};
use crate::routes::json as answer;

/// Differences that an answer shows; the digest covers all of them.
const SHOWN_MAX: usize = 200;

fn record_view(record: &PolicyRecord, in_force: bool) -> Value {
    json!({
        "policy": record.id,
        "proposed_by": record.proposed_by.as_ref().map(|by| &by.account),
        "proposed": record.proposed,
        "text_digest": record.digest(),
        "in_force": in_force,
    })
}

fn comparison_view(comparison: &Comparison) -> Value {
    let shown = |list: &[creta_iam::Allowance]| -> Vec<String> {
        list.iter().take(SHOWN_MAX).map(ToString::to_string).collect()
    };
    json!({
        "wider": comparison.wider.len(),
        "narrower": comparison.narrower.len(),
        "wider_shown": shown(&comparison.wider),
        "narrower_shown": shown(&comparison.narrower),
    })
}

fn compared_view(compared: &Compared) -> Value {
    let mut view = record_view(&compared.record, compared.in_force);
    view["text"] = compared.record.text.as_str().into();
    view["comparison"] = comparison_view(&compared.comparison);
    view["digest"] = compared.digest.as_str().into();
    view
}

/// What holds, and all proposals.
pub(super) async fn list(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let view = guarded
        .act(Details::none(), |admitted| {
            let book = admitted.control.policies();
            let ruling = book.ruling();
            let in_force = ruling.in_force.as_ref();
            let is_this = |record: &PolicyRecord| in_force.is_some_and(|other| other.id == record.id);
            let proposals: Vec<Value> =
                book.proposals().iter().map(|record| record_view(record, is_this(record))).collect();
            let text = in_force.map_or("", |record| record.text.as_str());
            Ok(json!({"in_force": in_force.map(|record| record.id), "text": text, "proposals": proposals}))
        })
        .await?;
    answer(&view)
}

/// One proposal, beside what it would change now.
pub(super) async fn show(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let id = input.path("id").to_owned();
    let view = guarded
        .act(Details::none(), move |admitted| Ok(compared_view(&admitted.control.policies().compared(&id)?)))
        .await?;
    answer(&view)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

/// What a text would change, without proposing it.
pub(super) async fn check(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Text { text } = input.json()?;
    let view = guarded
        .act(Details::none(), move |admitted| Ok(comparison_view(&admitted.control.policies().check(&text)?)))
        .await?;
    answer(&view)
}

fn apart<'a>(admitted: &'a Admitted<'_>) -> impl FnOnce(&Policies) -> Result<(), Problem> + use<'a> {
    move |policies| {
        let (control, by) = (admitted.control, admitted.permit.principal());
        admitted.app.people.require_policies_apart(control, by, policies, admitted.now())
    }
}

/// Proposes a text. What allows nothing more takes effect at once.
pub(super) async fn propose(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Text { text } = input.json()?;
    let digest = creta_proof::Hash::of(&[text.as_bytes()]);
    let details = Details::none().digest("text", *digest.as_bytes()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act(details, move |admitted| {
            let by = admitted.permit.principal().person().map(|_| admitted.person()).transpose()?;
            let by = by.map(|person| person.reference());
            let book = admitted.control.policies();
            let proposed = book.propose(admitted.control, &admitted.permit, by, text, apart(admitted))?;
            Ok(compared_view(&proposed))
        })
        .await?;
    answer(&view)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approval {
    /// Of the proposal as it was shown.
    digest: String,
}

/// Puts somebody else's proposal in force, as it was shown.
pub(super) async fn approve(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Approval { digest } = input.json()?;
    let id = input.path("id").to_owned();
    let details = Details::none().keyed("policy", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act(details, move |admitted| {
            let by = admitted.person()?.reference();
            let book = admitted.control.policies();
            let adopted = book.approve(admitted.control, &admitted.permit, &by, &id, &digest, apart(admitted))?;
            Ok(compared_view(&adopted))
        })
        .await?;
    answer(&view)
}
