//! Arguments of `creta access`, `creta person` and `creta session`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Connection;

/// Access for hours.
#[derive(Debug, Subcommand)]
pub(crate) enum AccessCommand {
    /// Ask for a role for some hours. Somebody else has to approve it.
    Request(AccessRequest),
    /// Show your requests and grants, and those that you can decide on.
    List(Connection),
    /// Show one request.
    Show(AccessItem),
    /// Approve somebody else's request, as it stands now.
    Approve(AccessItem),
    /// Deny somebody else's request.
    Deny(AccessItem),
    /// Begin access that was approved: its hours run from now.
    Activate(AccessItem),
    /// Take your own request back.
    Withdraw(AccessItem),
    /// Give your own grant back before its hours are over.
    Return(AccessItem),
    /// Take somebody's grant away, at once.
    Revoke(AccessItem),
    /// Access policies of your own, beside the built-in ones.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Rules by which people and programs see only some rows of a tenant.
    #[command(subcommand)]
    Rows(RowsCommand),
    /// Tags that no longer flow into a computed feature, because two people agreed.
    #[command(subcommand)]
    Declassify(DeclassifyCommand),
    /// Show rights that nobody used for 90 days, uses that only keep a right, and duties in one hand.
    Analyze {
        /// Write a policy that takes away what no holder of a role uses into this file.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Say whether you may do something, which policies decide it, and what you could ask for.
    Explain {
        /// The action, such as query, train, deploy, audit.read.
        action: String,
        /// A feature, `Entity.feature`; can be repeated.
        #[arg(long = "feature", value_name = "FEATURE")]
        features: Vec<String>,
        /// The tenant whose scope it is about; without it, where you belong.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
}

/// Access policies of one's own.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show what holds and what is proposed; with ID, one proposal beside what it would change now.
    Show {
        /// A proposal.
        id: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show what a file would allow more and less, without proposing it.
    Check {
        /// Policies in Cedar, all that are to hold beside the built-in ones.
        file: PathBuf,
        #[command(flatten)]
        connection: Connection,
    },
    /// Propose a file instead of the policies of your own. What allows nothing more takes effect at once.
    Propose {
        /// Policies in Cedar, all that are to hold beside the built-in ones.
        file: PathBuf,
        #[command(flatten)]
        connection: Connection,
    },
    /// Put somebody else's proposal in force, after showing what it changes now.
    Approve(AccessItem),
}

/// Row rules of a tenant.
#[derive(Debug, Subcommand)]
pub(crate) enum RowsCommand {
    /// Show what holds and what is proposed; with ID, one proposal beside what it would change now.
    Show {
        /// A proposal.
        id: Option<String>,
        #[command(flatten)]
        tenant: OfTenant,
    },
    /// Propose a file instead of the rules that hold. What shows nothing more takes effect at once.
    Propose {
        /// Rules in TOML, all that are to hold.
        file: PathBuf,
        /// Why, in a sentence.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        tenant: OfTenant,
    },
    /// Put somebody else's proposal in force, after showing what it changes now.
    Approve {
        /// Id, as `show` shows it.
        id: String,
        #[command(flatten)]
        tenant: OfTenant,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OfTenant {
    /// Whose rows.
    #[arg(long)]
    pub(crate) tenant: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Declassifications of where one belongs.
#[derive(Debug, Subcommand)]
pub(crate) enum DeclassifyCommand {
    /// Show all, and whether each holds now.
    List(Connection),
    /// Propose that a computed feature no longer carries a tag of what it is computed from.
    Propose {
        /// The feature, `Entity.feature`.
        feature: String,
        /// The tag.
        #[arg(long)]
        tag: String,
        /// Why its values no longer tell what the tag protects, in a sentence.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Approve what somebody else proposed, after showing it.
    Approve(AccessItem),
    /// End one, before or after it was approved.
    Withdraw(AccessItem),
    /// Show tags that deploys would take from features whose values are there.
    Removals(Connection),
    /// Agree to such a deploy, after showing what it takes away.
    ApproveRemoval(AccessItem),
}

#[derive(Debug, Args)]
pub(crate) struct AccessRequest {
    /// The role: viewer, data-scientist, developer, operator, security-lead, auditor or administrator.
    #[arg(long)]
    pub(crate) role: String,
    /// Why, in a sentence that says what you want to do.
    #[arg(long)]
    pub(crate) reason: String,
    /// The ticket it is about, such as OPS-1234.
    #[arg(long)]
    pub(crate) ticket: String,
    /// For how many hours, 1 to 8.
    #[arg(long, default_value_t = 1)]
    pub(crate) hours: u8,
    /// The tenant whose scope it is for; without it, where you belong.
    #[arg(long, conflicts_with = "environment")]
    pub(crate) tenant: Option<String>,
    /// For the environment as a whole.
    #[arg(long)]
    pub(crate) environment: bool,
    /// Somebody else who is to get the access.
    #[arg(long = "for", value_name = "PERSON")]
    pub(crate) beneficiary: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct AccessItem {
    /// Id, as `creta access list` shows it.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// People of an environment.
#[derive(Debug, Subcommand)]
pub(crate) enum PersonCommand {
    /// Show everybody who signed in or was provisioned.
    List(Connection),
    /// Give somebody a home and roles, instead of those they have.
    Assign {
        /// Id, as `creta person list` shows it.
        id: String,
        /// A role; can be repeated. Without any, the person keeps none.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// The tenant whose user this is; without it, staff of whoever runs the environment.
        #[arg(long)]
        tenant: Option<String>,
        /// Another account of the same human, so that neither approves the other's requests.
        #[arg(long, value_name = "PERSON")]
        same_human_as: Option<String>,
        /// Which work of theirs needs the roles that are new to them, in a sentence; asked for outside class development.
        #[arg(long, value_name = "TEXT")]
        need: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Invite somebody of a tenant that has no provider: shows a link, once, by which they choose a password. Inviting somebody
    /// anew ends the password, second factor and sessions that they had.
    Invite {
        /// Their address; becomes the name that they sign in with.
        email: String,
        /// The tenant.
        #[arg(long)]
        tenant: String,
        /// A role; can be repeated.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// Which work of theirs needs the roles, in a sentence; asked for outside class development.
        #[arg(long)]
        need: Option<String>,
        /// Where it takes two people: why, in a sentence. Then this asks somebody else to agree, and invites nobody yet.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Say that somebody whom another person invited is a human of their own: until then they approve nothing of the inviter's.
    Vouch(AccessItem),
    /// Forget the second factor of somebody who lost it: their sessions end, and they register another at their next sign-in.
    ResetAuthenticators {
        /// Where it takes two people: why, in a sentence. Then this asks somebody else to agree, and forgets nothing yet.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        item: AccessItem,
    },
    /// Show what you asked others to agree to, and what you may agree to.
    Requests(Connection),
    /// Agree that somebody else invites a person or forgets their second factor.
    Agree(AccessItem),
    /// End an account whose person left: sessions, grants and roles end now. It stays ended, whatever the directory says.
    Leave(AccessItem),
    /// Take back that an account was ended: whom the directory vouches for gets a new one.
    Readmit(AccessItem),
}

/// Sessions of the person who asks.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Show your sessions.
    List(Connection),
    /// End a session.
    End(AccessItem),
}
