//! "My access": who somebody is here, what they may do and until when, and what is not as it has to be.

use axum::response::Response;
use creta_audit::Details;
use creta_iam::{Action, Decision, DeviceTrust, FeatureSet, Identity, Need, Place, Remedy, Role, Standing};
use creta_model::{EnvironmentClass, Instant};
use maud::{Markup, html};

use super::frame::{Frame, button, change, said};
use super::words::{left, moment, prose, signed_in_with};
use crate::context::{Admitted, Guarded, PlaceOf, resource};
use crate::people::factors::{Factor, Kind};
use crate::people::guesses::Noticed;
use crate::people::{Client, PersonRecord};
use crate::problem::{Refusal, internal};
use crate::routes::access::{Seen, SeenGrant, all_grants, all_requests};
use crate::routes::devices::DeviceView;
use crate::routes::people::{SessionView, all_sessions};

/// Sessions and grants that are over, of which so many are shown.
const OVER_SHOWN: usize = 5;

/// What is true of somebody now.
struct Me {
    person: PersonRecord,
    home: Place,
    standing: Standing,
    authenticators: Vec<Factor>,
    /// Wrong passwords, and wrong codes, that somebody typed for this account.
    noticed: [Option<Noticed>; 2],
    /// Each role, and what it lacks to count here.
    roles: Vec<(Role, Counts)>,
    now: Instant,
}

/// Whether a role permits what it is for, as things are.
enum Counts {
    Yes,
    Lacks(Remedy),
    No,
}

/// The page, with what a form did at its top.
pub(super) async fn page(guarded: &Guarded, done: Option<&str>) -> Result<Response, Refusal> {
    let frame = Frame::of(guarded);
    let read = || guarded.also(Action::AccessRead, PlaceOf::Own);
    let me = read().act(Details::none(), me).await?;
    let requests = all_requests(read()).await?;
    let (grants, _) = all_grants(read()).await?;
    let sessions = all_sessions(guarded.also(Action::SessionRead, PlaceOf::Own)).await?;
    let devices = guarded.also(Action::DeviceRead, PlaceOf::Own).act(Details::none(), devices).await?;
    let body = html! {
        (said(done))
        (identity(&me, &sessions, devices.as_ref()))
        (held(&me, &grants))
        (asked(&requests, me.now))
        (roles(&me))
        (can_ask(&me, &frame))
        (open_sessions(&sessions, me.now))
        (devices_of(devices.as_ref()))
        (authenticators(&me))
        (others(&grants, me.now))
    };
    Ok(frame.page("/my", "My access", &body))
}

fn me(admitted: &Admitted<'_>) -> Result<Me, Refusal> {
    let person = admitted.person()?;
    let standing = admitted.permit.principal().person().map(creta_iam::Person::standing).ok_or_else(internal)?.clone();
    let home = person.home(admitted.control.environment());
    let roles = person.roles.iter().map(|role| (*role, counts(admitted, *role, &home))).collect();
    let (people, now) = (&admitted.app.people, admitted.now());
    let authenticators = people.second_factors_of(person.id.as_str());
    let noticed = people.noticed(&person.id, now);
    Ok(Me { person, home, standing, authenticators, noticed, roles, now })
}

/// What the things that the role is for come to, where somebody belongs. What nobody may do there says nothing about them.
fn counts(admitted: &Admitted<'_>, role: Role, home: &Place) -> Counts {
    let principal = admitted.permit.principal();
    let asked = resource(home, FeatureSet::none());
    let decide = |action: &Action| admitted.control.decide(principal, *action, &asked);
    let decided: Vec<Decision> = Identity::Person(role).may().iter().map(decide).collect();
    let mut refused = decided.iter().filter(|decision| !decision.is_allowed());
    match refused.find_map(|decision| admitted.control.explain(decision, |_, _| None).remedy) {
        Some(remedy) => Counts::Lacks(remedy),
        None if decided.iter().any(Decision::is_allowed) => Counts::Yes,
        None => Counts::No,
    }
}

