//! Who gets what of a dataset: tags and row rules as they are now, makers as they were.

use super::*;

/// The airline with tags: delays are personal, carriers pseudonymous.
fn tagged(delay: &[&str], carrier: &[&str]) -> Bundle {
    let mut bundle = serde_json::to_value(bundle()).expect("JSON");
    let features = bundle["graph"]["entities"][1]["features"].as_array_mut().expect("features");
    for (name, tags) in [("delay", delay), ("carrier", carrier)] {
        features.iter_mut().find(|own| own["name"] == name).expect("there")["tags"] = json!(tags);
    }
    serde_json::from_value(bundle).expect("a bundle")
}

#[test]
fn attack_ch03_whoever_gets_less_of_a_tag_now_gets_less_of_a_dataset() {
    let airline = airline();
    airline.deploy(tagged(&["pii"], &["pseudonymous"])).expect("deployed");
    let made = make(&airline, "delays", &asked(&FEATURES), spine());
    assert_eq!(made.columns[3].features[0].tags, tags(&["pii"]));
    let program = rows_of(&airline, &made, Role::Reader);
    assert_eq!(floats(&program, "Flight.delay"), [Some(-5.0), Some(20.0), None]);
    // A number has no masked form; tokens stand for texts; the mean of what is personal is personal too.
    let person = for_person(&airline, &made, &[Role::DataScientist]).expect("rows");
    assert_eq!(floats(&person, "Flight.delay"), [None; 3]);
    assert_eq!(texts(&person, "Flight.delay__state"), some(&["denied"; 3]));
    assert_eq!(floats(&person, "Flight.operator.delay_mean[1d]"), [None; 3]);
    let tokens = texts(&person, "Flight.carrier");
    assert!(tokens[0].is_some() && tokens[0].as_deref() != Some("AA") && tokens[2].is_none(), "{tokens:?}");
    assert_eq!(texts(&person, "Flight.carrier__state"), some(&["value", "value", "missing"]));
    assert_eq!(texts(&person, "label")[0].as_deref(), Some("cancelled"), "nothing was declared personal of the spine");
    // The tag is taken away from the definitions, by two people elsewhere; of what was kept it holds on.
    airline.deploy(bundle()).expect("deployed");
    let person = for_person(&airline, &made, &[Role::DataScientist]).expect("rows");
    assert_eq!(floats(&person, "Flight.delay"), [None; 3]);
    // A tag that came later counts as well: what is secret by now is nobody's, and refused by name.
    airline.deploy(tagged(&["secret"], &[])).expect("deployed");
    let refused = for_person(&airline, &made, &[Role::DataScientist]).expect_err("withheld");
    assert!(refused.contains("may not `train`"), "{refused}");
    let rest = columns_for_person(&airline, &made, &[Role::DataScientist], Some(&["Flight.carrier"])).expect("rows");
    assert_eq!(rest.num_columns(), 2);
    // Whoever may not train gets nothing.
    assert!(for_person(&airline, &made, &[Role::Viewer]).is_err());
    assert!(for_person(&airline, &made, &[]).is_err());
}

