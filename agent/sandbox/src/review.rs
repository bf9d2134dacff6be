//! Reviews: questions about access that are answered and not kept.

use serde_json::{Value, json};

use crate::access::User;
use crate::dispatch::{Call, Outcome};
use crate::object::{self, list, text};
use crate::rbac::{self, Question};
use crate::resource::Resource;
use crate::status::{Cause, Refusal};
use crate::world::World;

/// Answers a review.
pub(crate) fn answer(
    world: &World,
    resource: &Resource,
    call: &Call<'_>,
) -> Result<Outcome, Refusal> {
    if call.verb != "create" || !call.place.name.is_empty() {
        return Err(Refusal::method_not_allowed());
    }
    let mut value = call.document()?;
    object::set(&mut value, "apiVersion", resource.api_version(&call.place.version).into());
    object::set(&mut value, "kind", resource.kind.as_str().into());
    object::map_mut(&mut value, "metadata")
        .map(|metadata| metadata.insert("creationTimestamp".to_owned(), Value::Null));
    let spec = value.get("spec").cloned().unwrap_or_else(|| json!({}));
    let status = match resource.kind.as_str() {
        "SelfSubjectReview" => json!({"userInfo": described(&call.user)}),
        "SelfSubjectRulesReview" => {
            rbac::rules(&world.store, &call.user, text(&spec, "/namespace"))
        }
        "SelfSubjectAccessReview" => judged(world, resource, &call.user, &spec)?,
        "TokenReview" => match world.credentials.user(text(&spec, "/token")) {
            Some(user) => json!({"authenticated": true, "user": described(user)}),
            None => json!({"user": {}, "error": "invalid bearer token"}),
        },
        _ => {
            let groups: Vec<&str> =
                list(&spec, "/groups").iter().filter_map(Value::as_str).collect();
            let user = User {
                name: text(&spec, "/user").to_owned(),
                groups: groups.into_iter().map(str::to_owned).collect(),
            };
            if user.name.is_empty() && user.groups.is_empty() {
                let cause = Cause::invalid(
                    "spec.user",
                    &"".into(),
                    "at least one of user or group must be specified",
                );
                return Err(Refusal::invalid(resource.kind_subject(""), &[cause]));
            }
            judged(world, resource, &user, &spec)?
        }
    };
    object::set(&mut value, "status", status);
    object::set(&mut value, "spec", spec);
    Ok(Outcome::created(value))
}

fn described(user: &User) -> Value {
    json!({"username": user.name, "groups": user.groups})
}

fn judged(world: &World, resource: &Resource, user: &User, spec: &Value) -> Result<Value, Refusal> {
    if spec.get("resourceAttributes").is_some() == spec.get("nonResourceAttributes").is_some() {
        let cause = Cause::invalid(
            "spec.resourceAttributes",
            &Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        );
        return Err(Refusal::invalid(resource.kind_subject(""), &[cause]));
    }
    Ok(match rbac::allows(&world.store, user, &Question::read(spec)) {
        Some(reason) if reason.is_empty() => json!({"allowed": true}),
        Some(reason) => json!({"allowed": true, "reason": reason}),
        None => json!({"allowed": false}),
    })
}
