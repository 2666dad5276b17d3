//! Training sets with a name: they stay what they were, and give nobody more than their rights do now.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::ipc::writer::StreamWriter;
use creta_audit::Permit;
use creta_engine::{
    ColumnKind, DatasetLimits, DatasetName, DatasetRef, DatasetRequest, DatasetState, DatasetVersion, Keeper,
    KnownAsOfColumn, LABEL_DATASET, LABEL_ENTRY, LABEL_KNOWN_AS_OF, LABEL_PLAN, LABEL_POSITION, ROWS_DROPPED, Sample,
    Selection, SpineTags, TIMES_FLOORED, TrainingSetRequest, Why,
};
use creta_iam::{Action, FeatureSet, Level, Role};
use creta_model::{Bundle, FeaturePath, Problem};
use creta_platform::{Fault, Files as _};
use serde_json::{Value, json};

use crate::support::{Airline, LoseOnline, MIDNIGHT, MINUTE, bundle, departure, instants, load, plain, table};

mod rights;

fn airline() -> Airline {
    let airline = Airline::new();
    fly(&airline);
    airline
}

fn fly(airline: &Airline) {
    let rows = [departure(1, "UA", 600, 20.0), departure(2, "UA", 660, 10.0), departure(3, "AA", 690, -5.0)];
    airline.ingest(load(), table(&rows)).expect("a load");
}

/// Flights 3, 1 and one that does not exist, twenty minutes before noon, with a label.
fn spine() -> RecordBatch {
    RecordBatch::try_from_iter([
        ("Flight.id", Arc::new(Int64Array::from(vec![3, 1, 99])) as ArrayRef),
        ("at", instants([MIDNIGHT + 700 * MINUTE; 3])),
        ("label", Arc::new(StringArray::from(vec![Some("cancelled"), None, Some("on time")]))),
    ])
    .expect("columns of one length")
}

fn asked(features: &[&str]) -> TrainingSetRequest {
    let features: Vec<FeaturePath> = features.iter().map(|path| FeaturePath::parse(path).expect("a path")).collect();
    serde_json::from_value(json!({"features": features, "as_of": "at"})).expect("a request")
}

const FEATURES: [&str; 3] = ["Flight.delay", "Flight.carrier", "Flight.operator.delay_mean[1d]"];

fn name(text: &str) -> DatasetName {
    DatasetName::parse(text).expect("a name")
}

fn tags(tags: &[&str]) -> BTreeSet<String> {
    tags.iter().map(|tag| (*tag).to_owned()).collect()
}

fn which(text: &str) -> DatasetRef {
    DatasetRef::parse(text).expect("a reference")
}

/// Makes a version with the rights of a program that sees everything.
fn make(airline: &Airline, called: &str, training_set: &TrainingSetRequest, spine: RecordBatch) -> DatasetVersion {
    try_make(airline, called, training_set, spine, &[]).expect("made")
}

fn try_make(
    airline: &Airline,
    called: &str,
    training_set: &TrainingSetRequest,
    spine: RecordBatch,
    spine_tags: &[&str],
) -> Result<DatasetVersion, Problem> {
    let spine = [spine];
    let features = airline.engine.features_of_training_set(training_set, &spine)?;
    let train = airline.permit_on(Role::Developer, Action::Train, &features);
    let request =
        DatasetRequest { name: name(called), training_set: training_set.clone(), spine_tags: declared(spine_tags) };
    keep(airline, &request, &spine, &train, &DatasetLimits::NONE)
}

fn keep(
    airline: &Airline,
    request: &DatasetRequest,
    spine: &[RecordBatch],
    train: &Permit,
    limits: &DatasetLimits,
) -> Result<DatasetVersion, Problem> {
    airline.engine.make_dataset(request, spine, (train, &airline.permit(Action::DatasetMake, &[])), limits)
}

fn declared(of: &[&str]) -> SpineTags {
    SpineTags::Declared(tags(of))
}

/// The rows of a version, for a program of a role.
fn rows_of(airline: &Airline, version: &DatasetVersion, role: Role) -> RecordBatch {
    let all = Selection { columns: None, states: true };
    let features = airline.engine.features_of_dataset(version, &all).expect("features");
    let rows = airline.engine.dataset_rows(version, &all, &airline.permit_on(role, Action::Train, &features));
    let rows = rows.expect("rows");
    concat_batches(&rows.schema, &rows.batches).expect("of one schema")
}