#[test]
fn attack_ch03_a_feature_under_a_name_that_was_another_s_opens_nothing() {
    let airline = airline();
    airline.deploy(tagged(&["pii"], &[])).expect("deployed");
    let made = make(&airline, "delays", &asked(&["Flight.delay"]), spine());
    // `delay` becomes `lateness`, and something harmless is called `delay`.
    let mut renamed = serde_json::to_value(tagged(&["pii"], &[])).expect("JSON");
    let text = renamed
        .to_string()
        .replace(r#""name":"delay""#, r#""name":"lateness""#)
        .replace("Flight.delay", "Flight.lateness");
    renamed = serde_json::from_str(&text).expect("JSON");
    let features = renamed["graph"]["entities"][1]["features"].as_array_mut().expect("features");
    features.push(json!({"name": "delay", "type": {"kind": "float"}, "optional": true,
        "location": {"file": "features.py", "line": 1}}));
    let renamed: Bundle = serde_json::from_value(renamed).expect("a bundle");
    airline.deploy(renamed).expect("deployed");
    let person = for_person(&airline, &made, &[Role::DataScientist]).expect("rows");
    assert_eq!(floats(&person, "Flight.delay"), [None; 3]);
    assert_eq!(floats(&rows_of(&airline, &made, Role::Reader), "Flight.delay"), [Some(-5.0), Some(20.0), None]);
}

#[test]
fn attack_ch03_what_its_maker_did_not_get_nobody_gets_of_a_dataset() {
    let airline = airline();
    airline.deploy(tagged(&["pii"], &["pseudonymous"])).expect("deployed");
    let (spine, training_set) = ([spine()], asked(&FEATURES));
    let features = airline.engine.features_of_training_set(&training_set, &spine).expect("features");
    let train = airline.person_permit(&[Role::DataScientist], Action::Train, &features).expect("they may");
    let make =
        airline.person_permit(&[Role::DataScientist], Action::DatasetMake, &FeatureSet::none()).expect("they may");
    let request = DatasetRequest { name: name("masked"), training_set, spine_tags: declared(&[]) };
    let made = airline.engine.make_dataset(&request, &spine, (&train, &make), &DatasetLimits::NONE).expect("made");
    let levels: Vec<Level> = made.columns.iter().skip(3).map(|column| column.level).collect();
    assert_eq!(levels, [Level::Masked, Level::Tokenised, Level::Masked]);
    let program = rows_of(&airline, &made, Role::Reader);
    assert_eq!(floats(&program, "Flight.delay"), [None; 3], "it is not there");
    let own = for_person(&airline, &made, &[Role::DataScientist]).expect("rows");
    let tokens = texts(&own, "Flight.carrier");
    assert_eq!(tokens, texts(&program, "Flight.carrier"), "tokens stay tokens");
    assert!(tokens[0].is_some());
    // Whoever gets only forms of texts gets no tokens of a dataset: personal as well by now.
    airline.deploy(tagged(&["pii"], &["pseudonymous", "pii"])).expect("deployed");
    let own = for_person(&airline, &made, &[Role::DataScientist]).expect("rows");
    assert_eq!(texts(&own, "Flight.carrier__state"), some(&["denied"; 3]));
}

#[test]
fn attack_ch03_a_spine_is_no_way_around_tags() {
    let airline = airline();
    airline.deploy(tagged(&["pii"], &[])).expect("deployed");
    // A program that sees delays brings them: as the feature, under another name for it, and hidden in a label.
    let with_delays = |column: &str| {
        let delays: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![Some(20.0), None, Some(1.0)]));
        let columns = spine().columns().iter().cloned().chain([delays]).collect::<Vec<_>>();
        let names = ["Flight.id", "at", "label", column];
        RecordBatch::try_from_iter(names.into_iter().zip(columns)).expect("columns")
    };
    let person = |version: &DatasetVersion| for_person(&airline, version, &[Role::DataScientist]).expect("rows");
    let named = make(&airline, "named", &asked(&["Flight.late"]), with_delays("Flight.delay"));
    assert_eq!(floats(&person(&named), "Flight.delay"), [None; 3]);
    assert_eq!(texts(&person(&named), "label")[0].as_deref(), Some("cancelled"));
    let mut mapped = asked(&["Flight.late"]);
    mapped.inputs.insert(FeaturePath::parse("Flight.delay").expect("a path"), "x".into());
    let mapped = make(&airline, "mapped", &mapped, with_delays("x"));
    assert_eq!(floats(&person(&mapped), "x"), [None; 3]);
    let hidden = try_make(&airline, "hidden", &asked(&["Flight.carrier"]), with_delays("x"), &["pii"]).expect("made");
    let shown = person(&hidden);
    assert_eq!((floats(&shown, "x"), texts(&shown, "label")), (vec![None; 3], vec![None; 3]));
    assert_eq!(ints(&shown, "Flight.id"), [Some(3), Some(1), Some(99)], "keys are features, and nobody's secret here");
    assert_eq!(floats(&rows_of(&airline, &hidden, Role::Reader), "x")[0], Some(20.0));
    assert_eq!(airline.engine.tags_in_force(), tags(&["pii"]));
}

