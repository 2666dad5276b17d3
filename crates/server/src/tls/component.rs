//! Who a component is: a name in its certificate, bound to one environment, and a list of those that are let in.

use std::collections::BTreeMap;
use std::fmt;

use creta_model::{Environment, Instant, InvalidName, Problem};
use creta_store::MetadataStore;
use serde::{Deserialize, Serialize};

use crate::problem::{from_store, internal};

/// Kind of the documents that say which components there are.
pub(crate) const COMPONENT_KIND: &str = "component";
/// Certificates of one component that are good at a time: the present one, and the one before until it ends.
const CERTIFICATES_MAX: usize = 2;

/// Name of the server itself among the components of its environment.
const SERVER: &str = "server";

/// What a component is called: one label, as tenants' names are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ComponentName(String);

impl ComponentName {
    /// Lowercase letters, digits and single hyphens.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidName> {
        // The same rule as for environments; only the words differ.
        match Environment::parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(InvalidName { what: "component name", ..error }),
        }
    }

    /// What the server itself is called where it shows a certificate. No component has this name.
    pub(crate) fn server() -> Self {
        Self(SERVER.to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ComponentName {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<ComponentName> for String {
    fn from(name: ComponentName) -> String {
        name.0
    }
}

impl fmt::Display for ComponentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name in a component's certificate: `creta://ENVIRONMENT_ID/ENVIRONMENT/component/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComponentUri {
    environment_id: String,
    environment: Environment,
    name: ComponentName,
}

impl ComponentUri {
    pub(crate) fn new(environment_id: &str, environment: Environment, name: ComponentName) -> Self {
        Self { environment_id: environment_id.to_owned(), environment, name }
    }

    /// Reads exactly the form that is written. `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("creta://")?.split('/');
        let (id, environment, word, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || word != "component" || id.is_empty() {
            return None;
        }
        Some(Self::new(id, Environment::parse(environment).ok()?, ComponentName::parse(name).ok()?))
    }

    pub(crate) fn name(&self) -> &ComponentName {
        &self.name
    }

    /// Whether it names this environment: by its random id and by its name.
    pub(crate) fn is_of(&self, environment_id: &str, environment: &Environment) -> bool {
        self.environment_id == environment_id && self.environment == *environment
    }
}

impl fmt::Display for ComponentUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "creta://{}/{}/component/{}", self.environment_id, self.environment, self.name)
    }
}

/// What a component is for. Rights follow from it; a certificate alone gives none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComponentRole {
    /// Cosigns the log.
    Witness,
    /// Watches the log.
    Monitor,
    /// Takes in reports from strangers.
    Intake,
    /// Runs resolvers on another machine.
    Worker,
    /// Reads evidence.
    Collector,
}

impl ComponentRole {
    /// All roles.
    pub const ALL: [ComponentRole; 5] = [Self::Witness, Self::Monitor, Self::Intake, Self::Worker, Self::Collector];

    /// The word on the command line and in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Witness => "witness",
            Self::Monitor => "monitor",
            Self::Intake => "intake",
            Self::Worker => "worker",
            Self::Collector => "collector",
        }
    }

    /// The role of a word; the error names the words there are.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| InvalidName {
            what: "component role",
            given: text.to_owned(),
            rule: "use `witness`, `monitor`, `intake`, `worker` or `collector`",
        })
    }
}

impl fmt::Display for ComponentRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One certificate of a component, by its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownCertificate {
    /// SHA-256 in hexadecimal.
    pub(crate) thumbprint: String,
    pub(crate) expires: Instant,
}

/// A component that has been made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Component {
    pub(crate) name: ComponentName,
    pub(crate) role: ComponentRole,
    pub(crate) created: Instant,
    /// The newest last. Empty once it is revoked.
    pub(crate) certificates: Vec<KnownCertificate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<Instant>,
}

/// The components of an environment, as they stand among its documents.
pub(crate) struct Components<'a>(pub(crate) &'a dyn MetadataStore);

