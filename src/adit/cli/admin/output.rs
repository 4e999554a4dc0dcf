//! A table for people or JSON for programs.

use serde::Serialize;
use serde_json::json;

use super::CliSession;
use crate::cli::shown::print_json;
use adit_core::domain::visible::visible;
use adit_observe::print;

impl CliSession {
    /// Shows rows as a table with aligned columns, or as a JSON array.
    pub(super) fn show<T: Serialize, const N: usize>(
        &self,
        rows: &[T],
        head: [&str; N],
        cells: impl Fn(&T) -> [String; N],
    ) -> anyhow::Result<()> {
        if self.json {
            print_json(&rows, true)?;
        } else {
            print::text(table(head.map(str::to_owned), rows.iter().map(cells).collect()))?;
        }
        Ok(())
    }

    /// Prints the id of what was made, alone on its line so that a script can take it.
    pub(super) fn made(&self, id: impl std::fmt::Display) -> anyhow::Result<()> {
        if self.json {
            print_json(&json!({ "id": id.to_string() }), false)?;
        } else {
            self.print_line(&id.to_string())?;
        }
        Ok(())
    }

    pub(super) fn done(&self, what: &str) -> anyhow::Result<()> {
        if self.json {
            print_json(&json!({ "done": what }), false)?;
        } else {
            self.print_line(what)?;
        }
        Ok(())
    }

    /// Prints one line, whatever names are in it.
    #[expect(clippy::unused_self, reason = "reads as the other outputs do")]
    pub(super) fn print_line(&self, line: &str) -> anyhow::Result<()> {
        Ok(print::line(visible(line))?)
    }
}

pub(super) fn table<const N: usize>(head: [String; N], rows: Vec<[String; N]>) -> String {
    let shown = |row: [String; N]| row.map(|cell| visible(&cell).into_owned());
    let rows: Vec<_> = rows.into_iter().map(shown).collect();
    let mut widths = [0; N];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in [head].into_iter().chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