/// As `tagged`, without the feature that says whether a flight is late.
fn without_late(delay: &[&str], carrier: &[&str]) -> Bundle {
    let mut bundle = serde_json::to_value(tagged(delay, carrier)).expect("JSON");
    let features = bundle["graph"]["entities"][1]["features"].as_array_mut().expect("features");
    features.retain(|own| own["name"] != "late");
    bundle["graph"]["queries"] = json!([]);
    serde_json::from_value(bundle).expect("a bundle")
}

#[test]
fn attack_ch03_a_later_tag_reaches_what_was_computed_from_it_by_definitions_that_are_gone() {
    let airline = airline();
    let made = make(&airline, "late", &asked(&["Flight.late"]), spine());
    let person = || for_person(&airline, &made, &[Role::DataScientist]).expect("rows");
    assert_eq!(texts(&person(), "Flight.late__state"), some(&["value", "value", "missing"]));
    // The feature goes, and what it was computed from becomes personal: nothing that is defined now leads from one to the other.
    airline.deploy(without_late(&["pii"], &[])).expect("deployed");
    assert_eq!(texts(&person(), "Flight.late__state"), some(&["denied"; 3]));
    assert_eq!(person().column_by_name("Flight.late").expect("there").null_count(), 3);
    let program = rows_of(&airline, &made, Role::Reader);
    assert_eq!(texts(&program, "Flight.late__state"), some(&["value", "value", "missing"]));
    // What it was not computed from does not matter, nor what it carried before: that was agreed on then.
    airline.deploy(without_late(&[], &["pii"])).expect("deployed");
    assert_eq!(texts(&person(), "Flight.late__state"), some(&["value", "value", "missing"]));
}

#[test]
fn attack_ch03_a_later_tag_reaches_columns_of_the_spine_whose_maker_saw_what_it_is_on() {
    let airline = airline();
    let (spine, training_set) = ([spine()], asked(&["Flight.late"]));
    let features = airline.engine.features_of_training_set(&training_set, &spine).expect("features");
    // Nothing is tagged, and nothing was said of the label: it may hold anything that its maker saw.
    let train = airline.permit_on(Role::Developer, Action::Train, &features);
    let spine_tags = airline.engine.spine_tags_seen(|all| airline.decide(Role::Developer, Action::Train, all));
    let request = DatasetRequest { name: name("undeclared"), training_set: training_set.clone(), spine_tags };
    let undeclared = keep(&airline, &request, &spine, &train, &DatasetLimits::NONE).expect("made");
    let said = make(&airline, "declared", &training_set, spine[0].clone());
    let label = |version: &DatasetVersion| {
        let rows = for_person(&airline, version, &[Role::DataScientist]).expect("rows");
        texts(&rows, "label")[0].clone()
    };
    assert_eq!((label(&undeclared).as_deref(), label(&said).as_deref()), (Some("cancelled"), Some("cancelled")));
    airline.deploy(tagged(&["pii"], &[])).expect("deployed");
    assert_eq!((label(&undeclared), label(&said).as_deref()), (None, Some("cancelled")), "it was said what is in it");
    // What a person did not see cannot be in what they brought; what they saw can, whatever it is called since.
    let features = airline.engine.features_of_training_set(&asked(&["Flight.carrier"]), &spine).expect("features");
    let train = airline.person_permit(&[Role::DataScientist], Action::Train, &features).expect("they may");
    let spine_tags = airline.engine.spine_tags_seen(|all| airline.decide_for_person(&[Role::DataScientist], all));
    let request = DatasetRequest { name: name("own"), training_set: asked(&["Flight.carrier"]), spine_tags };
    let own = keep(&airline, &request, &spine, &train, &DatasetLimits::NONE).expect("made");
    assert_eq!(label(&own).as_deref(), Some("cancelled"));
    airline.deploy(tagged(&["pii"], &["pii"])).expect("deployed");
    assert_eq!(label(&own), None);
}

