//! What differs from run to run, made plain: digests, commits, ports and folders.

use std::collections::BTreeMap;

/// The least that is shown of a digest or a commit.
const SHORT: usize = 12;

/// Gives every digest a letter, in the order in which they are first read, so that a reader sees which are the same.
#[derive(Debug, Default)]
pub(super) struct Plain {
    letters: BTreeMap<String, char>,
}

impl Plain {
    /// The text with every digest replaced by as many of its letter: `aaaaaaaaaaaa`.
    pub(super) fn digests(&mut self, text: &str) -> String {
        let mut plain = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(|it: char| it.is_ascii_alphanumeric()) {
            let (before, from) = rest.split_at(start);
            plain.push_str(before);
            let end = from.find(|it: char| !it.is_ascii_alphanumeric()).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            plain.push_str(&self.word(word));
            rest = after;
        }
        plain.push_str(rest);
        plain
    }

    fn word(&mut self, word: &str) -> String {
        // Longer ones that are all digits are times.
        let is_digest = word.len() >= SHORT
            && word.chars().all(|it| matches!(it, '0'..='9' | 'a'..='f'))
            && (word.len() == SHORT || word.chars().any(|it| it.is_ascii_lowercase()));
        let Some(short) = word.get(..SHORT).filter(|_| is_digest) else { return word.to_owned() };
        let next = u32::try_from(self.letters.len()).unwrap_or_default();
        // After z come capitals and whatever follows them: no scenario has that many.
        let letter = char::from_u32(u32::from('a') + next).unwrap_or('?');
        let letter = *self.letters.entry(short.to_owned()).or_insert(letter);
        std::iter::repeat_n(letter, word.len()).collect()
    }
}

/// The text with the fingerprint of each key left out: keys are made for the run.
pub(super) fn keys(text: &str) -> String {
    let is_base64 = |it: char| it.is_ascii_alphanumeric() || it == '+' || it == '/';
    let mut parts = text.split("SHA256:");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str("SHA256:KEY");
        plain.push_str(part.trim_start_matches(is_base64));
    }
    plain
}

/// The text with the number of each loopback port left out.
pub(super) fn ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str("127.0.0.1:PORT");
        plain.push_str(part.trim_start_matches(|it: char| it.is_ascii_digit()));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_digest_has_the_same_letter_however_much_of_it_is_shown() {
        let mut plain = Plain::default();
        let long = "9f3c0a7712de".to_owned() + &"0".repeat(52);
        let text = format!("plan 9f3c0a7712de is sha256:{long}, 0123456789ab is not; feed, 2026");
        let (a, b) = ("a".repeat(12), "b".repeat(12));
        let wanted = format!("plan {a} is sha256:{}, {b} is not; feed, 2026", "a".repeat(64));
        assert_eq!(plain.digests(&text), wanted);
    }

    #[test]
    fn ports_are_left_out() {
        assert_eq!(
            ports("http://127.0.0.1:4711/x, 127.0.0.1:1"),
            "http://127.0.0.1:PORT/x, 127.0.0.1:PORT"
        );
    }
}
