//! What is acted on: an environment's control plane, or the data and definitions of one scope.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use creta_model::{Environment, Scope, TenantId};
use serde::{Deserialize, Serialize};

use crate::IamError;

/// Features asked for, with their tags. Cheap to clone, to compare with itself and to hash: the server makes one per
/// plan and uses it for every request of that shape.
#[derive(Clone)]
pub struct FeatureSet(Arc<Features>);

struct Features {
    tags_by_name: BTreeMap<String, BTreeSet<String>>,
    hash: u64,
}

impl FeatureSet {
    /// Features by name (`Transaction.amount`), each with its tags, lineage included. Order and repetition do not
    /// matter; the tags of a repeated feature are joined.
    pub fn new<N, T>(features: impl IntoIterator<Item = (N, T)>) -> Self
    where
        N: Into<String>,
        T: IntoIterator,
        T::Item: Into<String>,
    {
        let mut tags_by_name = BTreeMap::<String, BTreeSet<String>>::new();
        for (name, tags) in features {
            tags_by_name.entry(name.into()).or_default().extend(tags.into_iter().map(Into::into));
        }
        let mut hasher = DefaultHasher::new();
        tags_by_name.hash(&mut hasher);
        Self(Arc::new(Features { tags_by_name, hash: hasher.finish() }))
    }

    /// Features without tags.
    pub fn untagged<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::new(names.into_iter().map(|name| (name, [""; 0])))
    }

    /// No features: what an action that touches none asks for.
    pub fn none() -> Self {
        Self::untagged([""; 0])
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.tags_by_name.keys().map(String::as_str)
    }

    /// Names in order, each with its tags in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &str>)> {
        self.0.tags_by_name.iter().map(|(name, tags)| (name.as_str(), tags.iter().map(String::as_str)))
    }

    /// Tags of one feature in order; `None` if it is not asked for.
    pub fn tags_of(&self, name: &str) -> Option<impl Iterator<Item = &str>> {
        self.0.tags_by_name.get(name).map(|tags| tags.iter().map(String::as_str))
    }

    /// Tags of all features together, in order.
    pub fn tags(&self) -> BTreeSet<&str> {
        self.0.tags_by_name.values().flatten().map(String::as_str).collect()
    }

    /// How many features.
    pub fn len(&self) -> usize {
        self.0.tags_by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.tags_by_name.is_empty()
    }

    /// Whether a feature of this name is asked for.
    pub fn contains(&self, name: &str) -> bool {
        self.0.tags_by_name.contains_key(name)
    }
}

impl PartialEq for FeatureSet {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.hash == other.0.hash && self.0.tags_by_name == other.0.tags_by_name)
    }
}

impl Eq for FeatureSet {}

impl Hash for FeatureSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl fmt::Debug for FeatureSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0.tags_by_name).finish()
    }
}

/// Why features are asked for, in the words of whoever asks. It stands in the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Purpose(Arc<str>);

