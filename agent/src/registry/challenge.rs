//! What a server wants to be shown: the `WWW-Authenticate` header (RFC 9110, 11.6.1).

use std::collections::BTreeMap;

/// One scheme with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// `Basic`, `Bearer` …
    pub(super) scheme: String,
    parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// All challenges of a header; what is not written as one ends the reading.
    pub(super) fn read(text: &str) -> Vec<Self> {
        let mut challenges: Vec<Self> = Vec::new();
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let end = rest.find(|it: char| !is_token(it)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if word.is_empty() {
                return challenges;
            }
            rest = after.trim_start_matches([' ', '\t']);
            match (rest.strip_prefix('='), challenges.last_mut()) {
                (Some(value), Some(challenge)) => {
                    let (value, after) = take_value(value.trim_start_matches([' ', '\t']));
                    challenge.parameters.insert(word.to_ascii_lowercase(), value);
                    rest = after;
                }
                (Some(_), None) => return challenges,
                (None, _) => {
                    challenges.push(Self { scheme: word.to_owned(), parameters: BTreeMap::new() });
                }
            }
        }
    }

    /// A parameter by its name in lower case.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

fn is_token(it: char) -> bool {
    it.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(it)
}

/// A token or a quoted string, and what follows it.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, letter) in quoted.char_indices() {
        match letter {
            _ if is_escaped => {
                value.push(letter);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            _ => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_server_is_read_from_its_challenge() {
        let text = r#"Bearer realm="https://auth.bank/token?a=b",service="r.bank",scope="repository:a/b:pull,push""#;
        let read = Challenge::read(text);
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].scheme, "Bearer");
        assert_eq!(read[0].parameter("realm"), Some("https://auth.bank/token?a=b"));
        assert_eq!(read[0].parameter("scope"), Some("repository:a/b:pull,push"));
    }

    #[test]
    fn several_challenges_may_share_a_header() {
        let read = Challenge::read(r#"basic Realm = "a \"b\"" , charset=UTF-8, Bearer realm=x"#);
        let schemes: Vec<&str> = read.iter().map(|it| it.scheme.as_str()).collect();
        assert_eq!(schemes, ["basic", "Bearer"]);
        assert_eq!(read[0].parameter("realm"), Some("a \"b\""));
        assert_eq!(read[1].parameter("realm"), Some("x"));
    }

    #[test]
    fn what_is_no_challenge_ends_the_reading() {
        for text in ["", "=x", "\"", "realm=x", "Basic realm=\"open", "Bearer \u{1}"] {
            assert!(Challenge::read(text).len() < 2, "{text}");
        }
    }
}