/// One's devices, where there is a standard for them.
fn devices(admitted: &Admitted<'_>) -> Result<Option<Vec<DeviceView>>, Refusal> {
    let (person, people) = (admitted.person()?, &admitted.app.people);
    let all = || people.devices.of(person.id.as_str()).into_iter().map(|device| DeviceView::of(admitted.app, device));
    Ok(people.devices.require_standard().is_ok().then(|| all().collect()))
}

fn identity(me: &Me, sessions: &[SessionView], devices: Option<&Vec<DeviceView>>) -> Markup {
    let (class, means) = match me.standing.class {
        EnvironmentClass::Production => ("production", "roles count only while they are granted for hours"),
        EnvironmentClass::Staging => ("staging", "approvals are signed with an authenticator"),
        _ => ("development", "for trying things out"),
    };
    let this = sessions.iter().find(|session| session.this);
    let verified = if me.standing.assurance.user_verified {
        "your authenticator checked that it is you"
    } else {
        "no authenticator was used"
    };
    html! {
        dl class="facts" {
            dt { "You are" } dd { strong { (me.person.id) } @if me.person.human.as_str() != me.person.id.as_str() { ", the same human as " (me.person.human) } }
            dt { "You belong to" } dd { @match &me.person.tenant { Some(tenant) => { "tenant " (tenant) }, None => "the staff" } ", " (prose(&me.home.to_string())) }
            dt { "Class" } dd { span class={ "class " (class) } { (class) } ": " (means) }
            @if let Some(this) = this {
                dt { "Signed in" } dd { (moment(this.opened)) " with " (signed_in_with(&this.methods)) "; " (verified) }
                dt { "This browser" } dd {
                    @match this.vouched_until {
                        Some(until) => { "counts as your enrolled computer, " (trust(me.standing.assurance.device)) ", for " (left(me.now, until)) },
                        None => { "counts as no enrolled computer" @if devices.is_some() { "; " a href="/my/computer" { "let yours vouch for it" } } },
                    }
                }
            }
        }
    }
}

fn trust(device: DeviceTrust) -> Markup {
    match device {
        DeviceTrust::Trusted => html! { span class="good" { (device.as_str()) } },
        _ => html! { (device.as_str()) },
    }
}

/// Grants of one's own: those that hold, and the last that did.
fn held(me: &Me, grants: &[SeenGrant]) -> Markup {
    let own: Vec<&SeenGrant> = grants.iter().filter(|seen| seen.own).collect();
    let holds = || own.iter().filter(|seen| seen.holds);
    let over: Vec<_> = own.iter().rev().filter(|seen| !seen.holds).take(OVER_SHOWN).collect();
    html! {
        section aria-labelledby="held" {
            h2 id="held" { "Granted for hours" }
            @if holds().next().is_none() { p class="none" { "Nothing now. " a href="/my/ask" { "Ask for access" } " when you need more than your roles give." } }
            ul class="cards" { @for seen in holds() { li { (granted(&seen.grant, me.now)) } } }
            @if !over.is_empty() {
                details { summary { "Over: the last " (over.len()) }
                    ul { @for seen in over { li { (seen.grant.terms.role) " of " (prose(&seen.grant.terms.place.to_string())) ", begun " (moment(seen.grant.activated)) " (" (seen.grant.terms.ticket.as_str()) ")" } } }
                }
            }
        }
    }
}

fn granted(grant: &creta_programme::access::Grant, now: Instant) -> Markup {
    let terms = &grant.terms;
    let approved: Vec<&str> = grant.approvals.iter().map(|approval| approval.by.account.as_str()).collect();
    let action = format!("/view/grants/{}/return", grant.id);
    html! {
        h3 { (terms.role) " of " (prose(&terms.place.to_string())) }
        p { strong class="left" { (left(now, grant.expires)) " left" } ", until " (moment(grant.expires)) }
        p { "For " (terms.ticket.as_str()) ": " (terms.reason) ". Approved by " (approved.join(", ")) "." }
        (change(&action, &html! { button type="submit" { "Give it back" } }))
    }
}

