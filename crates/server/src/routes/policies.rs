//! Access policies: what holds, what is proposed, and putting it in force.

use axum::response::Response;
use creta_audit::Details;
use creta_iam::{Action, Comparison, Policies};
use creta_model::Problem;
use creta_programme::PersonRef;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::context::{Admitted, Guarded, Input};
use crate::people::authenticators::{About, Agreed};
use crate::policies::{Compared, PolicyRecord, signed_by_approver};
use crate::problem::{Refusal, from_audit};
use crate::routes::access::may;
use crate::routes::agreed::{Signed, sign_first};
use crate::routes::json as answer;

/// Differences that an answer shows; the digest covers all of them.
const SHOWN_MAX: usize = 200;
/// Differences that stand beside the text that is signed; the digest covers all of them.
const AGREED_MAX: usize = 3;

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

/// What is in force, and all proposals, oldest first.
pub(super) async fn book(guarded: Guarded) -> Result<(Option<PolicyRecord>, Vec<PolicyRecord>), Refusal> {
    guarded
        .act(Details::none(), |admitted| {
            let book = admitted.control.policies();
            Ok((book.ruling().in_force.clone(), book.proposals()))
        })
        .await
}

/// One proposal for a page, and whether whoever looks approves policies. Whether this one is asked when they do.
pub(super) async fn shown(guarded: Guarded, id: String) -> Result<(Compared, bool), Refusal> {
    guarded
        .act(Details::none(), move |admitted| {
            let approves = may(admitted, Action::PolicyApprove, &admitted.control.place());
            Ok((admitted.control.policies().compared(&id)?, approves))
        })
        .await
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

/// Puts somebody else's proposal in force, as it was shown. Whoever has an authenticator signs it first: the answer then says
/// where.
pub(super) async fn approve(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Approval { digest } = input.json()?;
    let view = match approve_as_shown(guarded, input.url.clone(), input.path("id").to_owned(), digest).await? {
        Signed::Done(adopted) => compared_view(&adopted),
        Signed::Asked { about, verify } => {
            let mut view = compared_view(&about);
            view["verify"] = verify.into();
            view
        }
    };
    answer(&view)
}

/// The same for whichever door.
pub(super) async fn approve_as_shown(
    guarded: Guarded,
    url: String,
    id: String,
    digest: String,
) -> Result<Signed<Compared>, Refusal> {
    let details = Details::none().keyed("policy", id.as_bytes()).map_err(|e| from_audit(&e))?;
    guarded
        .act(details, move |admitted| {
            let compared = admitted.control.policies().compared(&id)?;
            let about = agreed_to(&compared, &digest);
            let agreed = Agreed::Policy { id: id.clone(), digest: digest.clone() };
            match sign_first(admitted, &url, agreed, about)? {
                Some(verify) => Ok(Signed::Asked { about: compared, verify }),
                None => approve_now(admitted, &id, &digest).map(Signed::Done),
            }
        })
        .await
}

/// What somebody's authenticator signs: the proposal beside what held when they saw it.
fn agreed_to(compared: &Compared, seen: &str) -> About {
    let Compared { record, comparison, .. } = compared;
    let by =
        record.proposed_by.as_ref().map_or_else(|| "the local administrator".to_owned(), |by| by.account.to_string());
    let (wider, narrower) = (comparison.wider.len(), comparison.narrower.len());
    let mut text = vec![
        format!("Put the access policies in force that {by} proposed."),
        format!("What they allow that was not allowed: {wider}. What they no longer allow: {narrower}."),
    ];
    text.extend(comparison.wider.iter().take(AGREED_MAX).map(|one| format!("Newly allowed, for example: {one}")));
    if wider > AGREED_MAX {
        text.push(format!("And {} more.", wider - AGREED_MAX));
    }
    About {
        action: "policy.approve",
        signed: signed_by_approver(seen, &record.digest()),
        text,
        document: Some(record.text.clone()),
    }
}

/// Puts it in force, by the rules of this moment.
pub(super) fn approve_now(admitted: &Admitted<'_>, id: &str, digest: &str) -> Result<Compared, Refusal> {
    let by = admitted.person()?.reference();
    let book = admitted.control.policies();
    let other = |proposer: &PersonRef| match admitted.app.people.is_other_human(proposer, &by) {
        true => Ok(()),
        false => Err(crate::two_people::own_proposal()),
    };
    let seen = (digest, admitted.signature);
    Ok(book.approve(admitted.control, &admitted.permit, &by, id, seen, (other, apart(admitted)))?)
}
