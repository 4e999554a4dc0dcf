//! A table for people or JSON for programs; a list is read and printed page by page, however long it is.

use serde::Serialize;
use serde_json::json;

use super::CliSession;
use crate::cli::shown::{json_text, print_json};
use adit_core::domain::limits::PAGE_ROWS_MAX;
use adit_core::domain::page::{Page, Paging};
use adit_core::domain::visible::visible;
use adit_gateway::platform::PlatformError;
use adit_observe::print;

/// How the rows of a list are shown: as cells of a table, or as what becomes JSON.
pub(super) struct Columns<T, J, const N: usize> {
    pub(super) head: [&'static str; N],
    pub(super) cells: fn(&T) -> [String; N],
    pub(super) json: fn(&T) -> J,
}

impl CliSession {
    /// Shows a list as a table with aligned columns, or as a JSON array.
    pub(super) async fn show_pages<T, J: Serialize, const N: usize>(
        &self,
        columns: &Columns<T, J, N>,
        page: impl AsyncFn(Paging) -> Result<Page<T>, PlatformError>,
    ) -> anyhow::Result<()> {
        let out = |text: &str| Ok(print::text(text)?);
        if self.json { write_array(columns, page, out).await } else { write_table(columns, page, out).await }
    }

    /// Shows rows that are here already in the same way.
    pub(super) fn show<T, J: Serialize, const N: usize>(
        &self,
        columns: &Columns<T, J, N>,
        rows: &[T],
    ) -> anyhow::Result<()> {
        if self.json {
            return print_json(&rows.iter().map(columns.json).collect::<Vec<_>>(), true);
        }
        Ok(print::text(table(&columns.head.map(str::to_owned), rows.iter().map(columns.cells).collect()))?)
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

/// Goes through a list, a page at a time.
pub(super) async fn each_page<T>(
    page: impl AsyncFn(Paging) -> Result<Page<T>, PlatformError>,
    mut each: impl FnMut(Vec<T>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut paging = Paging::first(PAGE_ROWS_MAX);
    loop {
        let read = page(paging.clone()).await?;
        each(read.rows)?;
        let Some(next) = read.next else { return Ok(()) };
        paging = paging.after(Some(next));
    }
}

/// Writes the array that all pages are together, as it would be written at once.
pub(super) async fn write_array<T, J: Serialize, const N: usize>(
    columns: &Columns<T, J, N>,
    page: impl AsyncFn(Paging) -> Result<Page<T>, PlatformError>,
    mut out: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut has_begun = false;
    each_page(page, |rows| {
        let text = json_text(&rows.iter().map(columns.json).collect::<Vec<_>>(), true)?;
        let Some(elements) = text.strip_prefix("[\n").and_then(|text| text.strip_suffix("\n]")) else {
            return Ok(());
        };
        out(if has_begun { ",\n" } else { "[\n" })?;
        has_begun = true;
        out(elements)
    })
    .await?;
    out(if has_begun { "\n]\n" } else { "[]\n" })
}

/// Reads the list twice where it has several pages: for the widths of its columns, and to print it. A cell that
/// grew meanwhile stands out.
pub(super) async fn write_table<T, J, const N: usize>(
    columns: &Columns<T, J, N>,
    page: impl AsyncFn(Paging) -> Result<Page<T>, PlatformError>,
    mut out: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let head = columns.head.map(str::to_owned);
    let mut widths = widths([0; N], [&head]);
    let cells = |rows: Vec<T>| rows.iter().map(columns.cells).map(seen).collect::<Vec<_>>();
    let first = page(Paging::first(PAGE_ROWS_MAX)).await?;
    if first.next.is_none() {
        let rows = cells(first.rows);
        widths = self::widths(widths, &rows);
        return out(&lines([&head].into_iter().chain(&rows), widths));
    }
    each_page(&page, |rows| {
        widths = self::widths(widths, &cells(rows));
        Ok(())
    })
    .await?;
    out(&lines([&head], widths))?;
    each_page(&page, |rows| out(&lines(&cells(rows), widths))).await
}

pub(super) fn table<const N: usize>(head: &[String; N], rows: Vec<[String; N]>) -> String {
    let rows: Vec<_> = rows.into_iter().map(seen).collect();
    let all = || rows.iter();
    let widths = widths(widths([0; N], [head]), all());
    lines([head].into_iter().chain(all()), widths)
}

fn seen<const N: usize>(row: [String; N]) -> [String; N] {
    row.map(|cell| visible(&cell).into_owned())
}

fn widths<'a, const N: usize>(
    widths: [usize; N],
    rows: impl IntoIterator<Item = &'a [String; N]>,
) -> [usize; N] {
    rows.into_iter().fold(widths, |widths, row| {
        std::array::from_fn(|column| widths[column].max(row[column].chars().count()))
    })
}

fn lines<'a, const N: usize>(rows: impl IntoIterator<Item = &'a [String; N]>, widths: [usize; N]) -> String {
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
