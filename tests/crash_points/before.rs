//! What lies in a state folder that adit 0.1.0 wrote, from the golden files of that version.

use std::fs;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{AssertSqlSafe, Connection};

use super::disk::Image;
use super::judge;
use super::recording::image_of;
use crate::memory_folder::memory_folder;

/// How its gateway ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    Closed,
    /// What it committed last is in `SQLite`'s log alone.
    Crashed,
}

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/0.1.0");
    fs::read(folder.join(name)).unwrap()
}

/// Returns the state folder.
pub(crate) fn folder(end: Before) -> Image {
    let parent = memory_folder();
    let files = [("sealing.key", golden("sealing.key")), ("platform.db", Vec::new())];
    let files = files.map(|(name, bytes)| (name.to_owned(), (0o600, bytes)));
    let state = judge::materialise(&Image(files.into()), parent.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new()
            .filename(state.join("platform.db"))
            .journal_mode(SqliteJournalMode::Wal);
        let mut database = SqliteConnection::connect_with(&options).await.unwrap();
        let script = String::from_utf8(golden("platform.sql")).unwrap();
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut database).await.unwrap();
        if end == Before::Closed {
            database.close().await.unwrap();
            return image_of(&state);
        }
        let image = image_of(&state);
        assert!(image.0["platform.db-wal"].1.len() > image.0["platform.db"].1.len());
        image
    })
}
