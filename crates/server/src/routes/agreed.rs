//! What somebody signs with their authenticator before it is done: decisions on access, in reviews, on policies, row
//! rules, tags and secrets (CI-22).
//!
//! Whoever has an authenticator is asked for it, by whichever door they came. What they agreed to is done when they did, by
//! the rules of that moment: the session has to live, and its person has to be allowed still.

use creta_audit::Details;
use creta_iam::{Action, FeatureSet, Principal, PrincipalId};
use creta_model::Problem;

use super::{access, approvals, policies, programs, reviews};
use crate::context::{Admitted, resource};
use crate::http::App;
use crate::people::Client;
use crate::people::authenticators::{About, Agreed, Agreement};
use crate::problem::{Refusal, from_audit, internal};

/// What came of asking for something that is signed.
pub(super) enum Signed<T> {
    /// It is done: whoever asked has no authenticator, where none is needed.
    Done(T),
    /// Nothing is done yet. `verify` is the address of the page where it is signed.
    Asked { about: T, verify: String },
}

/// What a page says when something was signed, and where it leads.
pub(super) struct Said {
    pub(super) text: String,
    /// The page that shows it, for whoever came from one.
    pub(super) page: Option<String>,
}

/// The address where this has to be signed first; `None` for somebody without an authenticator.
pub(super) fn sign_first(
    admitted: &Admitted<'_>,
    url: &str,
    to: Agreed,
    about: About,
) -> Result<Option<String>, Problem> {
    let people = &admitted.app.people;
    let origin = people.public_url(url)?;
    let session = admitted.session.unwrap_or_default().to_owned();
    let agreement = Agreement { person: admitted.person()?.id, session, to };
    let prompt = people.ask_to_agree(admitted.control, &origin, agreement, about, admitted.now())?;
    Ok(prompt.map(|prompt| format!("{origin}/sign-in/verify?prompt={}", prompt.id)))
}

/// Does what somebody agreed to, if they still may.
pub(super) fn do_as_agreed(app: &App, agreement: &Agreement) -> Result<Said, Problem> {
    let now = app.control.platform().clock.now();
    let principal = app.people.principal_in(&agreement.session, now).filter(|p| *p.id() == agreement.person);
    let principal = principal.ok_or_else(|| {
        Problem::new("auth/session-over", "the session that asked for this is over")
            .with_help("sign in again: `creta login`")
    })?;
    let (action, place, details) = match &agreement.to {
        Agreed::Request { id, .. } => {
            let place = app.people.access.require_request(id)?.terms.place;
            (Action::AccessApprove, place, Details::none().keyed("request", id.as_bytes()))
        }
        Agreed::Review { subject, .. } => {
            (Action::ReviewDecide, app.control.place(), Details::none().name("subject", subject.as_str()))
        }
        Agreed::Policy { id, .. } => {
            (Action::PolicyApprove, app.control.place(), Details::none().keyed("policy", id.as_bytes()))
        }
        Agreed::Rows { id, .. } => {
            (Action::RowsApprove, principal.home(), Details::none().keyed("proposal", id.as_bytes()))
        }
        Agreed::Lift { id, .. } | Agreed::Removal { id, .. } => {
            (Action::DeclassifyApprove, principal.home(), Details::none().keyed("proposal", id.as_bytes()))
        }
        Agreed::Secret { id, .. } => {
            let place = app.people.shown_secrets.require(id)?.matter.place();
            (Action::AccessApprove, place, Details::none().keyed("request", id.as_bytes()))
        }
    };
    let details = details.and_then(|details| details.name("signed", "authenticator")).map_err(|e| from_audit(&e))?;
    let decision = app.control.decide(&principal, action, &resource(&place, FeatureSet::none()));
    let permit = app.control.admit(decision, details)?;
    let admitted = Admitted { control: &app.control, app, permit, session: Some(&agreement.session) };
    let (text, page) = done(&admitted, &agreement.to).map_err(first)?;
    let in_browser = app.people.session(&agreement.session).is_some_and(|session| session.client == Client::Browser);
    Ok(Said { text, page: in_browser.then_some(page) })
}

fn done(admitted: &Admitted<'_>, to: &Agreed) -> Result<(String, String), Refusal> {
    Ok(match to {
        Agreed::Request { id, digest, verdict } => {
            let request = access::decide_now(admitted, id, digest, *verdict)?;
            (format!("The request is {}.", request.state.as_str()), format!("/my/requests/{id}"))
        }
        Agreed::Review { id, subject, seen, verdict, reason } => {
            reviews::decide_now(admitted, id, (subject, *seen), *verdict, reason)?;
            (format!("What {subject} holds is decided."), format!("/my/reviews/{id}"))
        }
        Agreed::Policy { id, digest } => {
            policies::approve_now(admitted, id, digest)?;
            ("The policies are in force.".to_owned(), format!("/my/policies/{id}"))
        }
        Agreed::Rows { id, digest } => {
            approvals::approve_now::<approvals::Rows>(admitted, id, digest)?;
            ("The row rules are in force.".to_owned(), "/my".to_owned())
        }
        Agreed::Lift { id, digest } => {
            approvals::approve_now::<approvals::Lift>(admitted, id, digest)?;
            ("The feature no longer carries the tag.".to_owned(), "/my".to_owned())
        }
        Agreed::Removal { id, digest } => {
            approvals::approve_now::<approvals::Removal>(admitted, id, digest)?;
            ("The deploy may take these tags away, within a day.".to_owned(), "/my".to_owned())
        }
        Agreed::Secret { id, digest } => {
            programs::approve_now(admitted, id, digest)?;
            ("They may see the secret, within a day.".to_owned(), "/my".to_owned())
        }
    })
}

fn first(refusal: Refusal) -> Problem {
    refusal.0.into_iter().next().unwrap_or_else(internal)
}