#[test]
fn attack_t04_beyond_what_a_tenant_may_keep_no_dataset_is_made_and_nothing_is_left_of_it() {
    let airline = airline();
    let (spine, training_set) = ([spine()], asked(&FEATURES));
    let features = airline.engine.features_of_training_set(&training_set, &spine).expect("features");
    let train = airline.permit_on(Role::Developer, Action::Train, &features);
    let request = |called: &str| DatasetRequest {
        name: name(called),
        training_set: training_set.clone(),
        spine_tags: declared(&[]),
    };
    let files = || airline.stores.files.list("tenants/acme/facts/datasets").expect("a list").len();
    let one = DatasetLimits { versions_max: 1, ..DatasetLimits::NONE };
    let first = keep(&airline, &request("first"), &spine, &train, &one).expect("there is room for one");
    let refused = keep(&airline, &request("second"), &spine, &train, &one).expect_err("no more");
    assert_eq!((refused.code.as_str(), files()), ("dataset/too-many", 1));
    let small = DatasetLimits { bytes_max: first.bytes() + first.bytes() / 2, ..DatasetLimits::NONE };
    let refused = keep(&airline, &request("second"), &spine, &train, &small).expect_err("too large");
    assert_eq!((refused.code.as_str(), files()), ("dataset/no-room", 1));
    assert_eq!(airline.engine.dataset(&which("second")).expect_err("not there").code, "not-found/dataset");
    // What is retired takes no room.
    let retire = airline.permit(Action::DatasetRetire, &[]);
    airline.engine.retire_dataset(&which("first@1"), &retire, Keeper::OfAll).expect("retired");
    assert_eq!(keep(&airline, &request("second"), &spine, &train, &one).expect("made").version, 1);
    assert_eq!(files(), 1);
}

#[test]
fn looking_at_a_dataset_reads_nothing_of_others() {
    let airline = airline();
    let made = make(&airline, "delays", &asked(&FEATURES), spine());
    let other = make(&airline, "other", &asked(&FEATURES), spine());
    airline.spoil_documents(&format!("dataset-version/{}", other.dataset));
    assert_eq!(airline.engine.dataset(&which("delays")).expect("there"), made);
    assert_eq!(airline.engine.dataset(&which("delays@1")).expect("there"), made);
    assert_eq!(airline.engine.dataset(&which("other")).expect_err("spoilt").code, "store/refused");
}

