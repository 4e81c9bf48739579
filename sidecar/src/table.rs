//! Lines of text with aligned columns: the first to the left, numbers to the right.

/// Rows of cells; the first row is the heading.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines, indented by two.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::from(" ");
            for (number, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padded = if number == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
                line.push(' ');
                line.push_str(&padded);
                line.push(' ');
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// A part of a whole, in percent.
pub(crate) fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["node", "share"]);
        table.row(["a".to_owned(), percent(0.051)]);
        table.row(["long".to_owned(), percent(1.0)]);
        assert_eq!(table.render(), "  node    share\n  a       5.1 %\n  long  100.0 %\n");
    }
}
