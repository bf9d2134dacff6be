//! Errors as Kubernetes tells them: a code, a reason, a message, and causes per field.

use serde_json::{Value, json};

use crate::object;

/// Why a request was refused; becomes a `Status` object.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason, as in `NotFound`; empty when the real server gives none.
    pub reason: String,
    /// The sentence a person reads.
    pub message: String,
    /// What the refusal is about: `name`, `group`, `kind`, `causes`, `retryAfterSeconds`.
    pub details: Value,
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// As in `FieldValueInvalid`.
    pub reason: &'static str,
    /// What is wrong, without the field.
    pub message: String,
    /// The field's path, as in `spec.template.spec.containers[0].image`.
    pub field: String,
}

/// The plural resource of a group, for the messages that name it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The plural resource, or the kind for `Invalid`.
    pub resource: &'a str,
    /// The object's name; may be empty.
    pub name: &'a str,
}

impl Subject<'_> {
    fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }

    fn details(&self) -> Value {
        let mut details = serde_json::Map::new();
        for (key, value) in [("name", self.name), ("group", self.group), ("kind", self.resource)] {
            if !value.is_empty() {
                details.insert(key.to_owned(), Value::from(value));
            }
        }
        Value::Object(details)
    }
}

impl Refusal {
    /// A refusal without details.
    pub fn plain(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self { code, reason: reason.to_owned(), message: message.into(), details: Value::Null }
    }

    /// 400 `BadRequest`.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// 404 for a path that no resource serves.
    pub fn no_such_path() -> Self {
        let mut refusal =
            Self::plain(404, "NotFound", "the server could not find the requested resource");
        refusal.details = json!({});
        refusal
    }

    /// 404 where nothing answers at all; it is told as plain text.
    pub fn no_page() -> Self {
        Self::plain(404, "", "404 page not found")
    }

    /// 405 `MethodNotAllowed`.
    pub fn method_not_allowed() -> Self {
        Self::plain(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    /// 404 for an object.
    pub fn not_found(subject: Subject<'_>) -> Self {
        Self {
            code: 404,
            reason: "NotFound".to_owned(),
            message: format!("{} \"{}\" not found", subject.qualified(), subject.name),
            details: subject.details(),
        }
    }

    /// 409 `AlreadyExists`.
    pub fn already_exists(subject: Subject<'_>) -> Self {
        Self {
            code: 409,
            reason: "AlreadyExists".to_owned(),
            message: format!("{} \"{}\" already exists", subject.qualified(), subject.name),
            details: subject.details(),
        }
    }

    /// 409 `Conflict` with the text of `why`.
    pub fn conflict(subject: Subject<'_>, why: &str) -> Self {
        Self {
            code: 409,
            reason: "Conflict".to_owned(),
            message: format!(
                "Operation cannot be fulfilled on {} \"{}\": {why}",
                subject.qualified(),
                subject.name
            ),
            details: subject.details(),
        }
    }

    /// 409 because the resource version is not the newest.
    pub fn stale(subject: Subject<'_>) -> Self {
        Self::conflict(
            subject,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 403 `Forbidden` with the text of `why`.
    pub fn forbidden(subject: Subject<'_>, why: &str) -> Self {
        let named = if subject.name.is_empty() {
            subject.qualified()
        } else {
            format!("{} \"{}\"", subject.qualified(), subject.name)
        };
        Self {
            code: 403,
            reason: "Forbidden".to_owned(),
            message: format!("{named} is forbidden: {why}"),
            details: subject.details(),
        }
    }

    /// 422 `Invalid`; `subject.resource` is the kind.
    pub fn invalid(subject: Subject<'_>, causes: &[Cause]) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for cause in causes {
            let text = format!("{}: {}", cause.field, cause.message);
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let joined = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut details = subject.details();
        object::set(&mut details, "causes", causes.iter().map(Cause::to_value).collect());
        Self {
            code: 422,
            reason: "Invalid".to_owned(),
            message: format!("{} \"{}\" is invalid: {joined}", subject.qualified(), subject.name),
            details,
        }
    }

    /// 410 `Expired`.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::plain(410, "Expired", message)
    }

    /// The `Status` object.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            object::set(&mut status, "reason", Value::from(self.reason.as_str()));
        }
        if !self.details.is_null() {
            object::set(&mut status, "details", self.details.clone());
        }
        status
    }
}

impl Cause {
    /// A value that breaks a rule, in the form `Invalid value: V: why`.
    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        let message = format!("Invalid value: {}: {why}", shown(value));
        Self { reason: "FieldValueInvalid", message, field: field.into() }
    }

    /// A field that must be there.
    pub fn required(field: impl Into<String>, why: &str) -> Self {
        let message = if why.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {why}")
        };
        Self { reason: "FieldValueRequired", message, field: field.into() }
    }

    /// A field that must not be there or not change.
    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self {
            reason: "FieldValueForbidden",
            message: format!("Forbidden: {why}"),
            field: field.into(),
        }
    }

    /// A value that another entry has already.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        let message = format!("Duplicate value: {}", shown(value));
        Self { reason: "FieldValueDuplicate", message, field: field.into() }
    }

    /// A name that nothing bears.
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        let message = format!("Not found: {}", shown(value));
        Self { reason: "FieldValueNotFound", message, field: field.into() }
    }

    /// A value outside a closed choice.
    pub fn unsupported(field: impl Into<String>, value: &Value, choices: &[&str]) -> Self {
        let quoted: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
        let message =
            format!("Unsupported value: {}: supported values: {}", shown(value), quoted.join(", "));
        Self { reason: "FieldValueNotSupported", message, field: field.into() }
    }

    fn to_value(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}

/// How a value stands in a message: strings quoted, everything else as JSON.
fn shown(value: &Value) -> String {
    value.to_string()
}
