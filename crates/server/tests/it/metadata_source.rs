//! The source of the metadata stores: which tables there are, which rows a query may see, and who opens a store (CH-22).
//!
//! Each tenant's metadata is a file of its own, whose rows are found by MACs under its own key. So a query filters by `key`
//! or `kind`, both of which only the tenant's key makes; one that does not could see rows that nobody asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All tables with their columns: keys and kinds are MACs, the rest is a number or sealed.
const SCHEMA: &str = "CREATE TABLE document ( key BLOB PRIMARY KEY NOT NULL, kind BLOB NOT NULL, version INTEGER NOT NULL, \
     sealed BLOB NOT NULL ) STRICT; CREATE INDEX document_kind ON document (kind); CREATE TABLE summary (id INTEGER PRIMARY KEY \
     CHECK (id = 1), number INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT; PRAGMA user_version = 1;";

/// What reads every row: making the index anew, under the store's own key, and counting tables when a file is opened.
const WHOLE: &[&str] = &["SELECT key, kind, version, sealed FROM document", "SELECT count(*) FROM sqlite_schema"];

/// Who may open a metadata store, and how often in its source. Another place has to say whose key it opens it with.
const OPENERS: &[(&str, usize)] = &[
    ("server/src/components.rs", 1),
    ("server/src/control_plane.rs", 1),
    ("server/src/data_folder.rs", 1),
    ("server/src/recovery.rs", 3),
    ("server/src/restore.rs", 1),
    ("server/src/scopes.rs", 1),
    ("server/src/trust/checks/apart.rs", 2),
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of all crates").to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Statements of SQL among the texts of a source, with single spaces.
fn statements(source: &str) -> Vec<String> {
    let texts = source.split('"').skip(1).step_by(2);
    let begins = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "REPLACE ", "CREATE ", "DROP ", "ALTER ", "ATTACH "];
    let statements = texts.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    statements.filter(|text| begins.iter().any(|begin| text.contains(begin))).collect()
}

/// Why statements are not those of a store whose queries see the rows of one key. None when they are.
fn mistake(source: &str) -> Option<String> {
    let all = statements(source);
    if !all.iter().any(|statement| statement == SCHEMA) {
        return Some(
            "the schema is another one: say here what its columns hold, and that no value is among them".into(),
        );
    }
    let is_fine = |statement: &&String| {
        let filtered = ["WHERE key = ?1", "WHERE kind = ?1", "WHERE id = 1"].iter().any(|end| statement.ends_with(end));
        let writes_one =
            statement.starts_with("INSERT ") && statement.contains("VALUES (") && !statement.contains("SELECT");
        *statement == SCHEMA || WHOLE.contains(&statement.as_str()) || filtered || writes_one
    };
    if let Some(twice) = WHOLE.iter().find(|whole| all.iter().filter(|statement| statement == *whole).count() > 1) {
        return Some(format!("`{twice}` stands there twice: one of the two has lost its filter"));
    }
    all.iter()
        .find(|statement| !is_fine(statement))
        .map(|statement| format!("`{statement}` sees rows that nobody asked for"))
}

#[test]
fn attack_ch22_every_query_of_metadata_sees_the_rows_of_one_key_and_a_removed_filter_is_found() {
    let source = read(&crates().join("store/src/metadata/sqlite.rs"));
    assert_eq!(mistake(&source), None);
    for (planted, with) in [
        (" WHERE key = ?1\"", "\""),
        (" WHERE kind = ?1\"", " WHERE kind = ?1 OR 1 = 1\""),
        (" WHERE kind = ?1\"", " WHERE version > ?1\""),
        ("sealed BLOB NOT NULL\n    ) STRICT", "sealed BLOB NOT NULL, value TEXT\n    ) STRICT"),
        ("VALUES (?1, ?2, ?3, ?4)", "SELECT * FROM other.document"),
    ] {
        let changed = source.replacen(planted, with, 1);
        assert_ne!(changed, source, "{planted}");
        assert!(mistake(&changed).is_some(), "{with}");
    }
}

#[test]
fn attack_ch22_metadata_is_opened_where_its_key_is_known_and_nowhere_else() {
    let mut openers = BTreeMap::new();
    let mut waiting = vec![crates()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            let name = path.strip_prefix(crates()).expect("below").to_str().expect("text").to_owned();
            // Tests and examples open what they like.
            let apart =
                ["/tests", "/examples"].iter().any(|folder| name.contains(folder)) || name.ends_with("/contract");
            if path.is_dir() && !apart {
                waiting.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                let found = read(&path).matches("SqliteStore::open(").count();
                if found > 0 {
                    openers.insert(name, found);
                }
            }
        }
    }
    let expected: BTreeMap<String, usize> = OPENERS.iter().map(|(file, count)| ((*file).to_owned(), *count)).collect();
    assert_eq!(openers, expected);
}
