//! Queries of Prometheus as checks write them, and what is put into them when they are asked.

/// Stands for the new pods: a regular expression of their names, for a label matcher such as `pod=~"$pods"`.
pub const PODS: &str = "$pods";

/// The first placeholder of a query that nobody fills in, such as Grafana's `$__rate_interval`. A `$` before anything but a
/// letter is `PromQL`'s own: the end in a regular expression, or a part of `label_replace`.
pub fn unknown(query: &str) -> Option<&str> {
    placeholders(query).map(|(_, name)| name).find(|name| *name != PODS)
}

/// Whether the query is about the new pods by name.
pub fn is_about_pods(query: &str) -> bool {
    placeholders(query).any(|(_, name)| name == PODS)
}

/// The query about these pods. Dots are written as classes, which need no backslash whatever quotes they stand in.
pub fn about<'a>(query: &str, pods: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = pods.map(|name| name.replace('.', "[.]")).collect();
    let names = format!("(?:{})", names.join("|"));
    let (mut filled, mut end) = (String::new(), 0);
    for (at, name) in placeholders(query).filter(|(_, name)| *name == PODS) {
        filled.push_str(query.get(end..at).unwrap_or_default());
        filled.push_str(&names);
        end = at + name.len();
    }
    filled + query.get(end..).unwrap_or_default()
}

/// Where placeholders are, with the `$`; `${name}` is one too.
fn placeholders(query: &str) -> impl Iterator<Item = (usize, &str)> {
    query.match_indices('$').filter_map(|(at, _)| {
        let text = query.get(at..)?;
        let name = text.get(1..)?;
        if name.starts_with('{') {
            return Some((at, text.split_inclusive('}').next()?));
        }
        let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_';
        let length = name.find(|it| !is_part(it)).unwrap_or(name.len());
        let begins = name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_');
        begins.then(|| text.get(..=length)).flatten().map(|name| (at, name))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::pods(r#"up{pod=~"$pods"}"#, None)]
    #[case::an_end(r#"up{pod=~"web-.*$"}"#, None)]
    #[case::a_part(r#"label_replace(up, "a", "$1", "pod", "(.*)")"#, None)]
    #[case::grafana("rate(errors[$__rate_interval])", Some("$__rate_interval"))]
    #[case::longer(r#"up{pod=~"$podsets"}"#, Some("$podsets"))]
    #[case::in_braces(r#"up{pod=~"${pods}"}"#, Some("${pods}"))]
    #[case::the_second(r#"up{pod=~"$pods", job="$job"}"#, Some("$job"))]
    fn placeholders_that_nobody_fills_in_are_found(
        #[case] query: &str,
        #[case] wanted: Option<&str>,
    ) {
        assert_eq!(unknown(query), wanted);
    }

    #[test]
    fn the_names_of_pods_are_put_in_wherever_they_are_asked_for() {
        let query = r#"sum(up{pod=~"$pods"}) / sum(all{pod=~'x-$pods', a=~"b$"})"#;
        assert!(is_about_pods(query) && !is_about_pods("up{a=~'b$'}"));
        let pods = ["web-0", "web.b-1"];
        let wanted = r#"sum(up{pod=~"(?:web-0|web[.]b-1)"}) / sum(all{pod=~'x-(?:web-0|web[.]b-1)', a=~"b$"})"#;
        assert_eq!(about(query, pods.into_iter()), wanted);
    }
}