/// What one asked for and what waits for one.
fn asked(requests: &[Seen], now: Instant) -> Markup {
    let is_open =
        |seen: &&Seen| matches!(seen.request.state.as_str(), "open" | "approved") && now < seen.request.terms.void_at();
    let waiting = requests
        .iter()
        .filter(|seen| seen.approves && !seen.own && seen.request.state.as_str() == "open")
        .filter(is_open)
        .count();
    let own: Vec<&Seen> = requests.iter().filter(|seen| seen.own).filter(is_open).collect();
    html! {
        section aria-labelledby="asked" {
            h2 id="asked" { "Requests" }
            @if waiting > 0 { p class="waiting" { a href="/my/requests" { (waiting) @if waiting == 1 { " request waits" } @else { " requests wait" } " for you" } } }
            @if own.is_empty() { p class="none" { "You have no request under way." } }
            @else { ul { @for seen in own { li { (super::requests::line(seen)) } } } }
        }
    }
}

fn roles(me: &Me) -> Markup {
    html! {
        section aria-labelledby="roles" {
            h2 id="roles" { "Roles" }
            @if me.roles.is_empty() { p class="none" { "None. An administrator gives roles; for some hours you can ask for one yourself." } }
            @else {
                table {
                    thead { tr { th scope="col" { "Role" } th scope="col" { "What it is for" } th scope="col" { "Now" } } }
                    tbody { @for (role, counts) in &me.roles { tr { th scope="row" { (role) } td { (super::requests::purpose(*role)) } td { (state(counts)) } } } }
                }
            }
        }
    }
}

fn state(counts: &Counts) -> Markup {
    let needs = |needs: &[Need]| {
        let words: Vec<&str> = needs.iter().map(|need| match need {
            Need::UserVerification => "a sign-in with your authenticator",
            Need::TrustedDevice => "an enrolled device with a key in hardware and a fresh report; for this browser, run `creta device browser` on it",
        }).collect();
        prose(&words.join(", and "))
    };
    html! {
        @match counts {
            Counts::Yes => { span class="good" { "counts" } },
            Counts::No => { span class="alert" { "permits nothing here" } },
            Counts::Lacks(remedy) => {
                span class="alert" { "does not count: needs " }
                @if let Some(grant) = &remedy.grant { a href=(super::requests::address(grant.role, &grant.place)) { "it granted for hours" } @if !remedy.needs.is_empty() { ", and " } }
                (needs(&remedy.needs))
            },
        }
    }
}

fn can_ask(me: &Me, frame: &Frame) -> Markup {
    let has =
        |role: &Role| me.standing.roles.contains(role) || me.standing.grants.iter().any(|grant| grant.role == *role);
    let open: Vec<Role> = Role::OF_PEOPLE
        .iter()
        .copied()
        .filter(|role| !has(role))
        .filter(|role| super::requests::has_meaning(*role, frame.staff))
        .collect();
    html! {
        section aria-labelledby="can-ask" {
            h2 id="can-ask" { "What you can ask for" }
            @if open.is_empty() { p class="none" { "You have every role that you could ask for." } }
            ul class="plain" { @for role in open { li { a href=(super::requests::address(role, &me.home)) { (role) } ": " (super::requests::purpose(role)) } } }
        }
    }
}

fn open_sessions(sessions: &[SessionView], now: Instant) -> Markup {
    let open: Vec<&SessionView> = sessions.iter().filter(|session| session.open).collect();
    let place = |session: &SessionView| match session.client {
        Client::Browser => "browser",
        Client::CommandLine => "command line",
    };
    html! {
        section aria-labelledby="sessions" {
            h2 id="sessions" { "Sessions" }
            ul class="cards" {
                @for session in open.iter().rev() {
                    li {
                        h3 { (place(session)) @if session.this { " (this one)" } }
                        p { "Since " (moment(session.opened)) " with " (signed_in_with(&session.methods)) ". Ends in " (left(now, session.expires)) " unless it is used." }
                        @let action = format!("/view/sessions/{}/end", session.session);
                        @if session.this { (change(&action, &html! { button type="submit" class="quiet" { "Sign out" } })) }
                        @else { (button(&action, "End it", &format!("The {} that you signed in to at {} has to sign in again.", place(session), &session.opened.to_string()[..16].replace('T', " ")))) }
                    }
                }
            }
        }
    }
}

