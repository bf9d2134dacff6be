//! Templates in documents: strict about names, without files, clock, randomness or other templates.

use std::collections::BTreeSet;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

/// Instructions that one template may take: far more than any configuration file needs, few enough to end at once.
const FUEL: u64 = 200_000;

/// Longest result in bytes: what a ConfigMap can hold (Kubernetes, "ConfigMaps": 1 MiB).
const LONGEST: usize = 1 << 20;

/// The template language of documents: `MiniJinja` without `include`, `import`, `extends`, macros and `debug`.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
}

/// Why a template gave no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is not written as a template.
    #[error("failed to read the template: {detail}")]
    Syntax {
        /// What is wrong.
        detail: String,
        /// Line inside the template, from 1; 0 when unknown.
        line: usize,
    },
    /// A name that nothing defines.
    #[error("failed to find the name: {detail}")]
    Undefined {
        /// Which, or what was done with it.
        detail: String,
        /// Line inside the template, from 1; 0 when unknown.
        line: usize,
    },
    /// It takes too long, or gives more than a ConfigMap holds.
    #[error("failed to stay within the limits of a template")]
    TooLong,
    /// Anything else: a filter on the wrong type, a division by zero.
    #[error("failed to render the template: {detail}")]
    Failed {
        /// What the engine said.
        detail: String,
        /// Line inside the template, from 1; 0 when unknown.
        line: usize,
    },
}

impl Default for Templates {
    fn default() -> Self {
        Self::new()
    }
}

impl Templates {
    /// The engine.
    pub fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(50);
        // Files end with a line break, and it counts.
        let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
        environment.set_syntax(syntax.unwrap_or_default());
        // Shows the whole context: nothing that a document should depend on.
        environment.remove_global("debug");
        Self { environment }
    }

    /// The names that a template looks up and does not set itself. Empty when it cannot be read.
    pub fn names(&self, source: &str) -> BTreeSet<String> {
        if !source.contains('{') {
            return BTreeSet::new();
        }
        self.environment
            .template_from_str(source)
            .map(|template| template.undeclared_variables(false).into_iter().collect())
            .unwrap_or_default()
    }

    /// The text that a template gives.
    pub fn render(&self, source: &str, context: &Value) -> Result<String, TemplateError> {
        if !source.contains('{') {
            return Ok(source.to_owned());
        }
        let template =
            self.environment.template_from_str(source).map_err(|error| problem(&error))?;
        let text = template.render(context).map_err(|error| problem(&error))?;
        if text.len() > LONGEST { Err(TemplateError::TooLong) } else { Ok(text) }
    }
}

/// The name of the parameter when the template is nothing but it: `{{ password }}`. Only then can a secret be handed to
/// a container by reference.
pub fn only_name(source: &str) -> Option<&str> {
    let name = source.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let name = name.trim_matches('-').trim();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(is_word)).then_some(name)
}

fn problem(error: &minijinja::Error) -> TemplateError {
    let line = error.line().unwrap_or(0);
    let source = |error: &minijinja::Error| {
        // The expression itself says more than "undefined value".
        let text = error.template_source().zip(error.range());
        text.and_then(|(text, range)| text.get(range)).map(str::to_owned)
    };
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    if error.kind() == ErrorKind::OutOfFuel {
        TemplateError::TooLong
    } else if error.kind() == ErrorKind::UndefinedError {
        TemplateError::Undefined { detail: source(error).unwrap_or(detail), line }
    } else if matches!(error.kind(), ErrorKind::SyntaxError | ErrorKind::BadEscape) {
        TemplateError::Syntax { detail, line }
    } else {
        TemplateError::Failed { detail, line }
    }
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;

    #[test]
    fn a_text_without_braces_is_itself() {
        assert_eq!(
            Templates::new().render("a $x ${y} %\n", &Value::UNDEFINED).unwrap(),
            "a $x ${y} %\n"
        );
    }

    #[test]
    fn names_are_filled_in_and_the_last_line_break_stays() {
        let context = context! { heap => "6Gi", site => context! { domain => "hz.bank" } };
        let text = Templates::new().render("heap={{ heap }}\nd={{ site.domain }}\n", &context);
        assert_eq!(text.unwrap(), "heap=6Gi\nd=hz.bank\n");
    }

    #[test]
    fn an_unknown_name_is_an_error_with_its_line() {
        let error = Templates::new().render("a\n{{ haep }}", &context! { heap => 1 }).unwrap_err();
        assert_eq!(error, TemplateError::Undefined { detail: "haep".to_owned(), line: 2 });
        let error = Templates::new().render("{{ heap.x }}", &context! { heap => context! {} });
        assert_eq!(
            error.unwrap_err(),
            TemplateError::Undefined { detail: "heap.x".to_owned(), line: 1 }
        );
    }

    #[test]
    fn what_reaches_outside_or_does_not_end_is_refused() {
        let templates = Templates::new();
        for source in [
            "{% include 'a' %}",
            "{% import 'a' as b %}",
            "{% extends 'a' %}",
            "{{ debug() }}",
            "{{ now() }}",
        ] {
            assert!(templates.render(source, &context! {}).is_err(), "{source}");
        }
        let nested =
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert_eq!(templates.render(nested, &context! {}), Err(TemplateError::TooLong));
        let long = "{{ 'x' * 2000000 }}";
        assert_eq!(templates.render(long, &context! {}), Err(TemplateError::TooLong));
    }

    #[test]
    fn the_names_of_a_template_are_known_before_it_is_rendered() {
        let names =
            Templates::new().names("{% set a = b %}{{ a }} {{ site.domain }} {{ c | upper }}");
        assert_eq!(names, BTreeSet::from(["b", "c", "site"].map(str::to_owned)));
    }

    #[test]
    fn only_a_lone_name_can_be_a_secret() {
        assert_eq!(only_name("{{ dbPassword }}"), Some("dbPassword"));
        assert_eq!(only_name("{{dbPassword}}"), Some("dbPassword"));
        for other in
            ["x{{ a }}", "{{ a }}b", "{{ a | upper }}", "{{ a }}{{ b }}", "{{ a.b }}", "{{ }}"]
        {
            assert_eq!(only_name(other), None, "{other}");
        }
    }
}
