//! Second factors of one's own: which there are, and taking one away, which another one signs.

use axum::response::Response;
use creta_audit::Details;
use serde_json::{Value, json};

use crate::context::{Admitted, Guarded, Input};
use crate::people::authenticators::{About, Agreed, Agreement};
use crate::people::factors::Factor;
use crate::problem::{Refusal, from_audit, internal};
use crate::routes::json as answer;

/// What one has registered.
pub(super) async fn list(guarded: Guarded, _input: Input) -> Result<Response, Refusal> {
    let listed = guarded
        .act(Details::none(), |admitted| {
            let person = admitted.person()?;
            Ok(json!({ "authenticators": admitted.app.people.second_factors_of(person.id.as_str()) }))
        })
        .await?;
    answer(&listed)
}

/// Asks that one is taken away; `verify` says where another one signs that.
pub(super) async fn remove(guarded: Guarded, input: Input) -> Result<Response, Refusal> {
    let (factor, verify) = ask(guarded, input.url.clone(), input.path("id").to_owned()).await?;
    let mut view: Value = serde_json::to_value(&factor).map_err(|_| internal())?;
    view["verify"] = verify.into();
    answer(&view)
}

/// The same for whichever door.
pub(super) async fn ask(guarded: Guarded, url: String, id: String) -> Result<(Factor, String), Refusal> {
    let details = Details::none().keyed("authenticator", id.as_bytes()).map_err(|e| from_audit(&e))?;
    guarded
        .act(details, move |admitted| {
            let (people, person) = (&admitted.app.people, admitted.person()?);
            let factor = people.require_factor(person.id.as_str(), &id)?;
            let origin = people.public_url(&url)?;
            let text = vec![
                format!("Take away {} of {}.", factor.label, person.id),
                "It signs nobody in from then on, and your other sessions end.".to_owned(),
            ];
            let signed = json!({ "person": person.id, "authenticator": id }).to_string().into_bytes();
            let about = About { action: "authenticator.remove", signed, text, document: None };
            let session = admitted.session.unwrap_or_default().to_owned();
            let agreement = Agreement { person: person.id, session, to: Agreed::Factor { id: id.clone() } };
            let prompt = people.ask_without(admitted.control, &origin, (agreement, &id), about, admitted.now())?;
            Ok((factor, format!("{origin}/sign-in/verify?prompt={}", prompt.id)))
        })
        .await
}

/// Takes it away, by what is true at this moment.
pub(super) fn remove_now(admitted: &Admitted<'_>, id: &str) -> Result<Factor, Refusal> {
    let session = admitted.session.unwrap_or_default();
    let people = &admitted.app.people;
    Ok(people.remove_factor(admitted.control, (&admitted.permit, session), id, admitted.now())?)
}
