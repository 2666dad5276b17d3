//! What a run answers: one column per feature asked, one row per row of the request, in its order (rule S21).

use arrow::array::Int64Array;
use creta_model::{FeaturePath, Type};
use creta_planner::Origin;

use crate::column::CellColumn;

/// One feature's answer.
#[derive(Debug, Clone)]
pub struct AnswerColumn {
    /// Which feature.
    pub path: FeaturePath,
    /// Type of its values.
    pub ty: Type,
    /// Where its cells come from.
    pub origin: Origin,
    /// One cell per row of the request.
    pub cells: CellColumn,
    /// `as_of` minus the event time of the fact behind each cell, in microseconds; null where no fact stands behind it.
    /// Absent when the column does not come from facts.
    pub ages: Option<Int64Array>,
}

/// The answer to one request (rule S35).
#[derive(Debug, Clone)]
pub struct Answer {
    /// In the order of the request.
    pub columns: Vec<AnswerColumn>,
    /// Rows of the request, also when nothing was asked.
    pub rows: usize,
}

impl Answer {
    /// The column of a feature, by the path it was asked by.
    pub fn find(&self, path: &FeaturePath) -> Option<&AnswerColumn> {
        self.columns.iter().find(|column| column.path == *path)
    }
}
