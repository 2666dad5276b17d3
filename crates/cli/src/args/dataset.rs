//! `creta dataset`: training sets that are kept on the server under a name.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Connection;

#[derive(Debug, Subcommand)]
pub(crate) enum DatasetCommand {
    /// Show the datasets, with their versions.
    List(Connection),
    /// Show how a version was made and out of what.
    Describe(Dataset),
    /// Show figures of the columns of a version, and its first rows, as you get them.
    Profile(DatasetProfile),
    /// Show which rows and features changed between two versions, and why.
    Diff(DatasetDiff),
    /// Write the rows of a version to a file, as you get them.
    Download(DatasetDownload),
    /// Give a dataset another name, with all its versions.
    Rename {
        /// What it is called.
        #[arg(value_name = "NAME")]
        from: String,
        /// What it shall be called.
        #[arg(value_name = "NEW_NAME")]
        to: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Remove the rows of a version for good. How it was made stays written down.
    Retire(Dataset),
}

#[derive(Debug, Args)]
pub(crate) struct Dataset {
    /// `NAME`, the newest version that is kept, or `NAME@VERSION`.
    #[arg(value_name = "NAME[@VERSION]")]
    pub(crate) dataset: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct DatasetProfile {
    #[command(flatten)]
    pub(crate) dataset: Dataset,
    /// Columns to look at; all of them unless said otherwise.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    /// Rows to show.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub(crate) preview: usize,
}

#[derive(Debug, Args)]
pub(crate) struct DatasetDiff {
    /// The version before: `NAME@VERSION`.
    #[arg(value_name = "BEFORE")]
    pub(crate) left: String,
    /// The version after: `NAME`, `NAME@VERSION`.
    #[arg(value_name = "AFTER")]
    pub(crate) right: String,
    /// Columns to compare; all of them unless said otherwise.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct DatasetDownload {
    #[command(flatten)]
    pub(crate) dataset: Dataset,
    /// File to write: Parquet, or an Arrow stream if its name ends with `.arrows`.
    #[arg(long, value_name = "FILE", required_unless_present = "sink", conflicts_with = "sink")]
    pub(crate) out: Option<PathBuf>,
    /// Sink of your tenant that the server writes the rows to, instead of handing them out.
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,
    /// Columns to write; all of them unless said otherwise.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    /// Add a `name__state` column beside each feature.
    #[arg(long)]
    pub(crate) states: bool,
}
