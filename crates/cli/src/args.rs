//! The command line as types.

mod access;
mod break_glass;
mod dataset;
mod device;
mod disclosure;
mod intake;
mod restore;
mod review;
mod trust;
mod witness;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use creta_iam::Role;
use creta_model::{EnvironmentClass, FeaturePath, Instant, InvalidName, MemorySize, Name, Span};
use creta_proof::Time;
use creta_server::ComponentRole;

pub(crate) use self::access::{
    AccessCommand, AccessItem, AccessRequest, DeclassifyCommand, OfTenant, PersonCommand, PolicyCommand, RowsCommand,
    SessionCommand,
};
pub(crate) use self::break_glass::{BreakGlassCommand, FindingArg, HalfShown};
pub(crate) use self::dataset::{Dataset, DatasetCommand, DatasetDownload};
pub(crate) use self::device::{DeviceAgent, DeviceCommand, DeviceImport};
pub(crate) use self::disclosure::{Statistics, Synth, TableFormat};
pub(crate) use self::intake::{IntakeCommand, IntakeInit};
pub(crate) use self::restore::{BackupCommand, RestoreCommand, RestoreDraw};
pub(crate) use self::review::{ReviewCommand, ReviewVerdict};
pub(crate) use self::trust::{
    ArtefactAdd, ArtefactCommand, ExceptionCommand, ExceptionDecide, OrganisationMode, Pack, ReportVerdict,
    SecurityTxtCommand, TrustCommand, TrustReportsCommand,
};
pub(crate) use self::witness::{Monitor, ServerWitnessCommand, WitnessCommand};

/// Features for machine learning: defined once, the same online and in training sets.
#[derive(Debug, Parser)]
#[command(name = "creta", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// Write the result as one line of JSON on stdout; problems too.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new project folder.
    Init(Init),
    /// Run a server.
    #[command(subcommand)]
    Server(ServerCommand),
    /// Keys of a data folder.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Sign in, or store a service account's credentials: makes a profile.
    Login(Login),
    /// End your session and forget it on this machine.
    Logout(Connection),
    /// Choose another password, if you sign in with one; your other sessions end.
    Password(Connection),
    /// Show who you are to a server, and what is true of you now.
    Whoami(Connection),
    /// Ask for access for hours, approve it, begin it, end it.
    #[command(subcommand)]
    Access(AccessCommand),
    /// People of a server's environment.
    #[command(subcommand)]
    Person(PersonCommand),
    /// Your sessions.
    #[command(subcommand)]
    Session(SessionCommand),
    /// The computers that you work from.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// The sealed emergency account, for when nothing else works.
    #[command(subcommand)]
    BreakGlass(BreakGlassCommand),
    /// Copies of everything that an environment has sealed, without any key.
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Going on from an older copy, which two people approve.
    #[command(subcommand)]
    Restore(RestoreCommand),
    /// Reviews of access: decide who keeps what.
    #[command(subcommand)]
    Review(ReviewCommand),
    /// Tenants of a server's environment.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Service accounts of a tenant.
    #[command(subcommand)]
    ServiceAccount(ServiceAccountCommand),
    /// Credentials that belong to nobody: whoever uses one found it where nobody should have looked.
    #[command(subcommand)]
    Canary(CanaryCommand),
    /// Check a project without a server: types, names, relations, whether everything can be produced.
    Check(Check),
    /// Explain how a query would be answered.
    Plan(Plan),
    /// Show what deploying a project would change.
    Diff(Deploy),
    /// Make a project's definitions the active ones.
    Deploy(Deploy),
    /// Load facts from a file or from the project's sources.
    Ingest(Ingest),
    /// Ask for features now or at an instant.
    Query(Query),
    /// Make a training set: features beside the rows of a spine, each at its own instant.
    Train(Train),
    /// Training sets that the server keeps under a name.
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Make data that has the shape of a project's definitions and nobody's values.
    Synth(Synth),
    /// Show how many entities have a feature, in which ranges: counts in groups, never a value.
    Statistics(Statistics),
    /// Replay the facts and compare online with offline answers.
    Verify(Verify),
    /// Read and prove the audit log.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Run a witness, which cosigns other people's logs, or watch a log and its witness.
    #[command(subcommand)]
    Witness(WitnessCommand),
    /// What is promised, whether it holds now, and what shows it.
    #[command(subcommand)]
    Trust(TrustCommand),
    /// Take security reports in a process of its own, which runs on when the server does not.
    #[command(subcommand)]
    Intake(IntakeCommand),
    /// Write a completion script for a shell.
    Completion {
        /// Which shell.
        shell: Shell,
    },
}

