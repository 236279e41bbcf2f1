//! Tables for people, JSON for programs.

use std::io::{self, Write};

use serde::Serialize;

/// Where results go.
#[derive(Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// Prints the value as JSON, or what `table` makes of it.
    pub(super) fn print<T: Serialize>(self, value: &T, table: impl FnOnce() -> Table) -> io::Result<()> {
        if self.json { self.value(value) } else { self.text(&table().to_string()) }
    }

    /// Prints the value as JSON, or one line.
    pub(super) fn done<T: Serialize>(self, value: &T, line: &str) -> io::Result<()> {
        if self.json { self.value(value) } else { self.text(&format!("{line}\n")) }
    }

    fn value<T: Serialize>(self, value: &T) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
        out.flush()
    }

    fn text(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// Columns under a heading, as wide as they need to be.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        // A control character in a name must not reach the terminal.
        let clean = |cell: String| {
            if cell.chars().any(char::is_control) { cell.escape_debug().to_string() } else { cell }
        };
        self.rows.push(cells.into_iter().map(clean).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `-` where there is nothing.
pub(super) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// `1, 2, 3`.
pub(super) fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_without_blanks() {
        let mut table = Table::new(&["NAME", "PARTITIONS"]);
        table.row(vec!["orders".into(), "12".into()]);
        table.row(vec!["a".into(), String::new()]);
        assert_eq!(table.to_string(), "NAME    PARTITIONS\norders  12\na\n");
    }

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        let mut table = Table::new(&["NAME"]);
        table.row(vec!["a\u{1b}[31m".into()]);
        assert_eq!(table.to_string(), "NAME\na\\u{1b}[31m\n");
    }
}
