//! What somebody signs with their authenticator before it is done: decisions on access, in reviews, on policies, row
//! rules, tags and secrets, and vouching for people (CI-22).
//!
//! Whoever has an authenticator is asked for it, by whichever door they came. What they agreed to is done when they did, by
//! the rules of that moment: the session has to live, and its person has to be allowed still.

use creta_audit::Details;
use creta_iam::{Action, FeatureSet, Principal, PrincipalId};
use creta_model::Problem;
use creta_proof::Hash;

use super::{access, approvals, changes, factors, people, policies, programs, reviews, trust};
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

/// Does what somebody agreed to, if they still may: whoever signed it, who was asked, and whose session asked are one account.
pub(super) fn do_as_agreed(
    app: &App,
    signer: &PrincipalId,
    agreement: &Agreement,
    signature: Hash,
) -> Result<Said, Problem> {
    let now = app.control.platform().clock.now();
    let own = |principal: &Principal| *principal.id() == agreement.person && *signer == agreement.person;
    let principal = app.people.principal_in(&agreement.session, now).filter(own);
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
        Agreed::Exception { id, .. } => {
            (Action::ExceptionApprove, app.control.place(), Details::none().keyed("exception", id.as_bytes()))
        }
        Agreed::Person { id, .. } => {
            let place = app.people.person_changes.require(id)?.matter.place(&app.control);
            (Action::AccessApprove, place, Details::none().keyed("request", id.as_bytes()))
        }
        Agreed::Vouch { id, .. } => {
            let place = people::place_to_vouch(app, principal.scope(), id);
            (Action::AccessApprove, place, Details::none().keyed("person", id.as_bytes()))
        }
        Agreed::Factor { id } => {
            (Action::SessionRevoke, principal.home(), Details::none().keyed("authenticator", id.as_bytes()))
        }
        Agreed::Secret { id, .. } => {
            let place = app.people.shown_secrets.require(id)?.matter.place();
            (Action::AccessApprove, place, Details::none().keyed("request", id.as_bytes()))
        }
    };
    let details = details
        .and_then(|details| details.name("signed", "authenticator"))
        .and_then(|details| details.digest("signature", *signature.as_bytes()))
        .map_err(|e| from_audit(&e))?;
    let decision = app.control.decide(&principal, action, &resource(&place, FeatureSet::none()));
    let permit = app.control.admit(decision, details)?;
    let session = Some(agreement.session.as_str());
    let admitted = Admitted { control: &app.control, app, permit, session, signature: Some(signature) };
    let (text, page) = done(&admitted, &agreement.to).map_err(first)?;
    let in_browser = app.people.session(&agreement.session).is_some_and(|session| session.client == Client::Browser);
    // What is told only once stays where it is read.
    let shown = !matches!(agreement.to, Agreed::Person { .. });
    Ok(Said { text, page: (in_browser && shown).then_some(page) })
}

fn done(admitted: &Admitted<'_>, to: &Agreed) -> Result<(String, String), Refusal> {
    Ok(match to {
        Agreed::Request { id, digest, verdict, order } => {
            let request = access::decide_now(admitted, id, digest, *verdict, order.as_deref())?;
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
        Agreed::Exception { id, decision } => {
            trust::decide_exception_now(admitted, id, decision)?;
            ("The exception is decided on.".to_owned(), "/my".to_owned())
        }
        Agreed::Person { id, digest } => {
            let agreed = changes::agree_now(admitted, id, digest)?;
            (changes::told(admitted, &agreed), "/my".to_owned())
        }
        Agreed::Vouch { id, digest } => {
            let vouched = people::vouch_now(admitted, id, digest)?;
            (format!("{} counts as a human of their own.", vouched.id), "/my".to_owned())
        }
        Agreed::Factor { id } => {
            let removed = factors::remove_now(admitted, id)?;
            (format!("Taken away: {}. Your other sessions are over.", removed.label), "/my".to_owned())
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

#[cfg(test)]
mod tests {
    use creta_iam::Role;
    use creta_model::EnvironmentClass;
    use creta_programme::access::{Asked, Kind, Reason, Ticket, Verdict};

    use super::*;
    use crate::people::access::Actor;
    use crate::people::tests::{somebody, started};

    /// A request of eve, which ana and ben may both decide on, and their sessions.
    #[test]
    fn attack_ci22_an_agreement_counts_for_the_account_that_signed_it_in_its_own_session() {
        let (running, _folder) = started(EnvironmentClass::Development);
        let app = running.app();
        let now = app.control.platform().clock.now();
        let [ana, ben, eve] = [("ana", Some(Role::SecurityLead)), ("ben", Some(Role::SecurityLead)), ("eve", None)]
            .map(|(name, role)| somebody(&app.people, &app.control, name, role));
        let person = app.people.require_person(eve.0.as_str()).expect("known").reference();
        let ticket = Ticket::parse("OPS-1234").expect("a ticket");
        let asked = Asked {
            role: Role::Auditor,
            place: app.control.place(),
            beneficiary: person.clone(),
            reason: Reason::without_ticket("Look into why last night's load of payments was refused").expect("words"),
            ticket,
            hours: 1,
            kind: Kind::Ordinary,
        };
        let principal = app.people.principal_in(&eve.1, now).expect("signed in");
        let actor = Actor { control: &app.control, principal: &principal, person: &person, now };
        let request = app.people.access.ask(&actor, asked).expect("asked");
        let to = Agreed::Request {
            id: request.terms.request.to_string(),
            digest: request.digest.to_string(),
            verdict: Verdict::Approve,
            order: None,
        };
        let agreement = |person: &PrincipalId, session: &str| Agreement {
            person: person.clone(),
            session: session.to_owned(),
            to: to.clone(),
        };
        // Ben signs, in Ana's session; what Ana was asked, with his authenticator; in a session of nobody.
        for (signer, agreed) in [
            (&ben.0, agreement(&ben.0, &ana.1)),
            (&ben.0, agreement(&ana.0, &ana.1)),
            (&ana.0, agreement(&ben.0, &ben.1)),
            (&ana.0, agreement(&ben.0, &ana.1)),
            (&ana.0, agreement(&ana.0, "none")),
        ] {
            let refused =
                do_as_agreed(app, signer, &agreed, Hash::empty()).map(|said| said.text).expect_err("not theirs");
            assert_eq!(refused.code, "auth/session-over", "{signer} {agreed:?}");
        }
        let state = || app.people.access.require_request(&request.terms.request.to_string()).expect("there").state;
        assert_eq!(state().as_str(), "open");
        do_as_agreed(app, &ben.0, &agreement(&ben.0, &ben.1), Hash::empty()).expect("his own");
        assert_eq!(state().as_str(), "approved");
        running.stop().expect("stops");
    }
}
