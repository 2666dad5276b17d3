//! What two people of a tenant agree on about its data: one proposed it, the other sees it, signs exactly that with their
//! authenticator, and then it is done by the rules of that moment. Row rules, declassifications and removals of tags.

use axum::response::Response;
use creta_audit::Details;
use creta_iam::PrincipalId;
use creta_model::Problem;
use creta_programme::PersonRef;
use serde::Deserialize;
use serde_json::Value;

use super::rows::{compared_view, dropped_view, lifted_view, tenants_own};
use crate::accounts::client_id;
use crate::context::{Admitted, Guarded, Input};
use crate::data_policy::{RowsCompared, TagLifted, TagsDropped};
use crate::people::authenticators::{About, Agreed};
use crate::problem::{Refusal, from_audit};
use crate::routes::agreed::sign_first;
use crate::routes::json as answer;
use crate::two_people::{Proposal, own_proposal};

/// A proposal and its digest, as somebody saw them.
type Seen<'a> = (&'a str, &'a str);

/// A kind of proposal that another human of the tenant approves.
pub(super) trait Approvable {
    /// It, as it is shown.
    type Shown;

    /// What somebody agrees to: a proposal by its id and digest.
    fn agreed(id: String, digest: String) -> Agreed;

    /// It, if `own` may approve it as they saw it.
    fn approvable(admitted: &Admitted<'_>, own: &PersonRef, seen: Seen<'_>) -> Result<Self::Shown, Refusal>;

    /// What their authenticator signs.
    fn about(shown: &Self::Shown, digest: &str) -> About;

    /// What they are answered.
    fn view(admitted: &Admitted<'_>, shown: &Self::Shown) -> Value;

    /// Approves it, by the rules of this moment.
    fn approve(admitted: &Admitted<'_>, own: &PersonRef, seen: Seen<'_>) -> Result<Value, Refusal>;
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Digest {
    /// Of the proposal as it was shown.
    digest: String,
}

/// Approves what somebody else proposed, as it was shown; or says where that is signed first.
pub(super) async fn approve<A: Approvable + 'static>(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let Digest { digest } = input.json()?;
    let (id, url) = (input.path("id").to_owned(), input.url.clone());
    let details = Details::none().keyed("proposal", id.as_bytes()).map_err(|e| from_audit(&e))?;
    let view = guarded
        .act(details, move |admitted| {
            let own = admitted.person()?.reference();
            let shown = A::approvable(admitted, &own, (&id, &digest))?;
            let agreed = A::agreed(id.clone(), digest.clone());
            match sign_first(admitted, &url, agreed, A::about(&shown, &digest))? {
                Some(verify) => {
                    let mut view = A::view(admitted, &shown);
                    view["verify"] = verify.into();
                    Ok(view)
                }
                None => A::approve(admitted, &own, (&id, &digest)),
            }
        })
        .await?;
    answer(&view)
}

/// Does what was signed.
pub(super) fn approve_now<A: Approvable>(admitted: &Admitted<'_>, id: &str, digest: &str) -> Result<Value, Refusal> {
    A::approve(admitted, &admitted.person()?.reference(), (id, digest))
}

/// Row rules instead of those that hold.
pub(super) struct Rows;

impl Approvable for Rows {
    type Shown = RowsCompared;

    fn agreed(id: String, digest: String) -> Agreed {
        Agreed::Rows { id, digest }
    }

    fn approvable(admitted: &Admitted<'_>, own: &PersonRef, seen: Seen<'_>) -> Result<RowsCompared, Refusal> {
        let policy = admitted.control.data_policy(tenants_own(admitted)?)?;
        let may = other_human(admitted, own);
        Ok(policy.require_rows_approvable((admitted.control, &admitted.permit), own, seen, may)?)
    }

    /// The proposed rules beside those that held when they were seen.
    fn about(shown: &RowsCompared, digest: &str) -> About {
        let RowsCompared { proposal, comparison, .. } = shown;
        let (wider, narrower) = (comparison.wider.len(), comparison.narrower.len());
        let mut text = vec![
            format!("Put the row rules in force that {} proposed: {}", proposal.proposed_by.account, proposal.reason),
            format!("What they show more: {wider}. What they show less: {narrower}."),
        ];
        text.extend(comparison.wider.iter().take(5).map(|wider| format!("Shows more, for example: {wider}")));
        let rules = serde_json::to_string_pretty(&proposal.matter.rules).expect("rules have a JSON form");
        About { action: "rows.approve", signed: digest.as_bytes().to_vec(), text, document: Some(rules) }
    }

