//! The inventory: what there is, who answers for it, and whether what runs is what was declared.
//!
//! The running configuration says what there is; people say in a file what no configuration knows: class, owner, region.
//! Whatever counts a population counts from here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use creta_model::Environment;
use serde::{Deserialize, Serialize};

use crate::Finding;

/// The form of inventory files that this build writes and reads.
pub const INVENTORY_FORMAT: &str = "creta.inventory/1";

/// What kind of thing an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    /// A program that runs.
    System,
    /// A place where data lies.
    Store,
    /// An address that takes connections.
    Listener,
    /// Data on its way from one item to another.
    Flow,
    /// A kind of principal that can act.
    Principal,
    /// Something that must stay secret.
    Secret,
    /// Something that staff sign in to and this system does not run: a vendor's service, a tool of the company. Only people
    /// know of it.
    Tool,
}

impl ItemKind {
    /// All kinds.
    pub const ALL: [ItemKind; 7] =
        [Self::System, Self::Store, Self::Listener, Self::Flow, Self::Principal, Self::Secret, Self::Tool];

    /// The word before the colon of an item's id.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Store => "store",
            Self::Listener => "listener",
            Self::Flow => "flow",
            Self::Principal => "principal",
            Self::Secret => "secret",
            Self::Tool => "tool",
        }
    }
}

/// How much harm it does when what is here gets out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataClass {
    /// May be seen by anybody.
    Public,
    /// For the organisation.
    Internal,
    /// Customers' definitions and metadata.
    Confidential,
    /// Customers' values, and keys.
    Restricted,
}

/// How people sign in to a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SingleSignOn {
    /// At the organisation's provider.
    Used,
    /// It could be at the provider, and is not.
    Supported,
    /// The tool cannot.
    Unsupported,
}

/// One thing. Absent members are questions that nobody has answered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// `<kind>:<name>`: `listener:api`. Instances of a kind share one item: `store:tenant-facts`.
    pub id: String,
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub purpose: String,
    /// Where it is or listens, without names of tenants: `audit/`, `127.0.0.1:7443`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// What it holds or carries at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<DataClass>,
    /// Where in the world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Who answers for it: a role or a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Where its threats are thought through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threat_model: Option<String>,
    /// For flows: the item it starts at, and the one it ends at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between: Option<(String, String)>,
    /// For tools: how people sign in to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub single_sign_on: Option<SingleSignOn>,
    /// For tools: the exception by which single sign-on is not used although it is supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
}

impl Item {
    /// An item as the running configuration knows it.
    pub fn observed(kind: ItemKind, name: &str, class: DataClass, place: &str, purpose: &str) -> Self {
        Self {
            id: format!("{}:{name}", kind.as_str()),
            purpose: purpose.to_owned(),
            place: place.to_owned(),
            class: Some(class),
            region: None,
            owner: None,
            threat_model: None,
            between: None,
            single_sign_on: None,
            exception: None,
        }
    }

    /// The kind that its id names.
    pub fn kind(&self) -> Option<ItemKind> {
        let (kind, name) = self.id.split_once(':')?;
        ItemKind::ALL.into_iter().find(|known| known.as_str() == kind).filter(|_| !name.is_empty())
    }
}

/// Everything there is in an environment, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// [`INVENTORY_FORMAT`].
    pub format: String,
    /// Which environment.
    pub environment: Environment,
    /// The items, each id once.
    #[serde(default, rename = "item")]
    pub items: Vec<Item>,
}

