//! Routes of datasets.

use super::operations::{TEXT, json, path, query, raw, required};
use super::{Body, Operation, Parameter};

const WHICH: Parameter = path("id", DATASET, "`name`, the newest version that is kept, or `name@version`.");
const DATASET: &str = r#"{"type":"string","pattern":"^[a-z][a-z0-9_-]{0,63}(@[1-9][0-9]*)?$"}"#;
const NAME: &str = r#"{"type":"string","pattern":"^[a-z][a-z0-9_-]{0,63}$"}"#;
const COLUMNS: Parameter = query("columns", COLUMN_NAMES, "JSON list of columns; left out, all of them.");
const COLUMN_NAMES: &str =
    r#"{"type":"string","pattern":"^\\[(\"[^\"\\\\\\u0000-\\u001f]*\"(,\"[^\"\\\\\\u0000-\\u001f]*\")*)?\\]$"}"#;

/// For each route, by its operation id.
pub(super) static OPERATIONS: &[Operation] = &[
    Operation {
        id: "POST /v1/training-sets/leakage",
        name: "audit_leakage",
        tag: "datasets",
        summary: "Look for what a model could learn of a training set and not know later. Tells counts, never a value.",
        parameters: &[
            required("features", TEXT, "Paths, separated by commas."),
            required("as_of", TEXT, "Column of the spine that holds each row's instant."),
            required(
                "labels",
                TEXT,
                "JSON object of a column of the spine to the feature that it holds values of, or to null.",
            ),
            query("known_as_of", TEXT, "`latest`, or a column of instants; by default what was known at `as_of`."),
            query("inputs", TEXT, "JSON object of path to column, for columns that are not named by a path."),
            query("max_age", TEXT, "JSON object of path to span: tighter limits than the features declare."),
            query("sample", TEXT, "JSON of the rows to look at: `rows` or `share`, and `seed`."),
        ],
        body: Body::Arrow,
        answer: json("LeakageReport"),
        problems: &[404, 409, 422],
    },
    Operation {
        id: "POST /v1/datasets",
        name: "make_dataset",
        tag: "datasets",
        summary: "Build a training set and keep it, sealed, as the next version of a dataset.",
        parameters: &[
            required("name", NAME, "What it is called."),
            required("features", TEXT, "Paths, separated by commas."),
            required("as_of", TEXT, "Column of the spine that holds each row's instant."),
            query("known_as_of", TEXT, "`latest`, or a column of instants; by default what was known at `as_of`."),
            query("inputs", TEXT, "JSON object of path to column, for columns that are not named by a path."),
            query("max_age", TEXT, "JSON object of path to span: tighter limits than the features declare."),
            query("sample", TEXT, "JSON of the rows to look at: `rows` or `share`, and `seed`."),
            query("required", TEXT, "Paths, separated by commas: rows without their value are left out, and counted."),
            query(
                "spine_tags",
                TEXT,
                "JSON list of the tags that the spine's own columns carry; left out, every tag of which you get values.",
            ),
        ],
        body: Body::Arrow,
        answer: json("Dataset"),
        problems: &[404, 409, 422, 507],
    },
    Operation {
        id: "GET /v1/datasets",
        name: "list_datasets",
        tag: "datasets",
        summary: "The datasets of the scope, with their versions.",
        parameters: &[],
        body: Body::None,
        answer: json("Datasets"),
        problems: &[404],
    },
    Operation {
        id: "GET /v1/datasets/{id}",
        name: "describe_dataset",
        tag: "datasets",
        summary: "How a version was made and out of what: no rows, and nothing that says anything of values.",
        parameters: &[WHICH],
        body: Body::None,
        answer: json("Dataset"),
        problems: &[404, 422],
    },
    Operation {
        id: "GET /v1/datasets/{id}/rows",
        name: "dataset_rows",
        tag: "datasets",
        summary: "The rows of a version, as far as your rights give them now.",
        parameters: &[
            WHICH,
            COLUMNS,
            query("states", r#"{"type":"boolean"}"#, "Whether to add a column `name__state` beside each feature."),
            query("format", r#"{"enum":["arrow","parquet"]}"#, "Of the answer; an Arrow stream unless said otherwise."),
            query(
                "sink",
                TEXT,
                "Sink of the tenant to write the rows to, instead of handing them out; answered with what was written, as JSON.",
            ),
        ],
        body: Body::None,
        answer: raw("application/vnd.apache.arrow.stream", "The columns of the spine, then the features."),
        problems: &[404, 409, 422],
    },
    Operation {
        id: "GET /v1/datasets/{id}/profile",
        name: "profile_dataset",
        tag: "datasets",
        summary: "Figures of the columns of a version as your rights give them now, and its first rows.",
        parameters: &[
            WHICH,
            COLUMNS,
            query(
                "preview",
                r#"{"type":"integer","minimum":0,"maximum":100}"#,
                "Rows to show; none unless said otherwise.",
            ),
        ],
        body: Body::None,
        answer: json("DatasetProfile"),
        problems: &[404, 409, 422],
    },
    Operation {
        id: "GET /v1/datasets/{id}/diff",
        name: "diff_datasets",
        tag: "datasets",
        summary: "Which rows and features changed from a version to another, and why. Tells no value.",
        parameters: &[WHICH, required("with", DATASET, "The other version."), COLUMNS],
        body: Body::None,
        answer: json("DatasetDiff"),
        problems: &[404, 409, 422],
    },
    Operation {
        id: "POST /v1/datasets/{id}/rename",
        name: "rename_dataset",
        tag: "datasets",
        summary: "Give a dataset another name, with all its versions.",
        parameters: &[path("id", NAME, "What it is called.")],
        body: Body::Json("DatasetRenaming"),
        answer: json("DatasetRenamed"),
        problems: &[404, 409, 422, 507],
    },
    Operation {
        id: "POST /v1/datasets/{id}/retire",
        name: "retire_dataset",
        tag: "datasets",
        summary: "Remove the rows of a version for good. How it was made stays written down.",
        parameters: &[path("id", DATASET, "`name@version`.")],
        body: Body::None,
        answer: json("Dataset"),
        problems: &[404, 409, 422, 507],
    },
];