#[test]
fn attack_ch03_what_is_written_down_of_a_dataset_counts_nothing_that_a_tag_or_a_rule_keeps_back() {
    let airline = airline();
    let required = TrainingSetRequest {
        required: vec![FeaturePath::parse("Flight.delay").expect("a path")],
        ..asked(&["Flight.delay"])
    };
    let made = make(&airline, "delays", &required, spine());
    assert_eq!((made.rows, made.facts.len()), (Some(2), 1));
    let shown = serde_json::to_value(made.clone().without_contents()).expect("JSON");
    assert_eq!((shown.get("rows"), shown.get("facts"), shown.get("spine_seen")), (None, None, None), "{shown}");
    let listed = airline.engine.datasets(&airline.permit(Action::CatalogueRead, &[])).expect("a list");
    assert_eq!(listed[0].versions[0].rows, None);
    // How many facts there are, and how many came since, is for whom no rule binds.
    let before = make(&airline, "means", &asked(&FEATURES), spine());
    airline.ingest(load(), table(&[departure(5, "UA", 661, 700.0)])).expect("a load");
    let after = make(&airline, "means", &asked(&FEATURES), spine());
    // The rule hides no carrier of these, and binds all the same.
    airline.set_rows(json!([carriers(json!(["UA", "AA"]))]));
    let look = |version: &DatasetVersion, role| {
        let all = Selection { columns: None, states: true };
        let features = airline.engine.features_of_dataset(version, &all).expect("features");
        let permit = airline.permit_on(role, Action::Train, &features);
        airline.engine.dataset_rows(version, &all, &permit).expect("rows")
    };
    for (role, facts, more) in
        [(Role::Reader, vec![("Flight".to_owned(), 3)], Some(1)), (Role::Developer, vec![], None)]
    {
        let (left, right) = (look(&before, role), look(&after, role));
        let profile = left.profile(&before, 0).expect("figures");
        assert_eq!(profile.facts.into_iter().collect::<Vec<_>>(), facts, "{role:?}");
        let diff = airline.engine.diff_datasets((&before, &left), (&after, &right)).expect("a difference");
        let why: Vec<&Why> = diff.features.iter().flat_map(|changed| &changed.why).collect();
        let told = why.iter().filter(|why| matches!(why, Why::NewFacts { facts, .. } if *facts == more)).count();
        assert!(told == why.len() && told > 0, "{role:?}: {why:?}");
    }
}

#[test]
fn s1_s17_s30_a_training_set_says_how_it_came_about_and_what_was_floored() {
    let airline = airline();
    // What an older table said of itself, from which the spine is, says nothing of this one.
    let old = [
        (LABEL_ENTRY, "1"),
        (LABEL_KNOWN_AS_OF, "latest"),
        (LABEL_DATASET, "x@1"),
        (TIMES_FLOORED, "9"),
        ("mine", "kept"),
    ];
    let old = old.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let labelled = |table: RecordBatch| {
        let schema = table.schema().as_ref().clone().with_metadata(old.clone().into());
        table.with_schema(Arc::new(schema)).expect("the same columns")
    };
    let metadata = |request: &TrainingSetRequest, spine: RecordBatch| {
        airline.training_set(request, labelled(spine)).expect("a training set").schema().metadata().clone()
    };
    let plain = asked(&FEATURES);
    let latest = TrainingSetRequest { known_as_of: Some(KnownAsOfColumn::Latest), ..plain.clone() };
    let column = TrainingSetRequest { known_as_of: Some(KnownAsOfColumn::Column("at".into())), ..plain.clone() };
    for (request, known) in [(&plain, "as_of"), (&latest, "latest"), (&column, "column")] {
        let said = metadata(request, spine());
        assert_eq!((said[LABEL_KNOWN_AS_OF].as_str(), said[LABEL_POSITION].as_str()), (known, "1"));
        assert!(said[LABEL_PLAN].contains(':') && said["mine"] == "kept", "{said:?}");
        for gone in [LABEL_ENTRY, LABEL_DATASET, TIMES_FLOORED] {
            assert!(!said.contains_key(gone), "{gone}: {said:?}");
        }
    }
    // Two of three instants are finer than a microsecond.
    let nanos = arrow::array::TimestampNanosecondArray::from_iter_values(
        [1, 0, 999].map(|nanos| (MIDNIGHT + 700 * MINUTE) * 1_000 + nanos),
    );
    let mut columns = spine().columns().to_vec();
    columns[1] = Arc::new(nanos.with_timezone("UTC"));
    let finer = RecordBatch::try_from_iter(["Flight.id", "at", "label"].into_iter().zip(columns)).expect("columns");
    assert_eq!(metadata(&plain, finer.clone())[TIMES_FLOORED], "2");
    assert_eq!(metadata(&column, finer.clone())[TIMES_FLOORED], "2", "one column counts once");
    let made = make(&airline, "finer", &plain, finer);
    assert_eq!(made.floored, 2);
    let rows = rows_of(&airline, &made, Role::Reader);
    let said = rows.schema().metadata().clone();
    assert_eq!((said[LABEL_DATASET].as_str(), said[TIMES_FLOORED].as_str()), ("finer@1", "2"));
    assert_eq!((said[LABEL_KNOWN_AS_OF].as_str(), &said[LABEL_PLAN]), ("as_of", &made.plan));
    assert_eq!(said[LABEL_ENTRY], made.entry.expect("an entry").to_string(), "the permit that it was built under");
}

