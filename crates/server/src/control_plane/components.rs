//! Components of the environment, as a running server knows them. Operators give them certificates and end them while no
//! server runs (`crate::components`); a review of access ends one at once.

use std::sync::Arc;

use creta_audit::{Details, Event};
use creta_model::{Instant, Problem};

use super::ControlPlane;
use crate::problem::from_audit;
use crate::tls::{Component, ComponentName, Components, KnownComponents};

impl ControlPlane {
    /// The certificates that are let in.
    pub(crate) fn known_components(&self) -> &Arc<KnownComponents> {
        &self.components
    }

    /// Components that nobody ended, by name. One whose certificate is over may get another any time.
    pub(crate) fn living_components(&self) -> Result<Vec<Component>, Problem> {
        let mut all = Components(self.metadata()).list()?;
        all.retain(|component| component.revoked.is_none());
        Ok(all)
    }

    /// Ends a component because a review of access decided so; the log first. Open connections of it are answered no more.
    /// Harmless when repeated.
    pub(crate) fn end_component_for_review(&self, name: &str, campaign: &str, now: Instant) -> Result<(), Problem> {
        let Ok(name) = ComponentName::parse(name) else { return Ok(()) };
        let all = Components(self.metadata()).list()?;
        if all.iter().any(|component| component.name == name && component.revoked.is_none()) {
            let details = Details::none()
                .name("component", name.as_str())
                .and_then(|details| details.name("campaign", campaign))
                .map_err(|e| from_audit(&e))?;
            let event = Event::new("component.revoked", self.place()).with(details);
            self.log().record(event).map_err(|e| from_audit(&e))?;
        }
        self.end_component(name.as_str(), now)
    }

    /// Ends a component, of which the log tells already. Harmless when repeated, and for one that is not there.
    pub(crate) fn end_component(&self, name: &str, now: Instant) -> Result<(), Problem> {
        let Ok(name) = ComponentName::parse(name) else { return Ok(()) };
        let components = Components(self.metadata());
        if components.list()?.iter().any(|component| component.name == name && component.revoked.is_none()) {
            components.revoke(&name, now)?;
        }
        self.components.end(&name);
        Ok(())
    }

    /// Whether any certificate of a component is let in: by the documents, at the next start, or by what handshakes ask now.
    pub(crate) fn lets_in_component(&self, name: &str) -> Result<bool, Problem> {
        let Ok(name) = ComponentName::parse(name) else { return Ok(false) };
        let lives = self.living_components()?.iter().any(|component| component.name == name);
        Ok(lives || self.components.lets_in(&name))
    }
}
