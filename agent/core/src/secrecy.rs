//! Fields of custom resources that hold secrets, as rules of documents name them: `spec.users[*].password` (D53).

use crate::ignored::{Part, parts};

/// Reads a path into its segments; `[*]` is any element of a list. `None` when it is none.
pub fn path(text: &str) -> Option<Vec<String>> {
    let segment = |part: Part<'_>| match part {
        Part::Name(name) => Some(name.to_owned()),
        Part::Element("*") => Some(ELEMENT.to_owned()),
        Part::Element(_) => None,
    };
    let segments: Vec<String> = parts(text)?.into_iter().map(segment).collect::<Option<_>>()?;
    (segments.first().is_some_and(|first| first != ELEMENT)).then_some(segments)
}

/// Any element of a list.
const ELEMENT: &str = "[*]";

/// How many segments of a field's path name the secret that a rule means: the field is it, is below it, or may hold it.
pub fn hidden(rule: &[String], segments: &[String]) -> Option<usize> {
    let is_met = |(wanted, segment): (&String, &String)| {
        wanted == segment || (wanted == ELEMENT && segment.starts_with('['))
    };
    rule.iter().zip(segments).all(is_met).then(|| rule.len().min(segments.len()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_field("spec.password", Some("spec password"))]
    #[case::of_each_element("spec.users[*].password", Some("spec users [*] password"))]
    #[case::a_name_with_dots("data[\"a.b\"]", Some("data a.b"))]
    #[case::nothing("", None)]
    #[case::two_dots("spec..a", None)]
    #[case::one_element("spec.users[name=a]", None)]
    #[case::an_element_of_nothing("[*].a", None)]
    fn paths(#[case] text: &str, #[case] wanted: Option<&str>) {
        assert_eq!(path(text).map(|it| it.join(" ")).as_deref(), wanted);
    }

    #[rstest]
    #[case::itself("spec users [name=a] password", Some(4))]
    #[case::below("spec users [name=a] password x", Some(4))]
    #[case::what_holds_it("spec users", Some(2))]
    #[case::beside("spec users [name=a] name", None)]
    fn fields(#[case] segments: &str, #[case] wanted: Option<usize>) {
        let rule = path("spec.users[*].password").unwrap();
        let segments: Vec<String> = segments.split(' ').map(str::to_owned).collect();
        assert_eq!(hidden(&rule, &segments), wanted);
    }
}
