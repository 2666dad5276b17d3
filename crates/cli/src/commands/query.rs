//! `creta query`: a few features of one thing, with age, state and source.

use std::collections::BTreeMap;

use creta_engine::{Instants, QueryAnswer, QueryColumn, QueryRequest};
use creta_model::{CellState, FeaturePath};

use super::connect;
use crate::args::Query;
use crate::failure::Failure;
use crate::terminal::{Align, Terminal, age, table};

pub(crate) fn run(query: Query, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let request = QueryRequest {
        inputs: inputs(&query.input)?,
        outputs: query.output,
        query: query.query,
        as_of: query.as_of.map(Instants::One),
        ..QueryRequest::default()
    };
    let (server, _) = connect(&query.connection)?;
    let answer: QueryAnswer = server.post("/v1/query", &request)?;
    terminal.show(&answer, || text(&answer));
    Ok(())
}

/// `Flight.carrier=UA` is text, `Flight.id=7` a number: JSON where it reads as JSON, `"7"` for text that looks like it.
fn inputs(given: &[String]) -> Result<BTreeMap<FeaturePath, Vec<serde_json::Value>>, Failure> {
    let mut inputs = BTreeMap::new();
    for text in given {
        let (path, value) = text.split_once('=').ok_or_else(|| {
            let message = format!("`--input` needs a path and a value, `{text}` has no `=`");
            Failure::usage("request/bad-input", message, "write for example `--input Flight.carrier=UA`")
        })?;
        let path = FeaturePath::parse(path)
            .map_err(|error| Failure::usage("request/bad-input", error.to_string(), "write `Entity.feature=VALUE`"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        if inputs.insert(path.clone(), vec![value]).is_some() {
            let message = format!("`{path}` is given twice");
            return Err(Failure::usage("request/bad-input", message, "give each feature once"));
        }
    }
    Ok(inputs)
}

fn text(answer: &QueryAnswer) -> String {
    let as_of: Vec<String> = answer.as_of.iter().map(ToString::to_string).collect();
    let headings = [("feature", Align::Left), ("value", Align::Left), ("age", Align::Right), ("source", Align::Left)];
    let mut rows = Vec::new();
    for row in 0..answer.rows {
        for column in &answer.columns {
            rows.push(vec![
                column.feature.to_string(),
                cell(column, row),
                cell_age(column, row),
                column.source.clone(),
            ]);
        }
    }
    let known_to = answer.known_to.map(|at| format!(", by what had arrived until {at}")).unwrap_or_default();
    format!("as of {}{known_to}\n\n{}", as_of.join(", "), table(&headings, &rows))
}

/// The value, or why there is none.
fn cell(column: &QueryColumn, row: usize) -> String {
    match column.states.get(&row) {
        None | Some(CellState::Value) => match &column.values[row] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        },
        Some(CellState::Error) => match column.errors.get(&row) {
            Some(error) => format!("error: {} ({})", error.message, error.code),
            None => "error".to_owned(),
        },
        Some(state) => state.as_str().to_owned(),
    }
}

fn cell_age(column: &QueryColumn, row: usize) -> String {
    let micros = column.ages_us.as_ref().and_then(|ages| *ages.get(row)?);
    micros.map(age).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_read_as_json_or_as_text() {
        let given = ["A.text=UA", "A.number=7", "A.quoted=\"7\"", "A.equals=a=b", "A.null=null"].map(str::to_owned);
        let inputs = inputs(&given).expect("valid");
        let value = |path: &str| inputs[&FeaturePath::parse(path).expect("path")][0].clone();
        assert_eq!(value("A.text"), "UA");
        assert_eq!(value("A.number"), 7);
        assert_eq!(value("A.quoted"), "7");
        assert_eq!(value("A.equals"), "a=b");
        assert!(value("A.null").is_null());
    }

    #[test]
    fn bad_inputs_say_what_to_write() {
        for bad in [vec!["A.b"], vec!["nonsense=1"], vec!["A.b=1", "A.b=2"]] {
            let given: Vec<String> = bad.into_iter().map(str::to_owned).collect();
            assert_eq!(inputs(&given).expect_err("refused").problems[0].code, "request/bad-input");
        }
    }

    #[test]
    fn answers_show_value_state_age_and_source() {
        let answer: QueryAnswer = serde_json::from_value(serde_json::json!({
            "rows": 1, "as_of": ["2013-07-01T12:00:00Z"], "plan": "sha256:0",
            "columns": [
                {"feature": "Flight.risk", "type": "float", "values": [0.25], "source": "resolver:risk"},
                {"feature": "Flight.plane.year", "type": "int", "values": [null], "states": {"0": "missing"},
                 "source": "facts"},
                {"feature": "Flight.dest", "type": "str", "values": ["SFO"], "ages_us": [3_720_000_000_i64],
                 "source": "facts"},
                {"feature": "Flight.bad", "type": "int", "values": [null], "states": {"0": "error"},
                 "errors": {"0": {"code": "arithmetic/division-by-zero", "message": "division by zero"}},
                 "source": "expression"}
            ]
        }))
        .expect("an answer");
        assert_eq!(
            text(&answer),
            "as of 2013-07-01T12:00:00Z\n\n\
             feature            value                                                    age  source\n\
             Flight.risk        0.25                                                          resolver:risk\n\
             Flight.plane.year  missing                                                       facts\n\
             Flight.dest        SFO                                                    1h 2m  facts\n\
             Flight.bad         error: division by zero (arithmetic/division-by-zero)         expression"
        );
    }
}