/// Which server, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Profile to use.
    #[arg(long, env = "CRETA_PROFILE", default_value = "default", value_name = "NAME")]
    pub(crate) profile: String,
}

/// Which project, and which Python reads it.
#[derive(Debug, Args)]
pub(crate) struct Project {
    /// Folder with `creta.toml`.
    #[arg(default_value = ".", value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// Interpreter that imports the project [default: `CRETA_PYTHON`, the active virtual environment, `python3`].
    #[arg(long, value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Folder to make.
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// Write the definitions from the columns of this Parquet file.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Name of the entity [default: from the file's name].
    #[arg(long, requires = "from", value_name = "NAME", value_parser = name)]
    pub(crate) entity: Option<Name>,
    /// Column that tells things apart; again for each part of a composite key.
    #[arg(long, requires = "from", value_name = "COLUMN")]
    pub(crate) key: Vec<String>,
    /// Column that says when a row was true.
    #[arg(long, requires = "from", value_name = "COLUMN")]
    pub(crate) event_time: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Make a data folder: keys, certificate, the first administrator.
    Init {
        /// Folder to make; empty or not there yet.
        #[arg(long, env = "CRETA_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// Environment that the server is.
        #[arg(long, default_value = "dev", value_name = "NAME")]
        environment: String,
        /// What rules people and programs work under: `development`, `staging` or `production`.
        #[arg(long, default_value_t, value_name = "CLASS", value_parser = EnvironmentClass::parse)]
        class: EnvironmentClass,
        /// Account or project at a provider that the environment has to itself.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// File with the fingerprints of other environments, which may share nothing with this one; again for several.
        #[arg(long, value_name = "FILE")]
        known: Vec<PathBuf>,
        /// Address to listen on.
        #[arg(long, value_name = "HOST:PORT")]
        listen: Option<std::net::SocketAddr>,
        /// Who runs this, as the trust page says.
        #[arg(long, value_name = "NAME")]
        organisation: Option<String>,
        /// Whom the organisation serves: other organisations, or itself.
        #[arg(long, value_enum, default_value = "in-house", requires = "organisation")]
        mode: OrganisationMode,
        /// Say on every page that this is a demonstration.
        #[arg(long, requires = "organisation")]
        demonstration: bool,
        /// Where security issues can be reported: `mailto:` or `https:`; again for several.
        #[arg(long, value_name = "ADDRESS")]
        security_contact: Vec<String>,
    },
    /// Serve in the foreground until interrupted.
    Start {
        /// Data folder.
        #[arg(long, env = "CRETA_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// Another address than the folder's configuration names; port 0 takes a free one.
        #[arg(long, value_name = "HOST:PORT")]
        listen: Option<std::net::SocketAddr>,
    },
    /// Ask a server how it is.
    Status(Connection),
    /// Components of the environment, and their certificates. The server must not run.
    #[command(subcommand)]
    Component(ComponentCommand),
    /// Witnesses of the audit log, which other people run.
    #[command(subcommand)]
    Witness(ServerWitnessCommand),
    /// Give a member of staff their first roles, with the root key. The server must not run.
    Appoint {
        /// Data folder of the server.
        #[arg(long, env = "CRETA_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// The identity provider, exactly as it names itself.
        #[arg(long, value_name = "URL")]
        issuer: String,
        /// Who they are to the provider: the claim `sub`.
        #[arg(long, value_name = "SUBJECT")]
        subject: String,
        /// An address to be recognised by.
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// A role of people; again for several.
        #[arg(long = "role", value_name = "ROLE", required = true, value_parser = Role::parse_of_person)]
        roles: Vec<Role>,
        /// Which work of theirs needs the roles, in a sentence; asked for outside class development.
        #[arg(long, value_name = "TEXT")]
        need: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ComponentCommand {
    /// Give a component a certificate of this environment; again to renew it.
    Add {
        /// Lowercase letters, digits and hyphens.
        name: String,
        /// What it is for: `witness`, `monitor`, `intake`, `worker` or `collector`.
        #[arg(long, value_name = "ROLE", value_parser = ComponentRole::parse)]
        role: ComponentRole,
        /// Data folder of the server.
        #[arg(long, env = "CRETA_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// Folder to write `NAME.pem`, `NAME.key` and `ca.pem` to.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Show the components.
    List {
        /// Data folder of the server.
        #[arg(long, env = "CRETA_DATA", value_name = "FOLDER")]
        data: PathBuf,
    },
    /// End a component: its certificates are refused from the next start on.
    Revoke {
        /// As `list` shows it.
        name: String,
        /// Data folder of the server.
        #[arg(long, env = "CRETA_DATA", value_name = "FOLDER")]
        data: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Show what tells this environment from others, for their `--known`. Nothing in it is secret.
    Fingerprint {
        /// Data folder.
        #[arg(long, env = "CRETA_DATA", value_name = "FOLDER")]
        data: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Name of the profile.
    #[arg(long, env = "CRETA_PROFILE", default_value = "default", value_name = "NAME")]
    pub(crate) name: String,
    /// Credentials file as `creta server init` or `creta service-account create` writes it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["client_id", "secret_file", "device"])]
    pub(crate) from: Option<PathBuf>,
    /// Address of the server: `https://HOST:PORT`. By default that of the profile, if there is one.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Certificate authority of the server, in PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Name of a service account. Without it you sign in yourself, in a browser.
    #[arg(long, value_name = "ID", requires = "secret_file", conflicts_with = "device")]
    pub(crate) client_id: Option<String>,
    /// File with its secret, readable by its owner only.
    #[arg(long, value_name = "FILE", requires = "client_id")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Sign in with a browser on another machine: shows an address and a code.
    #[arg(long)]
    pub(crate) device: bool,
    /// Register a new authenticator for your sign-ins.
    #[arg(long, conflicts_with_all = ["device", "client_id", "from"])]
    pub(crate) register_authenticator: bool,
    /// Only print the address to open, and do not start a browser.
    #[arg(long)]
    pub(crate) no_browser: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Make a tenant, with keys and stores of its own.
    Create {
        /// Lowercase letters, digits and hyphens.
        name: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show the tenants.
    List(Connection),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceAccountCommand {
    /// Make a service account; its secret is written to a file, once.
    Create {
        /// Lowercase letters, digits and hyphens.
        name: String,
        /// Tenant it belongs to.
        #[arg(long, required_unless_present = "environment")]
        tenant: Option<String>,
        /// Of the environment itself, such as the one by which the organisation's directory provisions people.
        #[arg(long, conflicts_with = "tenant")]
        environment: bool,
        /// What it may do.
        #[arg(long)]
        role: String,
        /// Its tokens are given and taken with proof of a key alone, so that a copied one is worth nothing.
        #[arg(long)]
        require_proof: bool,
        /// File to write the credentials to, readable by its owner only; must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show the service accounts of a tenant, or of the environment.
    List {
        /// Which tenant; without it the environment's own.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Give a service account a new secret; the present one stays good for some hours.
    Rotate {
        /// Client id, as `list` shows it.
        client_id: String,
        /// File to write the new credentials to, readable by its owner only; must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// How many hours the present secret stays good; 0 ends it at once.
        #[arg(long, default_value_t = 24)]
        overlap_hours: u32,
        /// Its tokens take proof of a key from now on, or with `=false` no more; without it, as before.
        #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        require_proof: Option<bool>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Ask to be shown the secret of an account that can do more than you. Somebody else has to approve it.
    Request {
        /// Lowercase letters, digits and hyphens.
        name: String,
        /// Tenant it belongs to.
        #[arg(long, required_unless_present = "environment")]
        tenant: Option<String>,
        /// Of the environment itself: a provisioner, by which the organisation's directory provisions people.
        #[arg(long, conflicts_with = "tenant")]
        environment: bool,
        /// What a new account may do.
        #[arg(long, required_unless_present_any = ["rotate", "environment"])]
        role: Option<String>,
        /// A new secret of an account that is there.
        #[arg(long)]
        rotate: bool,
        /// Why, in a sentence that says what it is for.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show your requests, and those that you can approve.
    Requests(Connection),
    /// Agree that somebody else is shown a secret.
    Approve {
        /// Id, as `requests` shows it.
        id: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// End a service account and its tokens.
    Revoke {
        /// Client id, as `list` shows it.
        client_id: String,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CanaryCommand {
    /// Plant one: its credentials are written to a file in the same form as real ones, once.
    Token {
        /// Lowercase letters, digits and hyphens; a name that looks worth stealing.
        name: String,
        /// Tenant whose it seems to be, and whose log tells of it.
        #[arg(long)]
        tenant: String,
        /// File to write the credentials to, readable by its owner only; must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show a tenant's planted credentials, and how often each was used.
    List {
        /// Which tenant.
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Take one up again: its use is told to nobody any more.
    End {
        /// Client id, as `list` shows it.
        client_id: String,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) project: Project,
    /// Environment whose resolvers answer the named queries.
    #[arg(long, default_value = "dev", value_name = "NAME")]
    pub(crate) environment: String,
    /// Treat warnings as problems.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Treat resolvers that run in Python as problems.
    #[arg(long)]
    pub(crate) require_compiled: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Deploy {
    #[command(flatten)]
    pub(crate) project: Project,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Named query: `name` or `name@version`.
    #[arg(value_name = "QUERY", required_unless_present = "output", conflicts_with_all = ["output", "input"])]
    pub(crate) query: Option<String>,
    /// Feature that would be given.
    #[arg(long, value_name = "PATH", value_parser = FeaturePath::parse, value_delimiter = ',')]
    pub(crate) input: Vec<FeaturePath>,
    /// Feature that would be asked for.
    #[arg(long, value_name = "PATH", value_parser = FeaturePath::parse, value_delimiter = ',')]
    pub(crate) output: Vec<FeaturePath>,
    /// Explain by the project in this folder.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub(crate) project: PathBuf,
    /// Interpreter that imports the project.
    #[arg(long, value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
    /// Environment whose resolvers answer.
    #[arg(long, default_value = "dev", value_name = "NAME")]
    pub(crate) environment: String,
    /// Explain by what is deployed, not by a project folder.
    #[arg(long, conflicts_with_all = ["project", "python"])]
    pub(crate) deployed: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Ingest {
    /// Source of the project to load; again for several.
    #[arg(long, value_name = "NAME", conflicts_with = "all", value_parser = name)]
    pub(crate) source: Vec<Name>,
    /// Load all sources of the project.
    #[arg(long)]
    pub(crate) all: bool,
    /// Folder of the project whose sources are loaded.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub(crate) project: PathBuf,
    /// Interpreter that imports the project.
    #[arg(long, value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
    /// Parquet file of facts.
    #[arg(long, value_name = "FILE", requires = "entity", conflicts_with_all = ["source", "all"])]
    pub(crate) file: Option<PathBuf>,
    /// Entity that the file's facts are about.
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) entity: Option<Name>,
    /// Column that says when a fact was true.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) event_time: Option<String>,
    /// When all facts of the file were true, for a file without such a column: `2026-01-01T00:00:00Z`.
    #[arg(long, value_name = "INSTANT", value_parser = Instant::parse, conflicts_with = "event_time")]
    pub(crate) event_time_constant: Option<Instant>,
    /// Column that says when a fact was known.
    #[arg(long, value_name = "COLUMN", conflicts_with = "arrival_delay")]
    pub(crate) arrival: Option<String>,
    /// How long after their event time facts were known: `6h`.
    #[arg(long, value_name = "SPAN", value_parser = Span::parse)]
    pub(crate) arrival_delay: Option<Span>,
    /// IANA zone of datetimes without one.
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    /// Known value: `Flight.carrier=UA`; JSON where it is not text.
    #[arg(long, short, value_name = "PATH=VALUE")]
    pub(crate) input: Vec<String>,
    /// Feature to ask for; again or with commas for several.
    #[arg(long, short, value_name = "PATH", value_parser = FeaturePath::parse, value_delimiter = ',')]
    pub(crate) output: Vec<FeaturePath>,
    /// Named query instead of outputs: `name` or `name@version`.
    #[arg(long = "name", value_name = "QUERY", conflicts_with = "output", required_unless_present = "output")]
    pub(crate) query: Option<String>,
    /// Instant to answer for [default: now].
    #[arg(long, value_name = "INSTANT", value_parser = Instant::parse)]
    pub(crate) as_of: Option<Instant>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Train {
    /// Parquet file with a row for each question.
    #[arg(long, value_name = "FILE")]
    pub(crate) spine: PathBuf,
    /// Column of the spine that holds each row's instant.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) as_of: String,
    /// Features to add, in this order.
    #[arg(long, value_name = "PATH", value_parser = FeaturePath::parse, value_delimiter = ',', required = true)]
    pub(crate) features: Vec<FeaturePath>,
    /// Column of the spine that holds a feature's known value: `Flight.carrier=carrier`.
    #[arg(long, value_name = "PATH=COLUMN")]
    pub(crate) input: Vec<String>,
    /// Add a `name__state` column beside each feature.
    #[arg(long)]
    pub(crate) states: bool,
    /// What the server may take at most while it builds the training set, all it holds included: `2GiB`. Beyond that, parts wait
    /// in sealed files.
    #[arg(long, value_name = "SIZE", value_parser = MemorySize::parse)]
    pub(crate) memory: Option<MemorySize>,
    /// Look at so many rows of the spine, or at a share of them below 1.
    #[arg(long, value_name = "ROWS|SHARE")]
    pub(crate) sample: Option<f64>,
    /// Which rows are drawn: the same seed takes the same rows.
    #[arg(long, default_value_t = 0, value_name = "N", requires = "sample")]
    pub(crate) seed: u64,
    /// Features without whose value a row is left out.
    #[arg(long, value_name = "PATH", value_parser = FeaturePath::parse, value_delimiter = ',')]
    pub(crate) required: Vec<FeaturePath>,
    /// Parquet file to write.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["sink", "name", "audit_leakage"], conflicts_with_all = ["sink", "name"])]
    pub(crate) out: Option<PathBuf>,
    /// Sink of your tenant that the server writes the training set to, instead of handing it out.
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    pub(crate) sink: Option<String>,
    /// Keep the training set on the server, as the next version of the dataset of this name.
    #[arg(long, value_name = "NAME", conflicts_with = "states")]
    pub(crate) name: Option<String>,
    /// Build nothing: look for what a model could learn of the set and not know later. Ends with status 1 if a leak is certain.
    #[arg(long, conflicts_with_all = ["name", "sink", "out", "states"])]
    pub(crate) audit_leakage: bool,
    /// Column of the spine that is to be learned, and the feature that it holds values of, if it is one:
    /// `late=Flight.late`.
    #[arg(long, value_name = "COLUMN[=PATH]", requires = "audit_leakage")]
    pub(crate) label: Vec<String>,
    /// Tags that the spine's own columns carry in the dataset, `none` for no tag; unless said otherwise every tag of which you
    /// get values.
    #[arg(long, value_name = "TAG", value_delimiter = ',', requires = "name")]
    pub(crate) spine_tags: Option<Vec<String>>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Cells to compare at least.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub(crate) samples: u64,
    /// Which rows and instants are drawn.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show every access to the data and definitions of your own scope: who, when, which action, which features.
    Access {
        /// Look at entries from this index on.
        #[arg(long, default_value_t = 0, value_name = "INDEX")]
        start: u64,
        /// Write a proof file for each entry shown, `<index>.tlog-proof`, into this folder.
        #[arg(long, value_name = "FOLDER")]
        prove: Option<PathBuf>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Have the server check its whole log; with --export, check an exported log without a server.
    Verify(AuditVerify),
    /// Show entries, the latest last.
    Show {
        /// How many.
        #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
        /// Position of the first, from 0 [default: so that the latest are shown].
        #[arg(long, value_name = "N")]
        start: Option<u64>,
        /// As events of OCSF, one line of JSON each, for a SIEM.
        #[arg(long)]
        ocsf: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Download the whole log as static files, verifying it on the way.
    ///
    /// Where FOLDER holds an older export, it is brought up to date, provided the log continues it.
    Export {
        /// Folder to write.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// The log's key [default: that of the older export, or else the one the server says].
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Write a proof that an entry is in the log, or that the log continues an older checkpoint.
    Prove {
        /// Position of the entry, from 0.
        #[arg(required_unless_present = "since", conflicts_with = "since")]
        entry: Option<u64>,
        /// File with an older checkpoint of the log, that the newest has to continue.
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
        /// File to write the proof to.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        connection: Connection,
    },
    /// Declare that the log goes on from an older copy, and write a notice for each witness. The server must not run.
    Fork {
        /// Data folder.
        #[arg(long, env = "CRETA_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// Why; the log keeps its digest, the notice its words.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Folder to write the notices to.
        #[arg(long, default_value = ".", value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Go on from an older copy of a tenant's stores, or of the control plane's documents. The server must not run.
    AcceptOlder {
        /// Data folder.
        #[arg(long, env = "CRETA_DATA", value_name = "FOLDER")]
        data: PathBuf,
        /// Whose stores [default: the control plane's documents].
        #[arg(long)]
        tenant: Option<String>,
        /// Why; the log keeps its digest.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Check a proof without a server, believing nothing but the log's key.
    Check {
        /// File that `prove` wrote.
        proof: PathBuf,
        /// The log's key, as `creta server init` showed it.
        #[arg(long, value_name = "KEY")]
        key: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerify {
    /// Folder that `creta audit export` wrote; no server is asked.
    #[arg(long, value_name = "FOLDER", requires = "key")]
    pub(crate) export: Option<PathBuf>,
    /// The log's key, as `creta server init` showed it.
    #[arg(long, value_name = "KEY", requires = "export")]
    pub(crate) key: Option<String>,
    /// File with an older checkpoint, kept elsewhere, that the log has to continue.
    #[arg(long, value_name = "FILE", requires = "export")]
    pub(crate) since: Option<PathBuf>,
    /// Key of a witness that must have cosigned; again for each.
    #[arg(long, value_name = "KEY", requires = "export")]
    pub(crate) witness: Vec<String>,
    /// Refuse cosignatures before this time, such as `2026-03-01T12:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = time, requires = "witness")]
    pub(crate) witnessed_after: Option<Time>,
    /// Accept that this entry is earlier than the one before it; again for each.
    #[arg(long, value_name = "N", requires = "export")]
    pub(crate) accept_set_back: Vec<u64>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

fn name(text: &str) -> Result<Name, InvalidName> {
    Name::parse(text)
}

fn time(text: &str) -> Result<Time, String> {
    Time::parse(text).ok_or_else(|| "write a time in UTC like `2026-03-01T12:00:00Z`".to_owned())
}
