//! The label of a table that left a server: which environment it is from, and of which class.

use std::collections::HashMap;

use creta_model::{Environment, EnvironmentClass};

/// Key in an Arrow schema's metadata of the environment that a table is from. Parquet and Arrow files keep it.
pub const LABEL_ENVIRONMENT: &str = "creta.environment";
/// Key of that environment's class: `development`, `staging` or `production`.
pub const LABEL_CLASS: &str = "creta.class";

/// Where a table is from.
///
/// A label is honest people's: whoever has the table can take it off. What keeps values from people's machines is that they
/// are not handed out; the label keeps those who may have them from carrying them on by mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The environment.
    pub environment: Environment,
    /// Its class.
    pub class: EnvironmentClass,
}

impl Label {
    /// The pairs for a schema's metadata.
    pub fn to_metadata(&self) -> HashMap<String, String> {
        HashMap::from([
            (LABEL_ENVIRONMENT.to_owned(), self.environment.to_string()),
            (LABEL_CLASS.to_owned(), self.class.as_str().to_owned()),
        ])
    }

    /// Refuses a table that is from an environment other than one for development. One that nobody labelled, and one from
    /// where made-up data lives (CH-15), pass. A class that this build does not know is refused.
    pub fn refuse_elsewhere(metadata: &HashMap<String, String>) -> Result<(), LabelRefused> {
        let Some(class) = metadata.get(LABEL_CLASS) else { return Ok(()) };
        if class == EnvironmentClass::Development.as_str() {
            return Ok(());
        }
        // The words of the label are the file's; only names are repeated.
        let named = metadata.get(LABEL_ENVIRONMENT).and_then(|name| Environment::parse(name).ok());
        Err(LabelRefused { environment: named })
    }
}

/// A table is from an environment whose data stays there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this table was handed out by {}, and its data stays there", match .environment {
    Some(environment) => format!("environment `{environment}`"),
    None => "an environment that is not for development".to_owned(),
})]
pub struct LabelRefused {
    /// Its name, if the label has one.
    pub environment: Option<Environment>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(class: EnvironmentClass) -> HashMap<String, String> {
        Label { environment: Environment::parse("prod").expect("valid"), class }.to_metadata()
    }

    #[test]
    fn attack_ch14_only_tables_of_development_and_unlabelled_ones_pass() {
        assert_eq!(Label::refuse_elsewhere(&HashMap::new()), Ok(()));
        assert_eq!(Label::refuse_elsewhere(&label(EnvironmentClass::Development)), Ok(()));
        for class in [EnvironmentClass::Staging, EnvironmentClass::Production] {
            let refused = Label::refuse_elsewhere(&label(class)).expect_err("stays there");
            assert_eq!(
                refused.to_string(),
                "this table was handed out by environment `prod`, and its data stays there"
            );
        }
        for odd in ["Production", "", "prod", "development "] {
            let odd = HashMap::from([(LABEL_CLASS.to_owned(), odd.to_owned())]);
            let refused = Label::refuse_elsewhere(&odd).expect_err("an unknown class");
            assert!(refused.to_string().contains("not for development"), "{refused}");
        }
    }

    #[test]
    fn a_label_s_words_are_not_repeated_unless_they_are_a_name() {
        let mut forged = label(EnvironmentClass::Production);
        forged.insert(LABEL_ENVIRONMENT.to_owned(), "ana@example.com <script>".to_owned());
        let refused = Label::refuse_elsewhere(&forged).expect_err("stays there");
        assert!(!refused.to_string().contains("ana"), "{refused}");
    }
}
