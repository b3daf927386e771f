//! Columns for people.

/// `rows` under `heads`, each column as wide as what is in it; those of which `right` holds the
/// number end at the right. A row's note stands below it.
pub(crate) fn table<const N: usize>(
    heads: [&str; N],
    right: &[usize],
    rows: &[([String; N], Option<String>)],
) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|(cells, _)| cells[column].chars().count());
        cells.chain([heads[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let aligned = cells.iter().enumerate().map(|(column, cell)| {
            let room = " ".repeat(widths[column] - cell.chars().count());
            if right.contains(&column) { room + cell } else { (*cell).to_owned() + &room }
        });
        aligned.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(heads)];
    for (cells, note) in rows {
        lines.push(line(std::array::from_fn(|column| cells[column].as_str())));
        lines.extend(note.iter().map(|note| format!("    {note}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |name: &str, size: &str| [name.to_owned(), size.to_owned()];
        let text = table(
            ["name", "size"],
            &[1],
            &[(row("é", "5 B"), None), (row("longer", "500 B"), Some("why".into()))],
        );
        assert_eq!(text, "name     size\né         5 B\nlonger  500 B\n    why");
    }
}