/// Why an inventory file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InventoryError {
    /// It cannot be read.
    #[error("the inventory `{file}` cannot be read: {reason}")]
    Unreadable {
        /// Which file.
        file: String,
        /// Why.
        reason: String,
    },
    /// It says something that an inventory cannot say.
    #[error("the inventory `{file}` is not valid: {reason}")]
    Invalid {
        /// Which file.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

impl Inventory {
    /// Of an environment, with the items in the order of their ids.
    pub fn new(environment: Environment, mut items: Vec<Item>) -> Self {
        items.sort_by(|a, b| a.id.cmp(&b.id));
        Self { format: INVENTORY_FORMAT.to_owned(), environment, items }
    }

    /// Reads a file that people completed.
    pub fn load(file: &Path) -> Result<Self, InventoryError> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|error| InventoryError::Unreadable { file: name.clone(), reason: error.to_string() })?;
        Self::parse(&text).map_err(|reason| InventoryError::Invalid { file: name, reason })
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let inventory: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        if inventory.format != INVENTORY_FORMAT {
            return Err(format!("its format is `{}`, and this build reads `{INVENTORY_FORMAT}`", inventory.format));
        }
        let mut ids = BTreeSet::new();
        for item in &inventory.items {
            if item.kind().is_none() {
                let kinds: Vec<&str> = ItemKind::ALL.iter().map(|kind| kind.as_str()).collect();
                return Err(format!("`{}` is not `<kind>:<name>`; kinds are {}", item.id, kinds.join(", ")));
            }
            if !ids.insert(&item.id) {
                return Err(format!("`{}` stands there twice", item.id));
            }
        }
        Ok(inventory)
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        let body = toml::to_string(self).expect("an inventory has a TOML form");
        format!(
            "# What there is in this environment. Complete `owner`, `region` and `threat_model`; what runs and is not\n\
             # here, or the other way round, is a finding.\n{body}"
        )
    }

    /// The items of a kind.
    pub fn of(&self, kind: ItemKind) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.kind() == Some(kind))
    }

    /// What runs and was not declared, what was declared and does not run, what was declared otherwise, and what nobody
    /// has answered for. `self` is what was declared.
    pub fn drift(&self, observed: &Inventory) -> Vec<Finding> {
        let by_id = |inventory: &Inventory| -> BTreeMap<String, Item> {
            inventory.items.iter().map(|item| (item.id.clone(), item.clone())).collect()
        };
        let (declared, running) = (by_id(self), by_id(observed));
        let mut findings = Vec::new();
        let mut find = |id: &str, code: &str, says: String| findings.push(Finding::new(id, code, says));
        if self.environment != observed.environment {
            find("inventory", "inventory/environment", "it was written for another environment".to_owned());
        }
        for (id, item) in &running {
            let Some(known) = declared.get(id) else {
                find(id, "inventory/undeclared", format!("`{id}` runs here and nobody declared it; add it or stop it"));
                continue;
            };
            if known.class < item.class {
                find(id, "inventory/class", format!("`{id}` holds more than its declared class allows"));
            }
            if known.kind() == Some(ItemKind::Listener) && known.place != item.place {
                find(id, "inventory/place", format!("`{id}` listens elsewhere than declared"));
            }
        }
        for (id, item) in &declared {
            if !running.contains_key(id) && item.kind() != Some(ItemKind::Tool) {
                find(id, "inventory/absent", format!("`{id}` is declared and not there; start it or remove it"));
            }
            if item.owner.as_ref().is_none_or(|owner| owner.trim().is_empty()) {
                find(id, "inventory/owner", format!("nobody answers for `{id}`; set its `owner`"));
            }
        }
        findings.sort_unstable();
        findings
    }

    /// The tools that people sign in to without single sign-on although they could, and those of which nobody said.
    /// `holds` tells whether an exception of this id holds now.
    pub fn without_single_sign_on(&self, holds: impl Fn(&str) -> bool) -> Vec<Finding> {
        let judge = |tool: &Item| {
            let (code, says) = match (tool.single_sign_on, &tool.exception) {
                (Some(SingleSignOn::Used | SingleSignOn::Unsupported), _) => return None,
                (Some(SingleSignOn::Supported), Some(exception)) if holds(exception) => return None,
                (Some(SingleSignOn::Supported), Some(_)) => {
                    ("sign-on/no-exception", "could use single sign-on, and the exception named there does not hold")
                }
                (Some(SingleSignOn::Supported), None) => {
                    ("sign-on/not-used", "could use single sign-on and does not; use it, or agree on an exception")
                }
                (None, _) => ("sign-on/unknown", "does not say how people sign in; set its `single_sign_on`"),
            };
            Some(Finding::new(&tool.id, code, format!("`{}` {says}", tool.id)))
        };
        self.of(ItemKind::Tool).filter_map(judge).collect()
    }

    /// This inventory with what `observed` knows newly, keeping every answer that people gave, and their tools; what is gone
    /// is gone.
    pub fn updated(&self, observed: &Inventory) -> Inventory {
        let known: BTreeMap<&str, &Item> = self.items.iter().map(|item| (item.id.as_str(), item)).collect();
        let items = observed.items.iter().map(|item| match known.get(item.id.as_str()) {
            None => item.clone(),
            Some(known) => Item {
                region: known.region.clone(),
                owner: known.owner.clone(),
                threat_model: known.threat_model.clone(),
                class: known.class.max(item.class),
                ..item.clone()
            },
        });
        let tools = self.of(ItemKind::Tool).cloned();
        Self::new(observed.environment.clone(), items.chain(tools).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str) -> Item {
        let (kind, name) = id.split_once(':').expect("an id");
        let kind = ItemKind::ALL.into_iter().find(|known| known.as_str() == kind).expect("a kind");
        Item::observed(kind, name, DataClass::Confidential, "127.0.0.1:1", "")
    }

    fn inventory(items: Vec<Item>) -> Inventory {
        Inventory::new(Environment::parse("dev").expect("valid"), items)
    }

    fn owned(id: &str) -> Item {
        Item { owner: Some("platform".to_owned()), ..item(id) }
    }

    fn codes(findings: &[Finding]) -> Vec<(&str, &str)> {
        findings.iter().map(|finding| (finding.subject.as_str(), finding.code.as_str())).collect()
    }

    #[test]
    fn what_runs_as_declared_is_no_finding() {
        let observed = inventory(vec![item("listener:api"), item("store:audit")]);
        let declared = inventory(vec![owned("listener:api"), owned("store:audit")]);
        assert_eq!(declared.drift(&observed), []);
    }

    #[test]
    fn each_difference_is_a_finding_of_its_own() {
        let observed = inventory(vec![item("listener:api"), item("listener:debug"), item("store:facts")]);
        let mut elsewhere = owned("listener:api");
        elsewhere.place = "0.0.0.0:1".to_owned();
        let mut public = owned("store:facts");
        public.class = Some(DataClass::Public);
        let declared = inventory(vec![elsewhere, public, item("store:gone")]);
        assert_eq!(
            codes(&declared.drift(&observed)),
            [
                ("listener:api", "inventory/place"),
                ("listener:debug", "inventory/undeclared"),
                ("store:facts", "inventory/class"),
                ("store:gone", "inventory/absent"),
                ("store:gone", "inventory/owner"),
            ]
        );
    }

    #[test]
    fn an_update_keeps_what_people_said_and_drops_what_is_gone() {
        let declared = inventory(vec![owned("store:facts"), owned("store:gone")]);
        let observed = inventory(vec![item("store:facts"), item("store:new")]);
        let updated = declared.updated(&observed);
        let owners: Vec<_> = updated.items.iter().map(|item| (item.id.as_str(), item.owner.as_deref())).collect();
        assert_eq!(owners, [("store:facts", Some("platform")), ("store:new", None)]);
    }

    #[test]
    fn attack_ci21_a_tool_without_single_sign_on_is_found_unless_an_exception_holds() {
        let tool = |name: &str, how, exception: Option<&str>| Item {
            single_sign_on: how,
            exception: exception.map(str::to_owned),
            ..owned(&format!("tool:{name}"))
        };
        let declared = inventory(vec![
            tool("chat", Some(SingleSignOn::Used), None),
            tool("code", Some(SingleSignOn::Supported), None),
            tool("fax", Some(SingleSignOn::Unsupported), None),
            tool("mail", Some(SingleSignOn::Supported), Some("holds")),
            tool("news", Some(SingleSignOn::Supported), Some("over")),
            tool("wiki", None, None),
        ]);
        let found = declared.without_single_sign_on(|exception| exception == "holds");
        assert_eq!(
            codes(&found),
            [
                ("tool:code", "sign-on/not-used"),
                ("tool:news", "sign-on/no-exception"),
                ("tool:wiki", "sign-on/unknown")
            ]
        );
        // What people declare of tools is theirs: no server runs them, and an update leaves them.
        let observed = inventory(Vec::new());
        assert_eq!(declared.drift(&observed), []);
        assert_eq!(declared.updated(&observed), declared);
        assert_eq!(Inventory::parse(&declared.to_toml()), Ok(declared));
    }

    #[test]
    fn a_file_survives_writing_and_reading_and_says_what_is_wrong_with_it() {
        let mut flow = owned("flow:query");
        flow.between = Some(("listener:api".to_owned(), "store:facts".to_owned()));
        let declared = inventory(vec![flow, owned("store:facts")]);
        let text = declared.to_toml();
        assert_eq!(Inventory::parse(&text), Ok(declared));
        for (from, to, says) in [
            ("creta.inventory/1", "creta.inventory/9", "this build reads"),
            ("store:facts\"\n", "stores:facts\"\n", "is not `<kind>:<name>`"),
            ("owner =", "ovner =", "ovner"),
        ] {
            let bad = text.replace(from, to);
            assert_ne!(bad, text, "`{from}` stands in the file");
            let reason = Inventory::parse(&bad).expect_err(to);
            assert!(reason.contains(says), "{reason}");
        }
        let twice = inventory(vec![owned("store:facts"), owned("store:facts")]).to_toml();
        assert!(Inventory::parse(&twice).expect_err("twice").contains("twice"));
    }
}