fn devices_of(devices: Option<&Vec<DeviceView>>) -> Markup {
    html! {
        section aria-labelledby="devices" {
            h2 id="devices" { "Devices" }
            @match devices {
                None => { p class="none" { "This server has no standard for devices, so none can be enrolled." } },
                Some(devices) if devices.iter().all(|device| device.revoked.is_some()) => {
                    p class="none" { "None is enrolled. On the computer that you work from: " code { "creta device enrol" } }
                },
                Some(devices) => {
                    ul class="cards" {
                        @for device in devices.iter().filter(|device| device.revoked.is_none()) {
                            li {
                                h3 { (device.name) }
                                p { @match device.trust { "none" => { strong class="alert" { "not as it has to be" } }, "trusted" => { span class="good" { "trusted" } }, other => { (other) } }
                                    "; enrolled " (moment(device.enrolled))
                                    @match device.reported { Some(at) => { ", reported " (moment(at)) }, None => ", never reported" } }
                                @if !device.findings.is_empty() { ul { @for finding in &device.findings { li { (super::words::sentence(&finding.help)) } } } }
                            }
                        }
                    }
                },
            }
        }
    }
}

fn authenticators(me: &Me) -> Markup {
    html! {
        section aria-labelledby="authenticators" {
            h2 id="authenticators" { "Authenticators" }
            @for (noticed, what) in me.noticed.iter().zip(["password", "code"]) {
                @if let Some(noticed) = noticed {
                    p class="alert" {
                        (noticed.wrong) " wrong " (what) @if noticed.wrong != 1 { "s" } " typed for your account before right ones, the last "
                        (moment(noticed.last)) ". If that was not you, choose another password and tell your security lead."
                    }
                }
            }
            @if me.authenticators.is_empty() { p class="none" { "None is registered." } }
            ul class="cards" {
                @for one in &me.authenticators {
                    li {
                        h3 { (one.label) }
                        p {
                            @match one.kind { Kind::Key => "A security key, or a device's own", Kind::Codes => "An application on a telephone or computer" }
                            @if let Some(added) = one.added { ", since " (moment(added)) }
                            @match one.used { Some(used) => { ", last used " (moment(used)) }, None => ", not used yet" } "."
                            @if one.suspended { " " strong class="alert" { "Suspended, as a copy of it was used." } }
                        }
                        @if one.removable {
                            (button(&format!("/view/authenticators/{}/remove", one.factor), "Take it away", &format!("You sign with another authenticator that {} is taken away. Your other sessions end.", one.label)))
                        }
                    }
                }
            }
            @if !me.authenticators.is_empty() && me.authenticators.iter().all(|one| !one.removable) {
                p class="hint" { "The last one that can sign stays; register another one before you take it away." }
            }
            p { button type="button" class="quiet" data-sign-in="register" { "Register another one" } }
        }
    }
}

/// Grants of others that one may take away.
fn others(grants: &[SeenGrant], now: Instant) -> Markup {
    let others: Vec<&SeenGrant> = grants.iter().filter(|seen| !seen.own && seen.holds).collect();
    html! {
        @if !others.is_empty() {
            section aria-labelledby="others" {
                h2 id="others" { "Granted to others now" }
                ul class="cards" {
                    @for seen in others {
                        @let (holder, terms) = (&seen.grant.holder().account, &seen.grant.terms);
                        li {
                            h3 { (holder) ": " (terms.role) " of " (prose(&terms.place.to_string())) }
                            p { (left(now, seen.grant.expires)) " left. For " (terms.ticket.as_str()) ": " (terms.reason) "." }
                            (button(&format!("/view/grants/{}/revoke", seen.grant.id), "Take it away", &format!("{holder} stops being {} of {} at once; long answers under way end.", terms.role, terms.place)))
                        }
                    }
                }
            }
        }
    }
}
