//! What is published: the trust page, its proofs, and the contact for security issues.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use creta_compliance::page::{Intake, PageFile, Site, SiteOptions};
use creta_model::{Instant, Problem, Span};
use creta_proof::Hash;

use super::Trust;
use crate::control_plane::ControlPlane;
use crate::intake::Promised;
use crate::problem::from_audit;

/// A page is at most so old.
const RENDERED_FOR: Span = Span::seconds(5);

type Files = Arc<BTreeMap<String, PageFile>>;

/// The site as it was last rendered.
#[derive(Default)]
pub(crate) struct Cache {
    rendered: Mutex<Option<(Instant, Files)>>,
}

impl Trust {
    /// All files of the site by path, rendered anew when the last rendering is older than a few seconds. Requests in
    /// between share one rendering, so that reading the page often costs little (T16).
    pub(crate) fn site(&self, control: &ControlPlane) -> Result<Files, Problem> {
        let now = control.platform().clock.now();
        let mut rendered = self.site.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, files)) = rendered.as_ref()
            && now < at.plus(RENDERED_FOR)
        {
            return Ok(Arc::clone(files));
        }
        let files = Arc::new(self.render(control)?);
        *rendered = Some((now, Arc::clone(&files)));
        Ok(files)
    }

    /// Renders the site now.
    pub(crate) fn render(&self, control: &ControlPlane) -> Result<BTreeMap<String, PageFile>, Problem> {
        let report = self.report(control)?;
        let signed = control.log().checkpoint().map_err(|e| from_audit(&e))?;
        let proof = |index| self.proof_file(control, &signed, index);
        let text = |digest: &Hash| self.kept_text(control, digest).ok();
        let options = SiteOptions {
            version: env!("CARGO_PKG_VERSION"),
            class: control.class(),
            proof: &proof,
            text: &text,
            intake: Some(self.intake_terms()),
        };
        Ok(Site::render(&report, self.registry(), &options))
    }

    /// What is promised to whoever reports an issue.
    pub(crate) fn intake_terms(&self) -> Intake {
        Promised::terms()
    }
}
