//! Arguments about data that is nobody's, and about what may be told of somebody's.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use creta_model::{FeaturePath, Instant};

use super::{Connection, Project};

/// The form of files of facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    Parquet,
    /// Arrow IPC.
    Arrow,
    /// Columns of lists, structs, vectors and bytes cannot be written.
    Csv,
}

impl TableFormat {
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Csv => "csv",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Synth {
    #[command(flatten)]
    pub(crate) project: Project,
    /// Rows of each entity; `Entity=N` for a single one.
    #[arg(long, default_value = "100", value_name = "N")]
    pub(crate) rows: Vec<String>,
    /// The same seed gives the same data.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
    /// Earliest event time [default: 2025-01-01T00:00:00Z].
    #[arg(long, value_name = "INSTANT", value_parser = Instant::parse)]
    pub(crate) from: Option<Instant>,
    /// Latest event time [default: 2025-12-31T23:59:59.999999Z].
    #[arg(long, value_name = "INSTANT", value_parser = Instant::parse)]
    pub(crate) to: Option<Instant>,
    /// Share of nulls among values that may be null.
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    pub(crate) nulls: f64,
    /// Form of the files.
    #[arg(long, value_enum, default_value_t = TableFormat::Parquet)]
    pub(crate) format: TableFormat,
    /// Folder to write `<Entity>.<format>` into; it is made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Statistics {
    /// `Entity.feature`, with the window of a windowed one: `User.spent[7d]`.
    #[arg(value_name = "PATH", value_parser = FeaturePath::parse)]
    pub(crate) feature: FeaturePath,
    /// Whose data it is about.
    #[arg(long)]
    pub(crate) tenant: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