impl Purpose {
    /// 1 to 200 characters on one line.
    pub fn parse(text: &str) -> Result<Self, IamError> {
        let valid = (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if valid { Ok(Self(text.into())) } else { Err(IamError::Purpose) }
    }

    /// The purpose as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const CONTROL_PLANE: &str = "control-plane";

/// The scope under which an environment keeps what belongs to no tenant: its audit log, principals and metadata. It is
/// for keys and paths only; nobody acts in it, and no tenant may have its name.
pub fn control_plane(environment: &Environment) -> Scope {
    let tenant = TenantId::parse(CONTROL_PLANE).expect("a valid tenant name");
    Scope::new(tenant, environment.clone())
}

/// Whether a tenant's name is taken by the control plane. Such a tenant must not be created.
pub fn is_reserved(tenant: &TenantId) -> bool {
    tenant.as_str() == CONTROL_PLANE
}

/// Where a resource lives. In JSON: `{"environment": "prod"}`, with `"tenant"` beside it for a scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "PlaceForm", into = "PlaceForm")]
pub enum Place {
    /// The control plane of an environment.
    Environment(Environment),
    /// One tenant's data and definitions in one environment.
    Scope(Scope),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceForm {
    environment: Environment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<TenantId>,
}

impl From<PlaceForm> for Place {
    fn from(form: PlaceForm) -> Self {
        match form.tenant {
            Some(tenant) => Self::Scope(Scope::new(tenant, form.environment)),
            None => Self::Environment(form.environment),
        }
    }
}

impl From<Place> for PlaceForm {
    fn from(place: Place) -> Self {
        match place {
            Place::Environment(environment) => Self { environment, tenant: None },
            Place::Scope(Scope { tenant, environment }) => Self { environment, tenant: Some(tenant) },
        }
    }
}

impl Place {
    /// Whether what holds here holds in `other` too: a place covers itself, an environment also every scope of it.
    pub fn covers(&self, other: &Place) -> bool {
        match self {
            Self::Environment(environment) => environment == other.environment(),
            Self::Scope(_) => self == other,
        }
    }

    /// `environment` or `environment/tenant`: unique among all places.
    pub fn path(&self) -> String {
        match self {
            Self::Environment(environment) => environment.to_string(),
            Self::Scope(scope) => scope.path(),
        }
    }

    /// The environment, which every place has.
    pub fn environment(&self) -> &Environment {
        match self {
            Self::Environment(environment) => environment,
            Self::Scope(scope) => &scope.environment,
        }
    }

    /// The scope, unless it is the control plane.
    pub fn scope(&self) -> Option<&Scope> {
        match self {
            Self::Environment(_) => None,
            Self::Scope(scope) => Some(scope),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(environment) => write!(f, "environment `{environment}`"),
            Self::Scope(scope) => write!(f, "scope `{scope}`"),
        }
    }
}

/// What is acted on: a place, the features asked for there, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resource {
    place: Place,
    features: FeatureSet,
    purpose: Option<Purpose>,
}

impl Resource {
    /// The control plane of an environment.
    pub fn environment(environment: Environment) -> Self {
        Self { place: Place::Environment(environment), features: FeatureSet::none(), purpose: None }
    }

    /// A scope as a whole.
    pub fn scope(scope: Scope) -> Self {
        Self { place: Place::Scope(scope), features: FeatureSet::none(), purpose: None }
    }

    /// Features in a scope.
    pub fn features(scope: Scope, features: FeatureSet) -> Self {
        Self { place: Place::Scope(scope), features, purpose: None }
    }

    /// The same resource, asked for with a stated purpose.
    pub fn for_purpose(self, purpose: Purpose) -> Self {
        Self { purpose: Some(purpose), ..self }
    }

    /// Where it lives.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The features asked for; empty when the action touches none.
    pub fn feature_set(&self) -> &FeatureSet {
        &self.features
    }

    /// Why, if it was said.
    pub fn purpose(&self) -> Option<&Purpose> {
        self.purpose.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_set_ignores_order_and_repetition() {
        let a = FeatureSet::new([("User.email", vec!["pii"]), ("User.age", vec![]), ("User.email", vec!["contact"])]);
        let b = FeatureSet::new([("User.age", vec![]), ("User.email", vec!["contact", "pii"])]);
        assert_eq!(a, b);
        assert_eq!(a.names().collect::<Vec<_>>(), ["User.age", "User.email"]);
        assert_eq!(a.tags().into_iter().collect::<Vec<_>>(), ["contact", "pii"]);
        assert!(a.contains("User.age") && !a.contains("User.name"));
        assert_ne!(a, FeatureSet::untagged(["User.age", "User.email"]), "tags are part of it");
    }

    #[test]
    fn a_purpose_is_one_line_and_its_refusal_does_not_repeat_it() {
        for bad in ["", "two\nlines", &"a".repeat(201)] {
            let message = Purpose::parse(bad).expect_err("refused").to_string();
            assert!(bad.is_empty() || !message.contains(bad), "{message}");
        }
        assert_eq!(Purpose::parse("fraud model, é").expect("valid").as_str(), "fraud model, é");
    }
}
