//! Tables as `openstack` prints them: `+---+` rules, one blank beside each cell, columns
//! made narrower by wrapping when the table must fit.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Where a cell's text stands in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Center,
    Right,
}

/// How wide a table may become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    /// The whole table, in terminal columns.
    pub(super) table: usize,
    /// No column is wrapped to less than this; the table overflows instead.
    pub(super) column: usize,
}

/// A table ready to be laid out.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) headers: &'a [&'a str],
    pub(super) align: Vec<Align>,
    /// Each row has a cell for each header.
    pub(super) rows: Vec<Vec<String>>,
}

impl Table<'_> {
    /// The table's lines, each with its newline.
    pub(super) fn render(&self, fit: Option<Fit>) -> String {
        let headers: Vec<String> = self.headers.iter().map(|header| clean(header)).collect();
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| clean(cell)).collect())
            .collect();
        let widths = widths(&headers, &rows, fit);

        let mut rule = String::from("+");
        for width in &widths {
            rule.extend(std::iter::repeat_n('-', width + 2));
            rule.push('+');
        }
        rule.push('\n');

        let mut out = rule.clone();
        self.line(&headers, &widths, &mut out);
        out.push_str(&rule);
        for row in &rows {
            self.line(row, &widths, &mut out);
        }
        out.push_str(&rule);
        out
    }

    /// Appends one row, which is several lines where a cell is.
    fn line(&self, row: &[String], widths: &[usize], out: &mut String) {
        let cells: Vec<Vec<String>> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| wrap(cell, *width))
            .collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        for y in 0..height {
            out.push('|');
            for ((cell, width), align) in cells.iter().zip(widths).zip(&self.align) {
                let text = cell.get(y).map_or("", String::as_str);
                let space = width.saturating_sub(text.width());
                let before = match align {
                    Align::Left => 0,
                    // The odd blank goes where prettytable puts it.
                    Align::Center => space / 2 + (space & width & 1),
                    Align::Right => space,
                };
                out.push(' ');
                out.extend(std::iter::repeat_n(' ', before));
                out.push_str(text);
                out.extend(std::iter::repeat_n(' ', space - before));
                out.push_str(" |");
            }
            out.push('\n');
        }
    }
}

/// The columns' widths: what their cells need, less where the table must fit.
fn widths(headers: &[String], rows: &[Vec<String>], fit: Option<Fit>) -> Vec<usize> {
    let headers: Vec<usize> = headers.iter().map(|header| widest(header)).collect();
    let mut needed = vec![0; headers.len()];
    for row in rows {
        for (width, cell) in needed.iter_mut().zip(row) {
            *width = widest(cell).max(*width);
        }
    }
    let full: Vec<usize> = headers
        .iter()
        .zip(&needed)
        .map(|(header, cell)| *header.max(cell))
        .collect();
    let Some(fit) = fit else { return full };

    let count = full.len();
    let frame = 1 + 3 * count;
    if count == 0 || full.iter().sum::<usize>() + frame <= fit.table {
        return full;
    }
    // Columns that need no more than an equal share keep their width; the others share
    // what is left, and the last of them takes the remainder.
    let usable = fit.table.saturating_sub(frame);
    let share = usable / count;
    let wide: Vec<usize> = (0..count).filter(|i| full[*i] > share).collect();
    let mut left = usable - full.iter().filter(|width| **width <= share).sum::<usize>();
    let Some((last, others)) = wide.split_last() else {
        return full;
    };
    let each = left / wide.len();
    let mut widths = full;
    for i in others {
        widths[*i] = headers[*i].max(needed[*i].min(each.max(fit.column)));
        left -= each;
    }
    widths[*last] = headers[*last].max(needed[*last].min(left.max(fit.column)));
    widths
}

fn widest(cell: &str) -> usize {
    cell.split('\n')
        .map(UnicodeWidthStr::width)
        .max()
        .unwrap_or(0)
}

/// Text that a terminal only prints: tabs become blanks, and every control character but
/// the newline its escape.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                out.push('\n');
                column = 0;
            }
            '\t' => {
                let blanks = 8 - column % 8;
                out.extend(std::iter::repeat_n(' ', blanks));
                column += blanks;
            }
            c if c.is_control() => {
                let escape = c.escape_default();
                column += escape.len();
                out.extend(escape);
            }
            c => {
                out.push(c);
                column += 1;
            }
        }
    }
    out
}

