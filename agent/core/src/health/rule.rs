//! Health rules of documents: expressions in CEL about objects of kinds that are not Kubernetes' own.

use cel::{Context, Program, Value};
use tidegate_schema::product::HealthRule;

use super::Health;
use crate::object::Object;

/// What the object is called in expressions.
const OBJECT: &str = "object";

/// Why an expression cannot be used; `None` when it can.
pub fn mistake(expression: &str) -> Option<String> {
    let program = match Program::compile(expression) {
        Ok(program) => program,
        // The lines after the first draw where it is, which the place of a finding says.
        Err(errors) => return errors.to_string().lines().next().map(str::to_owned),
    };
    let names = program.references();
    let unknown = names.variables().into_iter().find(|name| *name != OBJECT);
    unknown.map(|name| format!("`{name}` is not known; what is judged is called `{OBJECT}`"))
}

/// The health by a rule: first what says that the object is on its way, then that it has failed, then that it is healthy.
///
/// What cannot be worked out, such as a field that is not there yet, says that the object is on its way.
pub(super) fn judge(rule: &HealthRule, object: &Object) -> Health {
    let is_so = |expression: &Option<String>| expression.as_ref().map(|it| holds(it, object));
    match is_so(&rule.progressing) {
        Some(Ok(true)) => return Health::progressing("is on its way by its rule"),
        Some(Err(why)) => return unclear(&why),
        Some(Ok(false)) | None => {}
    }
    match is_so(&rule.failed) {
        Some(Ok(true)) => return Health::Failed("has failed by its rule".to_owned()),
        Some(Err(why)) => return unclear(&why),
        Some(Ok(false)) | None => {}
    }
    match is_so(&rule.healthy) {
        Some(Ok(false)) => Health::progressing("is not healthy by its rule"),
        Some(Err(why)) => unclear(&why),
        Some(Ok(true)) | None => Health::Healthy,
    }
}

fn unclear(why: &str) -> Health {
    Health::progressing(format!("its rule {why}"))
}

/// Whether an expression is true of an object.
///
/// # Errors
///
/// Why nobody can say, to be read after what the expression is called.
pub(crate) fn holds(expression: &str, object: &Object) -> Result<bool, String> {
    let program = Program::compile(expression).map_err(|errors| errors.to_string())?;
    let value = cel::to_value(object.value()).map_err(|error| error.to_string())?;
    let mut context = Context::default();
    context.add_variable_from_value(OBJECT, value);
    match program.execute(&context) {
        Ok(Value::Bool(holds)) => Ok(holds),
        Ok(_) => Err("gives neither true nor false".to_owned()),
        Err(error) => Err(format!("cannot be worked out yet: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn rule() -> HealthRule {
        HealthRule {
            group: "example.org".to_owned(),
            kind: "Database".to_owned(),
            progressing: Some("object.status.phase in ['Creating', 'Upgrading']".to_owned()),
            failed: Some(
                "object.status.phase == 'Broken' || object.status.restarts > 3".to_owned(),
            ),
            healthy: Some(
                "object.status.conditions.exists(c, c.type == 'Usable' && c.status == 'True')"
                    .to_owned(),
            ),
        }
    }

    #[rstest]
    #[case::on_its_way(json!({"phase": "Creating", "restarts": 9}), "progressing")]
    #[case::broken(json!({"phase": "Broken", "restarts": 0}), "failed")]
    #[case::by_a_number(json!({"phase": "Running", "restarts": 4}), "failed")]
    #[case::not_usable(json!({"phase": "Running", "restarts": 0, "conditions": []}), "progressing")]
    #[case::usable(json!({"phase": "Running", "restarts": 0, "conditions": [{"type": "Usable", "status": "True"}]}), "healthy")]
    #[case::no_status_yet(json!(null), "progressing")]
    fn an_object_is_judged_by_its_rule(#[case] status: Value, #[case] wanted: &str) {
        let object = Object::new(json!({"apiVersion": "example.org/v1", "kind": "Database",
            "metadata": {"name": "x"}, "status": status}));
        let found = match super::super::health_by(&[rule()], &object) {
            Health::Healthy => "healthy",
            Health::Progressing(_) => "progressing",
            Health::Failed(_) => "failed",
        };
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_rule_does_not_count_before_its_controller_has_seen_the_change_nor_for_other_kinds() {
        let rule = HealthRule { progressing: None, failed: None, healthy: None, ..rule() };
        let object = |kind: &str| {
            Object::new(json!({"apiVersion": "example.org/v1", "kind": kind,
                "metadata": {"name": "x", "generation": 2},
                "status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "False"}]}}))
        };
        let mut seen = object("Database");
        assert!(matches!(
            super::super::health_by(std::slice::from_ref(&rule), &seen),
            Health::Progressing(_)
        ));
        seen.set(&["status", "observedGeneration"], json!(2));
        assert_eq!(super::super::health_by(std::slice::from_ref(&rule), &seen), Health::Healthy);
        let mut other = object("Queue");
        other.set(&["status", "observedGeneration"], json!(2));
        assert!(matches!(super::super::health_by(&[rule], &other), Health::Progressing(_)));
    }

    #[test]
    fn what_is_no_expression_is_said() {
        assert_eq!(mistake("object.status.phase == 'Running'"), None);
        assert!(mistake("object.status.phase ==").is_some());
        assert!(mistake("status.phase == 'Running'").unwrap().contains("`status`"));
    }
}
