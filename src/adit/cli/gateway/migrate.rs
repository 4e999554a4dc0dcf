//! `adit gateway migrate`: the platform from one database to another. What is asked is read here; what is moved
//! is known to the gateway alone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use crate::cli::files;
use adit_core::config::DatabaseUrl;
use adit_gateway::database;
use adit_gateway::migrate::{MigrateError, MovedTable, Side, TakenBack, migrate, take_back};
use adit_gateway::platform::DATABASE;
use adit_net::host::privilege;
use adit_net::identity::time::HostClock;
use adit_observe::print;

const SQLITE: &str = "sqlite:";

/// Moves every row, reads both sides again and compares them. From then on no gateway and no `adit admin` uses the
/// source any more. On an error the target is left as empty as it was, or refused until the same command has finished
/// the move; of the source no row is changed, save that this build brings its tables up to date.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where the platform is: `sqlite:` and a state folder or database file, a `postgres://` URL, or the path of a
    /// file (mode 0600) that holds one; a URL typed here can be seen by others on this host
    #[arg(long, value_name = "PLACE", required_unless_present = "take_back")]
    from: Option<String>,
    /// Where it is to be; must be empty. As with --from
    #[arg(long, value_name = "PLACE", required_unless_present = "take_back")]
    to: Option<String>,
    /// Instead: serve a platform again where it was moved away from, as it was then. What was done since where it was
    /// moved to is not in it; nobody may serve that one any more
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["from", "to"])]
    take_back: Option<String>,
}

/// What was typed, before any file is read.
enum Place<'a> {
    Sqlite(&'a Path),
    Url(&'a str),
    /// Holds a URL.
    UrlFile(&'a Path),
}

impl<'a> Place<'a> {
    fn of(text: &'a str) -> Self {
        match text.strip_prefix(SQLITE) {
            Some(path) => Self::Sqlite(Path::new(path)),
            None if DatabaseUrl::is_meant_by(text) => Self::Url(text),
            None => Self::UrlFile(Path::new(text)),
        }
    }

    /// Acts as the user whose state folder or file it is.
    fn act_as_owner(&self) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(path) => {
                Ok(privilege::act_as_owner(path, &folder(path).unwrap_or_else(|| (*path).into()))?)
            }
            Self::Url(_) | Self::UrlFile(_) => Ok(()),
        }
    }

    fn side(&self) -> anyhow::Result<Side> {
        match self {
            Self::Sqlite(path) => Ok(folder(path).map_or_else(|| Side::File((*path).into()), Side::State)),
            Self::Url(url) => Ok(Side::Postgres(url.parse()?)),
            Self::UrlFile(path) => Ok(Side::Postgres(database::read_url(path)?)),
        }
    }
}

/// Returns the state folder that is meant; `None` for a database file elsewhere.
fn folder(path: &Path) -> Option<PathBuf> {
    if path.file_name().is_some_and(|name| name == DATABASE) {
        let folder = files::folder(path);
        return Some(if folder == Path::new("") { ".".into() } else { folder.into() });
    }
    (!path.is_file()).then(|| path.into())
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let said = match arguments {
        Arguments { take_back: Some(place), .. } => {
            taken_back(&block_on(take_back(&named(place, "--take-back")?))?)
        }
        Arguments { from: Some(from), to: Some(to), .. } => {
            let (from, to) = (Place::of(from), Place::of(to));
            from.act_as_owner().context("--from")?;
            to.act_as_owner().context("--to")?;
            let (from, to) = (from.side().context("--from")?, to.side().context("--to")?);
            report(&block_on(migrate(&from, &to, Arc::new(HostClock)))?) + &next_steps(&to)
        }
        Arguments { .. } => {
            anyhow::bail!("say where the platform is with --from, and where it is to be with --to")
        }
    };
    print::text(said)?;
    Ok(ExitCode::SUCCESS)
}

fn named(place: &str, option: &'static str) -> anyhow::Result<Side> {
    let place = Place::of(place);
    place.act_as_owner().context(option)?;
    place.side().context(option)
}

fn block_on<T>(work: impl Future<Output = Result<T, MigrateError>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("cannot start the runtime")?.block_on(work)?)
}

fn taken_back(taken: &TakenBack) -> String {
    format!(
        "Taken back: {taken}. Next: see that nobody serves {}, let the gateway's file name this database, and start the \
         gateway.\n",
        taken.place
    )
}

fn report(moved: &[MovedTable]) -> String {
    let width = moved.iter().map(|table| table.name.len()).max().unwrap_or_default();
    let lines = moved.iter().map(|table| format!("{:<width$}  {:>8}  yes\n", table.name, table.rows));
    let rows: u64 = moved.iter().map(|table| table.rows).sum();
    format!("{:<width$}  {:>8}  EQUAL\n", "TABLE", "ROWS")
        + &lines.collect::<String>()
        + &format!("{rows} rows moved; every one was read again on both sides and is equal.\n")
}

fn next_steps(to: &Side) -> String {
    let setting = match to {
        Side::Postgres(_) => {
            "write `database = …` into the gateway's file (its URL, or a file that holds it), \
             also for `adit admin`"
        }
        Side::State(_) => "take `database` out of the gateway's file; `state` names the folder",
        Side::File(_) => "put the file into the gateway's state folder as `platform.db` (mode 0600)",
    };
    format!(
        "Next: {setting}. Keep the state folder: the CA (ca.p8, authority.json) and the key that opens the secrets \
         (sealing.key) stay there. Start the gateway, look with `adit admin connection list`, then move the old \
         database away: nobody is served from it any more, unless `adit gateway migrate --take-back` has it taken back.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_state_folder_a_file_or_a_url() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy.db");
        std::fs::write(&copy, "").unwrap();
        let side = |path: &Path| Place::of(&format!("{SQLITE}{}", path.display())).side().unwrap();
        assert_eq!(side(folder.path()), Side::State(folder.path().into()));
        assert_eq!(side(&folder.path().join(DATABASE)), Side::State(folder.path().into()));
        assert_eq!(side(&folder.path().join("new")), Side::State(folder.path().join("new")));
        assert_eq!(side(&copy), Side::File(copy.clone()));
        assert!(
            matches!(Place::of("sqlite:platform.db").side(), Ok(Side::State(it)) if it == Path::new("."))
        );
        assert!(matches!(Place::of("postgres://adit@db/adit").side(), Ok(Side::Postgres(_))));
        assert!(matches!(Place::of("/etc/adit/database-url"), Place::UrlFile(_)));
    }

    #[test]
    fn a_place_that_cannot_be_used_is_never_quoted() {
        let error = Place::of("mysql://adit:hunter2@db").side().unwrap_err();
        let said = format!("{error:#}");
        assert!(said.contains("expected a PostgreSQL URL") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn the_report_names_every_table() {
        let moved = [MovedTable { name: "organization", rows: 4 }, MovedTable { name: "audit", rows: 113 }];
        let said = report(&moved);
        assert_eq!(
            said,
            "TABLE             ROWS  EQUAL\norganization         4  yes\naudit              113  yes\n117 rows moved; every \
             one was read again on both sides and is equal.\n"
        );
    }
}