    fn view(admitted: &Admitted<'_>, shown: &RowsCompared) -> Value {
        compared_view(shown, admitted.now())
    }

    fn approve(admitted: &Admitted<'_>, own: &PersonRef, seen: Seen<'_>) -> Result<Value, Refusal> {
        let policy = admitted.control.data_policy(tenants_own(admitted)?)?;
        let engine = admitted.engine_for_policy()?;
        let on = (admitted.control, &*engine, &admitted.permit);
        let compared = policy.approve_rows(on, own.clone(), seen, other_human(admitted, own))?;
        Ok(compared_view(&compared, admitted.now()))
    }
}

/// That a computed feature no longer carries a tag.
pub(super) struct Lift;

impl Approvable for Lift {
    type Shown = Proposal<TagLifted>;

    fn agreed(id: String, digest: String) -> Agreed {
        Agreed::Lift { id, digest }
    }

    fn approvable(admitted: &Admitted<'_>, own: &PersonRef, seen: Seen<'_>) -> Result<Self::Shown, Refusal> {
        let policy = admitted.control.data_policy(tenants_own(admitted)?)?;
        let may = other_human(admitted, own);
        let may = |proposal: &Self::Shown| may(&proposal.proposed_by);
        Ok(policy.lifted.require_approvable(admitted.control, &admitted.permit, own, seen, may)?)
    }

    /// That exactly this feature no longer carries exactly this tag.
    fn about(shown: &Self::Shown, digest: &str) -> About {
        let TagLifted { feature, tag, fingerprint, sources } = &shown.matter;
        let (sources, by) = (sources.iter().map(String::as_str).collect::<Vec<_>>(), &shown.proposed_by.account);
        let text = vec![
            format!("Agree that `{feature}` no longer carries the tag `{tag}`, as {by} proposed."),
            format!("The tag comes from {}. The definition is {fingerprint}.", sources.join(", ")),
            format!("Their reason: {}", shown.reason),
        ];
        About { action: "declassify.approve", signed: digest.as_bytes().to_vec(), text, document: None }
    }

    fn view(admitted: &Admitted<'_>, shown: &Self::Shown) -> Value {
        lifted_view(shown, false, admitted.now())
    }

    /// If the feature is still what was looked at.
    fn approve(admitted: &Admitted<'_>, own: &PersonRef, seen: Seen<'_>) -> Result<Value, Refusal> {
        let policy = admitted.control.data_policy(tenants_own(admitted)?)?;
        let engine = admitted.engine_for_policy()?;
        let on = (admitted.control, &*engine, &admitted.permit);
        let approved = policy.approve_lift(on, own.clone(), seen, other_human(admitted, own))?;
        Ok(lifted_view(&approved, true, admitted.now()))
    }
}

/// That a deploy takes tags away.
pub(super) struct Removal;

impl Approvable for Removal {
    type Shown = Proposal<TagsDropped>;

    fn agreed(id: String, digest: String) -> Agreed {
        Agreed::Removal { id, digest }
    }

    fn approvable(admitted: &Admitted<'_>, own: &PersonRef, seen: Seen<'_>) -> Result<Self::Shown, Refusal> {
        let policy = admitted.control.data_policy(tenants_own(admitted)?)?;
        let may = nobody_behind(admitted, own);
        Ok(policy.dropped.require_approvable(admitted.control, &admitted.permit, own, seen, may)?)
    }

    /// That exactly these features lose exactly these tags.
    fn about(shown: &Self::Shown, digest: &str) -> About {
        let mut text = vec![format!("Agree that a deploy of {} takes tags away.", shown.proposed_by.account)];
        let all = shown.matter.dropped.iter();
        text.extend(
            all.map(|(feature, tag)| format!("`{feature}` loses `{tag}`: what it masked or withheld is shown.")),
        );
        About { action: "tags.removal", signed: digest.as_bytes().to_vec(), text, document: None }
    }

    fn view(admitted: &Admitted<'_>, shown: &Self::Shown) -> Value {
        dropped_view(shown, admitted.now())
    }

    fn approve(admitted: &Admitted<'_>, own: &PersonRef, seen: Seen<'_>) -> Result<Value, Refusal> {
        let policy = admitted.control.data_policy(tenants_own(admitted)?)?;
        let may = nobody_behind(admitted, own);
        let approved = policy.dropped.approve(admitted.control, &admitted.permit, own.clone(), seen, may)?;
        Ok(dropped_view(&approved, admitted.now()))
    }
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