/// The rows of a version for a person, or why not.
fn for_person(airline: &Airline, version: &DatasetVersion, roles: &[Role]) -> Result<RecordBatch, String> {
    columns_for_person(airline, version, roles, None)
}

fn columns_for_person(
    airline: &Airline,
    version: &DatasetVersion,
    roles: &[Role],
    columns: Option<&[&str]>,
) -> Result<RecordBatch, String> {
    let selection = Selection { columns: columns.map(tags), states: true };
    let features = airline.engine.features_of_dataset(version, &selection).map_err(|problem| problem.code)?;
    let permit = airline.person_permit(roles, Action::Train, &features)?;
    let rows = airline.engine.dataset_rows(version, &selection, &permit).map_err(|problem| problem.code)?;
    Ok(concat_batches(&rows.schema, &rows.batches).expect("of one schema"))
}

fn texts(table: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let column = table.column_by_name(column).unwrap_or_else(|| panic!("`{column}` of {:?}", table.schema()));
    column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

fn ints(table: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    table.column_by_name(column).expect("there").as_primitive::<Int64Type>().iter().collect()
}

fn floats(table: &RecordBatch, column: &str) -> Vec<Option<f64>> {
    table.column_by_name(column).expect("there").as_primitive::<Float64Type>().iter().collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[test]
fn s21_a_dataset_is_the_training_set_it_was_made_of_whatever_happens_after() {
    let airline = airline();
    let with_states = TrainingSetRequest { states: true, ..asked(&FEATURES) };
    let expected = airline.training_set(&with_states, spine()).expect("a training set");
    let made = make(&airline, "delays", &asked(&FEATURES), spine());
    assert_eq!(plain(rows_of(&airline, &made, Role::Developer)), plain(expected.clone()));
    // New facts, new definitions, a restart: the rows stay.
    airline.ingest(load(), table(&[departure(4, "UA", 650, 700.0)])).expect("a load");
    let airline = airline.reopened(LoseOnline::Yes);
    let found = airline.engine.dataset(&which("delays@1")).expect("there");
    assert_eq!(found, made);
    assert_eq!(plain(rows_of(&airline, &found, Role::Developer)), plain(expected.clone()));
    assert_ne!(
        plain(airline.training_set(&with_states, spine()).expect("a training set")),
        plain(expected),
        "the facts count by now"
    );
    // Of selected columns, in the dataset's order, without states.
    let selection = Selection { columns: Some(tags(&["Flight.carrier", "label"])), states: false };
    let features = airline.engine.features_of_dataset(&found, &selection).expect("features");
    assert_eq!(features.names().collect::<Vec<_>>(), ["Flight.carrier"], "what is not selected is not asked about");
    let permit = airline.permit_on(Role::Reader, Action::Train, &features);
    let rows = airline.engine.dataset_rows(&found, &selection, &permit).expect("rows");
    let names: Vec<&str> = rows.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!((names, rows.rows_unseen), (vec!["label", "Flight.carrier"], 0));
}

#[test]
fn s30_a_dataset_says_what_it_was_made_of_and_under_which_permit() {
    let airline = airline();
    let made = make(&airline, "delays", &asked(&FEATURES), spine());
    assert_eq!(
        (made.reference(), made.rows, made.spine_rows, made.known_as_of.as_str()),
        ("delays@1".into(), Some(3), 3, "as_of")
    );
    assert!(made.entry.is_some(), "the entry of the permit to build it");
    assert_eq!((made.made_by.as_str(), made.position), ("other", 1));
    assert_eq!(made.facts, [("Flight".to_owned(), 3)].into());
    let kinds: Vec<(&str, ColumnKind)> =
        made.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
    use ColumnKind::{Feature, Given, Spine};
    assert_eq!(
        kinds,
        [
            ("Flight.id", Given),
            ("at", Spine),
            ("label", Spine),
            ("Flight.delay", Feature),
            ("Flight.carrier", Feature),
            ("Flight.operator.delay_mean[1d]", Feature)
        ]
    );
    assert_eq!(made.columns[2].absent, [("null".to_owned(), 1)].into());
    assert_eq!(made.columns[3].absent, [("missing".to_owned(), 1)].into());
    // The mean was computed from the flights' delays and carriers: their definitions are named too.
    for feature in ["Flight.delay", "Flight.carrier", "Carrier.delay_mean"] {
        assert!(made.definitions[feature].starts_with("sha256:"), "{feature}: {:?}", made.definitions);
    }
    let latest = TrainingSetRequest { known_as_of: Some(KnownAsOfColumn::Latest), ..asked(&FEATURES) };
    assert_eq!(make(&airline, "restated", &latest, spine()).known_as_of, "latest", "rule S1: it is recorded");
    let shown = made.clone().without_contents();
    let text = serde_json::to_string(&shown).expect("JSON");
    assert!(!text.contains(&made.digest) && !text.contains(&made.table) && !text.contains("missing"), "{text}");
    assert_eq!(serde_json::from_str::<DatasetVersion>(&text).expect("own form"), shown);
}

#[test]
fn s26_the_same_request_on_the_same_facts_gives_the_same_bytes() {
    let airline = airline();
    let first = make(&airline, "delays", &asked(&FEATURES), spine());
    let second = make(&airline, "delays", &asked(&FEATURES), spine());
    assert_eq!((second.version, &second.digest, &second.spine_digest), (2, &first.digest, &first.spine_digest));
    let digests = |version: &DatasetVersion| -> Vec<String> {
        version.columns.iter().map(|column| column.digest.clone()).collect()
    };
    assert_eq!(digests(&first), digests(&second));
    assert_ne!(first.table, second.table, "each has its own content");
    // A load that no row may know of changes nothing; one that was known in time changes what it concerns.
    airline.ingest(load(), table(&[departure(4, "UA", 710, 700.0)])).expect("a load");
    assert_eq!(make(&airline, "delays", &asked(&FEATURES), spine()).digest, first.digest);
    airline.ingest(load(), table(&[departure(5, "UA", 661, 700.0)])).expect("a load");
    let later = make(&airline, "delays", &asked(&FEATURES), spine());
    assert_eq!((&later.spine_digest, later.version), (&first.spine_digest, 4));
    let changed: Vec<bool> = digests(&first).iter().zip(digests(&later)).map(|(one, other)| *one != other).collect();
    assert_eq!(changed, [false, false, false, false, false, true]);
    assert_ne!(later.digest, first.digest);
    // Another label is another spine.
    let other = make(&airline, "delays", &asked(&["Flight.delay"]), spine().slice(0, 2));
    assert_ne!(other.spine_digest, first.spine_digest);
}

#[test]
fn datasets_are_listed_renamed_and_retired_and_numbers_are_not_given_again() {
    let airline = airline();
    let small = asked(&["Flight.delay"]);
    make(&airline, "delays", &small, spine());
    let second = make(&airline, "delays", &small, spine());
    make(&airline, "carriers", &asked(&["Flight.carrier"]), spine());
    let (permit, read) = (airline.permit(Action::DatasetRetire, &[]), airline.permit(Action::CatalogueRead, &[]));
    let listed = |airline: &Airline| -> Vec<(String, Vec<u32>)> {
        let entries = airline.engine.datasets(&read).expect("a list");
        entries.iter().map(|e| (e.name.to_string(), e.versions.iter().map(|v| v.version).collect())).collect()
    };
    assert_eq!(listed(&airline), [("carriers".to_owned(), vec![1]), ("delays".to_owned(), vec![2, 1])]);
    let code = |outcome: Result<(), Problem>| outcome.expect_err("refused").code;
    assert_eq!(
        code(airline.engine.rename_dataset(&name("nothing"), &name("x"), &permit, Keeper::OfAll)),
        "not-found/dataset"
    );
    assert_eq!(
        code(airline.engine.rename_dataset(&name("delays"), &name("carriers"), &permit, Keeper::OfAll)),
        "conflict/dataset"
    );
    airline.engine.rename_dataset(&name("delays"), &name("lateness"), &permit, Keeper::OfAll).expect("renamed");
    assert_eq!(listed(&airline), [("carriers".to_owned(), vec![1]), ("lateness".to_owned(), vec![2, 1])]);
    // The name that it had means it still, and is not given to another, by making or by renaming.
    let before = airline.engine.dataset(&which("delays@1")).expect("there");
    assert_eq!((before.reference().as_str(), before.version), ("lateness@1", 1));
    let again = try_make(&airline, "delays", &small, spine(), &[]).expect_err("taken");
    assert_eq!(again.code, "conflict/dataset");
    assert_eq!(
        code(airline.engine.rename_dataset(&name("carriers"), &name("delays"), &permit, Keeper::OfAll)),
        "conflict/dataset"
    );
    // It may have its own name again.
    airline.engine.rename_dataset(&name("lateness"), &name("delays"), &permit, Keeper::OfAll).expect("as before");
    assert_eq!(airline.engine.dataset(&which("lateness")).expect("there").name, name("delays"));
    airline.engine.rename_dataset(&name("delays"), &name("lateness"), &permit, Keeper::OfAll).expect("renamed");
    assert_eq!(listed(&airline), [("carriers".to_owned(), vec![1]), ("lateness".to_owned(), vec![2, 1])]);
    // Whoever made none of its versions does not say what becomes of it.
    let own = Keeper::OfOwn;
    let refused = airline.engine.rename_dataset(&name("lateness"), &name("x"), &permit, own);
    assert_eq!(code(refused), "access/dataset-keeper");
    let refused = airline.engine.retire_dataset(&which("lateness@2"), &permit, own).expect_err("not theirs");
    assert_eq!(refused.code, "access/dataset-keeper");
    // To keep is another right than to rename and to retire.
    let make_only = airline.permit(Action::DatasetMake, &[]);
    assert_eq!(
        code(airline.engine.rename_dataset(&name("lateness"), &name("x"), &make_only, Keeper::OfAll)),
        "access/not-covered"
    );
    let refused = airline.engine.retire_dataset(&which("lateness@2"), &make_only, Keeper::OfAll);
    assert_eq!(refused.expect_err("another right").code, "access/not-covered");
    let renamed = airline.engine.dataset(&which("lateness")).expect("there");
    assert_eq!(renamed, DatasetVersion { name: name("lateness"), ..second });
    let expected = plain(rows_of(&airline, &renamed, Role::Reader));

    let refused =
        airline.engine.retire_dataset(&which("lateness"), &permit, Keeper::OfAll).expect_err("which version?");
    assert_eq!(refused.code, "dataset/no-version");
    let files = || airline.stores.files.list("tenants/acme/facts/datasets").expect("a list").len();
    assert_eq!(files(), 3);
    let retired = airline.engine.retire_dataset(&which("lateness@2"), &permit, Keeper::OfAll).expect("retired");
    assert!(matches!(&retired.state, DatasetState::Retired { by, .. } if by == "tester"), "{:?}", retired.state);
    assert_eq!(files(), 2, "its rows are gone from the disk");
    let again = airline.engine.retire_dataset(&which("lateness@2"), &permit, Keeper::OfAll).expect_err("gone");
    assert_eq!(again.code, "dataset/retired");
    let features = airline.engine.features_of_dataset(&retired, &Selection::default()).expect("features");
    let train = airline.permit_on(Role::Reader, Action::Train, &features);
    let gone = airline.engine.dataset_rows(&retired, &Selection::default(), &train).expect_err("gone");
    assert_eq!(gone.code, "dataset/retired");
    // Without a number it is the newest that is there; the next one has a number of its own.
    let newest = airline.engine.dataset(&which("lateness")).expect("there");
    assert_eq!((newest.version, plain(rows_of(&airline, &newest, Role::Reader))), (1, expected));
    assert_eq!(make(&airline, "lateness", &small, spine()).version, 3);
    assert_eq!(airline.engine.dataset(&which("lateness@4")).expect_err("not yet").code, "not-found/dataset");
}

#[test]
fn rows_without_what_is_required_are_left_out_and_counted_and_a_sample_is_drawn_by_its_seed() {
    let airline = airline();
    let required = TrainingSetRequest {
        required: vec![FeaturePath::parse("Flight.delay").expect("a path")],
        ..asked(&["Flight.delay", "Flight.carrier"])
    };
    let table = airline.training_set(&required, spine()).expect("a training set");
    assert_eq!(ints(&table, "Flight.id"), [Some(3), Some(1)], "in their order");
    assert_eq!(table.schema().metadata()[ROWS_DROPPED], "1");
    let made = make(&airline, "delays", &required, spine());
    assert_eq!((made.rows, made.spine_rows), (Some(2), 3));
    assert_eq!(ints(&rows_of(&airline, &made, Role::Reader), "Flight.id"), [Some(3), Some(1)]);
    let stranger =
        TrainingSetRequest { features: vec![FeaturePath::parse("Flight.carrier").expect("a path")], ..required };
    assert_eq!(airline.training_set(&stranger, spine()).expect_err("not asked").code, "request/not-asked");

    let sampled = |seed| {
        let sample = Some(Sample { rows: Some(1), share: None, seed });
        make(&airline, "few", &TrainingSetRequest { sample, ..asked(&["Flight.delay"]) }, spine())
    };
    assert_eq!((sampled(1).rows, sampled(1).digest), (Some(1), sampled(1).digest));
    let digests: BTreeSet<String> = (0..20).map(|seed| sampled(seed).digest).collect();
    assert_eq!(digests.len(), 3, "each of the three rows is drawn by some seed");
}

#[test]
fn a_dataset_without_rows_has_its_columns() {
    let airline = airline();
    let made = make(&airline, "none", &asked(&FEATURES), spine().slice(0, 0));
    let rows = rows_of(&airline, &made, Role::Reader);
    assert_eq!((rows.num_rows(), rows.num_columns(), made.rows), (0, 9, Some(0)));
}

#[test]
fn a_crash_at_any_file_operation_leaves_a_dataset_whole_or_none_of_it() {
    let mut met = 0;
    for after in 0.. {
        let airline = airline();
        let first = make(&airline, "delays", &asked(&FEATURES), spine());
        let expected = plain(rows_of(&airline, &first, Role::Reader));
        let files = airline.stores.files.clone();
        files.inject(Fault::Crash, after);
        let second = try_make(&airline, "delays", &asked(&FEATURES), spine(), &[]);
        let crashed = files.is_crashed();
        let stores = airline.stores.clone().with_files(files.restart());
        drop(airline);
        let airline = stores.open().expect("opens again");
        let versions = airline.engine.datasets(&airline.permit(Action::CatalogueRead, &[])).expect("a list");
        let numbers: Vec<u32> = versions[0].versions.iter().map(|version| version.version).collect();
        assert_eq!(numbers.len(), 1 + usize::from(second.is_ok()), "{after}");
        for number in &numbers {
            let version = airline.engine.dataset(&which(&format!("delays@{number}"))).expect("there");
            assert_eq!(plain(rows_of(&airline, &version, Role::Reader)), expected, "{after}");
        }
        let left = airline.stores.files.list("tenants/acme/facts/datasets").expect("a list");
        assert_eq!(left.len(), numbers.len(), "{after}: nothing of a half one is left");
        if !crashed {
            break;
        }
        met += 1;
    }
    assert!(met >= 1, "some operations were hit");
}

#[test]
fn attack_ci12_rows_of_a_dataset_lie_sealed_and_not_in_the_metadata() {
    let airline = airline();
    make(&airline, "delays", &asked(&FEATURES), spine());
    let files = &airline.stores.files;
    let paths = files.list("tenants/acme/facts/datasets").expect("a list");
    assert_eq!(paths.len(), 1);
    for path in &paths {
        let bytes = files.read(path).expect("there");
        for canary in [&b"cancelled"[..], b"on time", b"PAR1", b"Flight"] {
            assert!(!bytes.windows(canary.len()).any(|window| window == canary), "{path}");
        }
    }
    let version = airline.engine.dataset(&which("delays")).expect("there");
    let documents = airline.all_documents(&format!("dataset-version/{}", version.dataset));
    assert!(documents[0].contains("delays") && !documents[0].contains("cancelled"), "{documents:?}");
    // A part that was changed is refused, and so is one that is gone.
    let all = Selection::default();
    let features = airline.engine.features_of_dataset(&version, &all).expect("features");
    let ask =
        || airline.engine.dataset_rows(&version, &all, &airline.permit_on(Role::Reader, Action::Train, &features));
    let mut bytes = files.read(&paths[0]).expect("there");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    files.replace(&paths[0], &bytes).expect("changed");
    assert_eq!(ask().expect_err("changed").code, "store/refused");
    files.delete(&paths[0]).expect("deleted");
    assert_eq!(ask().expect_err("gone").code, "store/refused");
}