/// Developers are bound; readers are not.
fn flights_of(carriers: Value) -> Value {
    json!({"id": "own-flights", "entity": "Flight", "roles": ["developer"], "feature": "Flight.carrier", "op": "in",
        "values": carriers})
}

fn carriers(codes: Value) -> Value {
    json!({"id": "own-carriers", "entity": "Carrier", "roles": ["developer"], "feature": "Carrier.code", "op": "in",
        "values": codes})
}

#[test]
fn attack_ch03_whom_a_row_rule_binds_gets_no_row_of_a_dataset_that_it_denies() {
    let airline = airline();
    let made = make(&airline, "delays", &asked(&FEATURES), spine());
    airline.set_rows(json!([flights_of(json!(["UA"]))]));
    let bound = rows_of(&airline, &made, Role::Developer);
    // Neither features nor keys and labels of rows that are not seen; what does not exist looks the same.
    assert_eq!(ints(&bound, "Flight.id"), [Some(1)]);
    assert_eq!((texts(&bound, "label"), floats(&bound, "Flight.delay")), (vec![None], vec![Some(20.0)]));
    assert_eq!(bound.column_by_name("at").expect("there").null_count(), 0, "the instants are the question's");
    // A number over flights that are not all seen is denied in all rows.
    assert_eq!(texts(&bound, "Flight.operator.delay_mean[1d]__state"), some(&["denied"]));
    assert_eq!(rows_of(&airline, &made, Role::Reader).num_rows(), 3, "who is not bound sees all");
    let all = Selection::default();
    let features = airline.engine.features_of_dataset(&made, &all).expect("features");
    let permit = airline.permit_on(Role::Developer, Action::Train, &features);
    assert_eq!(airline.engine.dataset_rows(&made, &all, &permit).expect("rows").rows_unseen, 2);
    // Of an entity along a relation, the carrier: neither a row of it nor what its columns gave.
    airline.set_rows(json!([carriers(json!(["AA"]))]));
    let bound = rows_of(&airline, &made, Role::Developer);
    assert_eq!(ints(&bound, "Flight.id"), [Some(3), Some(99)], "flight 99 has no carrier that could be denied");
    // Selecting a column alone changes nothing of that.
    let selection = Selection { columns: Some(tags(&["label"])), states: false };
    let features = airline.engine.features_of_dataset(&made, &selection).expect("features");
    let permit = airline.permit_on(Role::Developer, Action::Train, &features);
    let rows = airline.engine.dataset_rows(&made, &selection, &permit).expect("rows");
    assert_eq!(rows.batches[0].num_rows(), 2);
}

/// All bytes that leave for somebody of a role who asks for everything.
fn bytes_for(airline: &Airline, version: &DatasetVersion, role: Role) -> Vec<u8> {
    let all = Selection { columns: None, states: true };
    let features = airline.engine.features_of_dataset(version, &all).expect("features");
    let rows = airline.engine.dataset_rows(version, &all, &airline.permit_on(role, Action::Train, &features));
    let rows = rows.expect("rows");
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema).expect("a stream");
    rows.batches.iter().for_each(|batch| writer.write(batch).expect("written"));
    writer.into_inner().expect("written")
}

fn has(bytes: &[u8], canary: &str) -> bool {
    bytes.windows(canary.len()).any(|window| window == canary.as_bytes())
}