impl Components<'_> {
    /// All, by name, revoked ones included.
    pub(crate) fn list(&self) -> Result<Vec<Component>, Problem> {
        let documents = self.0.list(COMPONENT_KIND).map_err(|error| from_store(&error))?;
        documents.iter().map(|document| serde_json::from_slice(&document.body).map_err(|_| internal())).collect()
    }

    /// The certificates that are let in, by SHA-256 in hexadecimal.
    pub(crate) fn known(&self) -> Result<BTreeMap<String, Component>, Problem> {
        let all = self.list()?.into_iter();
        Ok(all
            .flat_map(|component| {
                component.certificates.clone().into_iter().map(move |known| (known.thumbprint, component.clone()))
            })
            .collect())
    }

    /// Adds a certificate to a component, which is made if it is not there. An earlier certificate stays good until it
    /// ends. A revoked name is not used again, so that the log stays unambiguous.
    pub(crate) fn add(
        &self,
        name: &ComponentName,
        role: ComponentRole,
        certificate: KnownCertificate,
        now: Instant,
    ) -> Result<Component, Problem> {
        if name.as_str() == SERVER {
            return Err(Problem::new(
                "conflict/component",
                "`server` is the server itself, which makes its own certificate",
            )
            .with_help("choose another name"));
        }
        let present = self.0.read(COMPONENT_KIND, name.as_str()).map_err(|error| from_store(&error))?;
        let version = present.as_ref().map(|document| document.version);
        let mut component = match &present {
            Some(document) => serde_json::from_slice(&document.body).map_err(|_| internal())?,
            None => Component { name: name.clone(), role, created: now, certificates: Vec::new(), revoked: None },
        };
        if component.revoked.is_some() {
            return Err(Problem::new("conflict/component", format!("component `{name}` was revoked"))
                .with_help("choose another name: names are not used twice"));
        }
        if component.role != role {
            let message = format!("component `{name}` has the role `{}`", component.role);
            return Err(Problem::new("conflict/component", message)
                .with_help("revoke it, and make one of another name for the other role"));
        }
        component.certificates.retain(|known| known.expires > now);
        component.certificates.push(certificate);
        let surplus = component.certificates.len().saturating_sub(CERTIFICATES_MAX);
        component.certificates.drain(..surplus);
        self.write(&component, version)?;
        Ok(component)
    }

    /// Ends a component and its certificates. Harmless when repeated.
    pub(crate) fn revoke(&self, name: &ComponentName, now: Instant) -> Result<Component, Problem> {
        let document = self.0.read(COMPONENT_KIND, name.as_str()).map_err(|error| from_store(&error))?;
        let document = document.ok_or_else(|| {
            Problem::new("not-found/component", format!("there is no component `{name}`"))
                .with_help("`creta server component list` shows them")
        })?;
        let mut component: Component = serde_json::from_slice(&document.body).map_err(|_| internal())?;
        component.revoked = component.revoked.or(Some(now));
        component.certificates.clear();
        self.write(&component, Some(document.version))?;
        Ok(component)
    }

    fn write(&self, component: &Component, version: Option<u64>) -> Result<(), Problem> {
        let body = serde_json::to_vec(component).expect("a component has a JSON form");
        let written = self.0.write(COMPONENT_KIND, component.name.as_str(), version, &body);
        written.map(drop).map_err(|error| from_store(&error))
    }
}

#[cfg(test)]
mod tests {
    use creta_model::Span;
    use creta_store::MemoryMetadata;

    use super::*;

    fn name(text: &str) -> ComponentName {
        ComponentName::parse(text).expect("valid")
    }

    #[test]
    fn a_name_is_read_in_the_form_it_is_written_in_and_no_other() {
        let prod = Environment::parse("prod").expect("valid");
        let uri = ComponentUri::new("prod-00ff", prod.clone(), name("eu-witness"));
        assert_eq!(uri.to_string(), "creta://prod-00ff/prod/component/eu-witness");
        assert_eq!(ComponentUri::parse(&uri.to_string()), Some(uri.clone()));
        assert!(uri.is_of("prod-00ff", &prod));
        assert!(!uri.is_of("prod-00fe", &prod));
        assert!(!uri.is_of("prod-00ff", &Environment::parse("staging").expect("valid")));
        for bad in [
            "",
            "creta://prod-00ff/prod/component/",
            "creta://prod-00ff/prod/component/eu-witness/",
            "creta://prod-00ff/prod/component/eu-witness/..",
            "creta://prod-00ff/prod/tenant/eu-witness",
            "creta:///prod/component/eu-witness",
            "https://prod-00ff/prod/component/eu-witness",
            "creta://prod-00ff/PROD/component/eu-witness",
            "creta://prod-00ff/prod/component/eu%2dwitness",
        ] {
            assert_eq!(ComponentUri::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_renewed_component_has_two_good_certificates_and_a_revoked_one_none() {
        let store = MemoryMetadata::default();
        let components = Components(&store);
        let now = Instant::parse("2026-01-01T00:00:00Z").expect("valid");
        let certificate = |mark: &str, days: u32| KnownCertificate {
            thumbprint: mark.to_owned(),
            expires: now.plus(Span::days(days)),
        };
        let add = |mark, days, at| components.add(&name("w1"), ComponentRole::Worker, certificate(mark, days), at);
        add("aa", 90, now).expect("made");
        add("bb", 120, now).expect("renewed");
        assert_eq!(components.known().expect("read").into_keys().collect::<Vec<_>>(), ["aa", "bb"]);
        add("cc", 150, now).expect("renewed");
        assert_eq!(components.known().expect("read").into_keys().collect::<Vec<_>>(), ["bb", "cc"]);
        add("dd", 300, now.plus(Span::days(130))).expect("renewed");
        assert_eq!(components.known().expect("read").into_keys().collect::<Vec<_>>(), ["cc", "dd"]);

        let server = components.add(&ComponentName::server(), ComponentRole::Worker, certificate("ee", 90), now);
        assert_eq!(server.expect_err("refused").code, "conflict/component", "nobody is made the server");
        let other_role = components.add(&name("w1"), ComponentRole::Intake, certificate("ee", 90), now);
        assert_eq!(other_role.expect_err("refused").code, "conflict/component");
        components.revoke(&name("w1"), now).expect("revoked");
        components.revoke(&name("w1"), now).expect("again");
        assert!(components.known().expect("read").is_empty());
        assert_eq!(add("ff", 90, now).expect_err("refused").code, "conflict/component");
        assert_eq!(components.revoke(&name("w2"), now).expect_err("refused").code, "not-found/component");
    }
}
