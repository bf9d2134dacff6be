//! Lists: selectors, pages, and the forms that they take.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::dispatch::Call;
use crate::object;
use crate::resource::Resource;
use crate::selector::Selection;
use crate::status::{Cause, Refusal, Subject};
use crate::table;
use crate::world::World;
use crate::write;

/// Which objects the request is about.
pub(crate) fn selection(resource: &Resource, call: &Call<'_>) -> Result<Selection, Refusal> {
    check_options(call)?;
    let mut fields = call.query.get("fieldSelector").to_owned();
    if !call.place.name.is_empty() && !fields.contains("metadata.name") {
        let separator = if fields.is_empty() { "" } else { "," };
        fields = format!("{fields}{separator}metadata.name={}", call.place.name);
    }
    let selection = Selection::read(call.query.get("labelSelector"), &fields)?;
    selection.check(resource)?;
    Ok(selection)
}

/// Refuses options that are not of their form.
fn check_options(call: &Call<'_>) -> Result<(), Refusal> {
    for name in ["limit", "timeoutSeconds"] {
        let given = call.query.get(name);
        if !given.is_empty() && given.parse::<i64>().is_err() {
            let why = format!("strconv.ParseInt: parsing \"{given}\": invalid syntax");
            return Err(Refusal::bad_request(why));
        }
    }
    let (version, matching) =
        (call.query.get("resourceVersion"), call.query.get("resourceVersionMatch"));
    if call.verb == "list" && !version.is_empty() && version.parse::<u64>().is_err() {
        let why = format!(
            "resourceVersion: Invalid value: \"{version}\": strconv.ParseUint: parsing \"{version}\": invalid syntax"
        );
        return Err(Refusal::plain(500, "", why));
    }
    let cause = match matching {
        "" => return Ok(()),
        "Exact" | "NotOlderThan" if !version.is_empty() || call.verb == "watch" => return Ok(()),
        "Exact" | "NotOlderThan" => Cause::forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        other => Cause::unsupported(
            "resourceVersionMatch",
            &other.into(),
            &["Exact", "NotOlderThan", ""],
        ),
    };
    let subject = Subject { group: "meta.k8s.io", resource: "ListOptions", name: "" };
    Err(Refusal::invalid(subject, &[cause]))
}

/// One page. A page after the first shows the store as it is then, where the real server shows it as it was at the first page.
pub(crate) fn list(world: &World, resource: &Resource, call: &Call<'_>) -> Result<Value, Refusal> {
    let selection = selection(resource, call)?;
    let limit: usize = call.query.get("limit").parse().unwrap_or_default();
    let place = &call.place;
    let namespace = Some(place.namespace.as_str())
        .filter(|namespace| resource.is_namespaced && !namespace.is_empty());
    let mut revision = world.store.revision();
    let mut after = None;
    let token = call.query.get("continue");
    if !token.is_empty() {
        let wrong = || Refusal::bad_request("continue key is not valid");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
        let page: Value = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
        revision = object::integer(&page, "/revision")
            .and_then(|found| u64::try_from(found).ok())
            .ok_or_else(wrong)?;
        if world.store.changes_since(revision).is_none() {
            return Err(Refusal::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
            ));
        }
        let part = |field: &str| object::text(&page, field).to_owned();
        after = Some((part("/namespace"), part("/name")));
    }
    let position =
        |value: &Value| (object::namespace(value).to_owned(), object::name(value).to_owned());
    let mut matching = world
        .store
        .of_kind(&resource.group, &resource.kind, namespace)
        .filter(|value| selection.matches(value))
        .filter(|value| after.as_ref().is_none_or(|after| position(value) > *after));
    let mut items: Vec<Value> = Vec::new();
    for value in matching.by_ref() {
        items.push(write::in_version(value, resource, &place.version));
        if items.len() == limit {
            break;
        }
    }
    let left = matching.count();
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let (true, Some(last)) = (left > 0, items.last()) {
        let (namespace, name) = position(last);
        let page = json!({"revision": revision, "namespace": namespace, "name": name});
        object::set(&mut metadata, "continue", URL_SAFE_NO_PAD.encode(page.to_string()).into());
        if call.query.get("labelSelector").is_empty() && call.query.get("fieldSelector").is_empty()
        {
            object::set(&mut metadata, "remainingItemCount", left.into());
        }
    }
    Ok(table::several(&call.form, items, &metadata, resource, &place.version, call.now))
}
