//! Where the fields of a document are written: paths such as `spec.products[2].version`, with line and column.

use std::fmt::Write as _;

use crate::finding::Place;

/// The positions of the fields of one document, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions {
    /// Sorted by path once [`Positions::finish`] was called.
    entries: Vec<(String, Position)>,
}

/// The position of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    /// Line and column of the key, or of the item in a list.
    key: (u32, u32),
    /// Line and column of a scalar value; of the key for lists and mappings, which start below it.
    value: (u32, u32),
}

impl Positions {
    pub(crate) fn push(&mut self, path: &str, key: (u32, u32), value: (u32, u32)) {
        self.entries.push((path.to_owned(), Position { key, value }));
    }

    pub(crate) fn finish(&mut self) {
        self.entries.sort_by(|(left, _), (right, _)| left.cmp(right));
    }

    /// Line and column (from 1) of the value at a path, or of the nearest field above it that is written.
    /// `None` when nothing is known.
    pub fn value(&self, path: &str) -> Option<(u32, u32)> {
        self.nearest(path).map(|position| position.value)
    }

    /// Line and column (from 1) of the key at a path, or of the nearest field above it that is written.
    pub fn key(&self, path: &str) -> Option<(u32, u32)> {
        self.nearest(path).map(|position| position.key)
    }

    fn nearest(&self, path: &str) -> Option<Position> {
        let mut path = path;
        loop {
            let found = self.entries.binary_search_by(|(entry, _)| entry.as_str().cmp(path));
            if let Some((_, position)) = found.ok().and_then(|index| self.entries.get(index)) {
                return Some(*position);
            }
            if path.is_empty() {
                return None;
            }
            path = parent(path);
        }
    }

    pub(crate) fn place(&self, file: &str, path: &str) -> Place {
        let (line, column) = self.value(path).unwrap_or((0, 0));
        Place::new(file, line, column, path)
    }

    pub(crate) fn place_of_key(&self, file: &str, path: &str) -> Place {
        let (line, column) = self.key(path).unwrap_or((0, 0));
        Place::new(file, line, column, path)
    }
}

/// The path without its last part; empty at the top.
fn parent(path: &str) -> &str {
    let end = if path.ends_with("\"]") {
        path.rfind("[\"")
    } else if path.ends_with(']') {
        path.rfind('[')
    } else {
        path.rfind('.')
    };
    path.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// Adds a key to a path: `.key`, or `["key"]` when it is not made of letters, digits, `_` and `-`.
///
/// ```
/// let mut path = "spec.files".to_owned();
/// tidegate_schema::position::push_key(&mut path, "/etc/a.conf");
/// assert_eq!(path, "spec.files[\"/etc/a.conf\"]");
/// ```
pub fn push_key(path: &mut String, key: &str) {
    let is_word =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if is_word {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    } else {
        path.push_str("[\"");
        path.push_str(key);
        path.push_str("\"]");
    }
}

/// Adds an index to a path: `[2]`.
pub fn push_index(path: &mut String, index: usize) {
    // Writing to a String cannot fail.
    let _infallible = write!(path, "[{index}]");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_field_is_where_its_parent_is() {
        let mut positions = Positions::default();
        positions.push("", (1, 1), (1, 1));
        positions.push("spec", (3, 1), (3, 1));
        positions.push("spec.apps[0]", (5, 5), (5, 5));
        positions.push("spec.apps[0].files[\"/a.b\"]", (6, 9), (6, 15));
        positions.finish();
        assert_eq!(positions.value("spec.apps[0].image"), Some((5, 5)));
        assert_eq!(positions.value("spec.apps[0].files[\"/a.b\"]"), Some((6, 15)));
        assert_eq!(positions.key("spec.apps[0].files[\"/a.b\"].from"), Some((6, 9)));
        assert_eq!(positions.value("spec.apps[7]"), Some((3, 1)));
        assert_eq!(positions.value("metadata"), Some((1, 1)));
        assert_eq!(Positions::default().value("spec"), None);
    }
}
