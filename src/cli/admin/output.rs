//! A table for people or JSON for programs.

use serde::Serialize;
use serde_json::json;

use super::Desk;

impl Desk {
    /// Rows as a table with aligned columns, or as a JSON array.
    pub(super) fn show<T: Serialize, const N: usize>(
        &self,
        rows: &[T],
        head: [&str; N],
        cells: impl Fn(&T) -> [String; N],
    ) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(rows)?);
        } else {
            print!("{}", table(head.map(str::to_owned), rows.iter().map(cells).collect()));
        }
        Ok(())
    }

    /// The id of what was made, alone on its line so that a script can take it.
    #[expect(clippy::unnecessary_wraps, reason = "ends a verb, as the other outputs do")]
    pub(super) fn made(&self, id: impl std::fmt::Display) -> anyhow::Result<()> {
        if self.json {
            println!("{}", json!({ "id": id.to_string() }));
        } else {
            println!("{id}");
        }
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "ends a verb, as the other outputs do")]
    pub(super) fn done(&self, what: &str) -> anyhow::Result<()> {
        if self.json {
            println!("{}", json!({ "done": what }));
        } else {
            println!("{what}");
        }
        Ok(())
    }
}

pub(super) fn table<const N: usize>(head: [String; N], rows: Vec<[String; N]>) -> String {
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