#[test]
fn attack_ch03_no_byte_of_a_hidden_row_leaves_in_dictionaries_views_or_beneath_nulls() {
    let airline = airline();
    let carriers = ["AA", "UA", "a carrier that nobody may know"];
    let given = |array: ArrayRef| {
        let columns = spine().columns()[..2].iter().cloned().chain([array]).collect::<Vec<_>>();
        RecordBatch::try_from_iter(["Flight.id", "at", "Flight.carrier"].into_iter().zip(columns)).expect("columns")
    };
    let texts: ArrayRef = Arc::new(StringArray::from(carriers.to_vec()));
    let key_value = |values: &DataType| DataType::Dictionary(Box::new(DataType::Int32), Box::new(values.clone()));
    for ty in [DataType::Utf8, DataType::Utf8View, key_value(&DataType::Utf8), key_value(&DataType::LargeUtf8)] {
        airline.set_rows(json!([]));
        let table = given(arrow::compute::cast(&texts, &ty).expect("cast"));
        let Ok(made) = try_make(&airline, "keys", &asked(&["Flight.late"]), table.clone(), &[]) else {
            // A feature of another type than its own is refused. Kept under a name that is none, it is no feature.
            let mut names: Vec<&str> = vec!["Flight.id", "at", "label"];
            let columns = names.drain(..).zip(table.columns().iter().cloned());
            let table = RecordBatch::try_from_iter(columns.collect::<Vec<_>>()).expect("columns");
            let made = make(&airline, "labels", &asked(&["Flight.carrier"]), table);
            assert!(has(&bytes_for(&airline, &made, Role::Reader), "nobody may know"), "{ty}");
            airline.set_rows(json!([flights_of(json!(["UA"]))]));
            assert!(!has(&bytes_for(&airline, &made, Role::Developer), "nobody may know"), "{ty}");
            continue;
        };
        assert!(!made.columns.iter().any(|column| column.ty.contains("Dictionary") || column.ty.contains("View")));
        assert!(has(&bytes_for(&airline, &made, Role::Reader), "nobody may know"), "{ty}: who is not bound");
        airline.set_rows(json!([flights_of(json!(["UA"]))]));
        let bound = bytes_for(&airline, &made, Role::Developer);
        assert!(!has(&bound, "nobody may know"), "{ty}: hidden with its row");
    }
    // A cell that is denied is no value with a mark on it: the carrier of a flight that is seen, of a carrier that is not.
    airline.set_rows(json!([]));
    let one = spine().slice(0, 2);
    let made = make(&airline, "operators", &asked(&["Flight.delay", "Flight.operator.delay_mean[1d]"]), one);
    airline.set_rows(json!([flights_of(json!(["UA"]))]));
    let rows = rows_of(&airline, &made, Role::Developer);
    let means = rows.column_by_name("Flight.operator.delay_mean[1d]").expect("there");
    assert_eq!(means.as_primitive::<Float64Type>().values(), &[0.0], "nothing lies beneath the null");
}

#[test]
fn attack_ch03_rows_are_there_for_whoever_gets_what_they_were_chosen_by() {
    let airline = airline();
    airline.deploy(tagged(&["pii"], &[])).expect("deployed");
    let required = TrainingSetRequest {
        required: vec![FeaturePath::parse("Flight.delay").expect("a path")],
        ..asked(&["Flight.delay", "Flight.carrier"])
    };
    let made = make(&airline, "delays", &required, spine());
    assert_eq!(rows_of(&airline, &made, Role::Reader).num_rows(), 2);
    let keys = columns_for_person(&airline, &made, &[Role::DataScientist], Some(&["Flight.id"]));
    assert_eq!(keys.expect_err("whose delay there is"), "access/required");
    let freely = make(&airline, "freely", &asked(&["Flight.delay"]), spine());
    let keys = columns_for_person(&airline, &freely, &[Role::DataScientist], Some(&["Flight.id"])).expect("rows");
    assert_eq!(keys.num_rows(), 3);
}