/// The lines of a cell, none wider than `width`.
fn wrap(cell: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in cell.split('\n') {
        if line.width() <= width {
            lines.push(line.to_owned());
        } else {
            fold(line, width.max(1), &mut lines);
        }
    }
    lines
}

/// Breaks one line greedily at blanks and hyphens, and long words where they must.
fn fold(line: &str, width: usize, lines: &mut Vec<String>) {
    let mut current = String::new();
    let mut first = true;
    for mut word in words(line) {
        if word.trim().is_empty() && current.is_empty() && !first {
            continue;
        }
        while current.width() + word.width() > width {
            if word.width() > width {
                // Fill the line with as much of the word as it takes.
                let end = break_at(word, width - current.width(), current.is_empty());
                let (head, tail) = word.split_at(end);
                current.push_str(head);
                word = tail;
            }
            finish(&mut current, lines);
            first = false;
            if word.trim().is_empty() {
                break;
            }
        }
        if !(word.trim().is_empty() && current.is_empty() && !first) {
            current.push_str(word);
        }
    }
    finish(&mut current, lines);
}

fn finish(current: &mut String, lines: &mut Vec<String>) {
    let line = current.trim_end();
    if !line.is_empty() {
        lines.push(line.to_owned());
    }
    current.clear();
}

/// The parts of a line between which it may be broken: blanks, words, and the halves of
/// words that have letters on both sides of a hyphen.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = &line[start..];
        let blank = rest.chars().next()?.is_whitespace();
        let run = rest
            .find(|c: char| c.is_whitespace() != blank)
            .unwrap_or(rest.len());
        let end = rest[..run]
            .match_indices('-')
            .map(|(at, _)| start + at + 1)
            .find(|end| hyphenates(&line[..*end], &line[*end..]))
            .unwrap_or(start + run);
        let word = &line[start..end];
        start = end;
        Some(word)
    })
}

/// Whether the hyphen that ends `before` may end a line: two letters on each side, next to
/// each other or around another hyphen, which keeps identifiers and numbers together.
fn hyphenates(before: &str, after: &str) -> bool {
    let mut before = before.chars().rev().skip(1);
    let mut after = after.chars();
    let two = |a: Option<char>, b: Option<char>, c: Option<char>| {
        let letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
        letter(a) && (letter(b) || (b == Some('-') && letter(c)))
    };
    two(before.next(), before.next(), before.next())
        && two(after.next(), after.next(), after.next())
}

/// Where to break a word of which `space` columns fit: behind its last hyphen there, or
/// else at the edge, but behind at least one character when `must`.
fn break_at(word: &str, space: usize, must: bool) -> usize {
    let mut used = 0;
    let mut end = 0;
    for (at, c) in word.char_indices() {
        used += c.width().unwrap_or(0);
        if used > space {
            break;
        }
        end = at + c.len_utf8();
    }
    match word[..end].rfind('-') {
        Some(hyphen) if word[..hyphen].contains(|c| c != '-') => hyphen + 1,
        _ if end == 0 && must => word.chars().next().map_or(0, char::len_utf8),
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{UnicodeWidthStr, clean, wrap};

    proptest! {
        #[test]
        fn wrapped_lines_fit_and_lose_only_blanks(
            cell in "[a-z0-9 \n日é-]{0,60}",
            width in 2_usize..30,
        ) {
            let lines = wrap(&cell, width);
            for line in &lines {
                prop_assert!(line.width() <= width, "{line:?}");
            }
            let ink = |text: &str| text.replace(char::is_whitespace, "");
            prop_assert_eq!(ink(&lines.concat()), ink(&cell));
        }

        #[test]
        fn clean_text_has_no_control_characters(text in any::<String>()) {
            prop_assert!(!clean(&text).contains(|c: char| c.is_control() && c != '\n'));
        }
    }

    #[test]
    fn identifiers_break_behind_hyphens_only_where_they_must() {
        let id = "f7c1fd5f-d08d-4eda-ad1d-d7b5db2540a9";
        assert_eq!(wrap(id, 20), ["f7c1fd5f-d08d-4eda-", "ad1d-d7b5db2540a9"]);
        assert_eq!(
            wrap("see well-known ports", 9),
            ["see well-", "known", "ports"]
        );
    }
}
