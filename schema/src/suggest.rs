//! "Did you mean": the word of a list that is nearest to a misspelt one.

/// The nearest of `words`, when it is near enough to be what was meant.
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match word.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    words
        .into_iter()
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many characters must be added, removed, replaced or swapped with a neighbour (restricted
/// Damerau-Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before_previous: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    let mut last_left = None;
    for (row, l) in left.chars().enumerate() {
        let mut current = vec![row + 1];
        let mut last_right = None;
        for (column, r) in right.iter().copied().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX);
            let replaced = at(&previous, column) + usize::from(l != r);
            let removed = at(&previous, column + 1) + 1;
            let added = at(&current, column) + 1;
            let mut best = replaced.min(removed).min(added);
            if last_left == Some(r) && last_right == Some(l) && column > 0 {
                best = best.min(at(&before_previous, column - 1).saturating_add(1));
            }
            current.push(best);
            last_right = Some(r);
        }
        before_previous = std::mem::replace(&mut previous, current);
        last_left = Some(l);
    }
    previous.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        let words = ["replicas", "image", "imagePullSlow", "cpu"];
        assert_eq!(nearest("replica", words), Some("replicas"));
        assert_eq!(nearest("iamge", words), Some("image"));
        assert_eq!(nearest("Replicas", words), Some("replicas"));
        assert_eq!(nearest("memory", words), None);
        assert_eq!(nearest("gp", words), None);
    }
}