#[test]
fn attack_ch03_rows_that_can_no_longer_be_judged_are_not_seen() {
    let airline = airline();
    let made = make(&airline, "delays", &asked(&FEATURES), spine());
    airline.set_rows(json!([flights_of(json!(["UA"]))]));
    let mut without = serde_json::to_value(bundle()).expect("JSON");
    let features = without["graph"]["entities"][1]["features"].as_array_mut().expect("features");
    features.retain(|own| own["name"] != "late" && own["name"] != "delay");
    let carrier = without["graph"]["entities"][0]["features"].as_array_mut().expect("features");
    carrier.retain(|own| own["window"]["value"].is_null());
    without["graph"]["queries"] = json!([]);
    airline.deploy(serde_json::from_value(without).expect("a bundle")).expect("deployed");
    let all = Selection::default();
    let features = airline.engine.features_of_dataset(&made, &all).expect("the tags of then are known");
    let ask = |role| airline.engine.dataset_rows(&made, &all, &airline.permit_on(role, Action::Train, &features));
    assert_eq!(ask(Role::Developer).expect_err("not judged").code, "access/rows");
    assert_eq!(ask(Role::Reader).expect("who is not bound").batches[0].num_rows(), 3);
}

#[test]
fn attack_ch03_a_maker_whom_a_row_rule_binds_keeps_nothing_that_they_did_not_see() {
    let airline = airline();
    airline.set_rows(json!([flights_of(json!(["UA"]))]));
    let made = make(&airline, "own", &asked(&FEATURES), spine());
    airline.set_rows(json!([]));
    let rows = rows_of(&airline, &made, Role::Reader);
    assert_eq!(floats(&rows, "Flight.delay"), [None, Some(20.0), None]);
    assert_eq!(texts(&rows, "Flight.delay__state"), some(&["denied", "value", "denied"]));
}

fn keep_by(airline: &Airline, request: &DatasetRequest, permit: &Permit) -> Result<DatasetVersion, Problem> {
    airline.engine.make_dataset(request, &[spine()], (permit, permit), &DatasetLimits::NONE)
}

#[test]
fn attack_ci20_permits_for_something_else_are_good_for_no_dataset() {
    let airline = airline();
    airline.deploy(tagged(&["pii"], &[])).expect("deployed");
    let made = make(&airline, "delays", &asked(&FEATURES), spine());
    let all = Selection::default();
    let features = airline.engine.features_of_dataset(&made, &all).expect("features");
    let refused = |permit| airline.engine.dataset_rows(&made, &all, &permit).expect_err("refused").code;
    assert_eq!(refused(airline.permit_on(Role::Developer, Action::Query, &features)), "access/not-covered");
    assert_eq!(refused(airline.permit(Action::Train, &["Flight.delay"])), "access/not-covered");
    // On the right features with other tags: what was decided says nothing of these.
    let names: Vec<&str> = features.names().collect();
    assert_eq!(refused(airline.permit(Action::Train, &names)), "conflict/changed");
    let make_permit = airline.permit(Action::Train, &["Flight.delay"]);
    let request = DatasetRequest { name: name("x"), training_set: asked(&FEATURES), spine_tags: declared(&[]) };
    let made = keep_by(&airline, &request, &make_permit);
    assert_eq!(made.expect_err("no permit to keep").code, "access/not-covered");
    let unknown = Selection { columns: Some(tags(&["Flight.secret"])), states: false };
    let version = airline.engine.dataset(&which("delays")).expect("there");
    assert_eq!(airline.engine.features_of_dataset(&version, &unknown).expect_err("none").code, "dataset/no-column");
    let read = airline.permit(Action::Train, &[]);
    assert!(airline.engine.datasets(&read).is_err());
    assert!(airline.engine.rename_dataset(&name("delays"), &name("x"), &read, Keeper::OfAll).is_err());
    assert!(airline.engine.retire_dataset(&which("delays@1"), &read, Keeper::OfAll).is_err());
}
