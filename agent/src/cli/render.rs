//! `render`: the objects that a folder makes.

use serde_json::Value;
use tidegate_core::desired::DesiredObject;
use tidegate_core::object::Object;
use tidegate_schema::yaml;

use super::failure::{Failure, Outcome, because};
use super::output::{RenderedObject, Rendering};
use super::preview::{Folder, load};
use super::printer::{Format, Printer};

const EXAMPLES: &str = "\
Examples:
  tidegate render                                 everything, as YAML
  tidegate render --cluster room-a --product iam  a part of it
  tidegate render --format json | jq '.objects[].object.metadata.name'

Values of Secrets are not shown.";

/// Prints the Kubernetes objects and zones that this folder makes. Asks no cluster.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Only this cluster.
    #[arg(long)]
    cluster: Option<String>,
    /// Only this product.
    #[arg(long)]
    product: Option<String>,
    #[command(flatten)]
    folder: Folder,
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let loaded = load(&args.folder, printer).await?;
    let is_wanted = |object: &&DesiredObject| {
        args.cluster.as_ref().is_none_or(|cluster| &object.reference.cluster == cluster)
            && args.product.as_ref().is_none_or(|it| object.owner.product.as_ref() == Some(it))
    };
    let objects = loaded.desired.objects.iter().filter(is_wanted);
    if printer.format == Format::Json {
        let object = |it: &DesiredObject| RenderedObject {
            cluster: it.reference.cluster.clone(),
            object: Object::new(masked(it)),
        };
        let objects = objects.map(object).collect();
        printer.json(&Rendering { objects, zones: loaded.desired.zones });
        return Ok(Outcome::Done);
    }
    for object in objects {
        let from = object.place.as_ref().map(|place| format!(" from {place}")).unwrap_or_default();
        printer.line(format!("---\n# {}{from}", object.reference));
        printer.text(&yaml::to_string(&masked(object)).map_err(because)?);
    }
    if args.cluster.is_none() && args.product.is_none() {
        for zone in &loaded.desired.zones {
            printer.line(format!("---\n# zone {}", zone.name));
            printer.text(&yaml::to_string(zone).map_err(because)?);
        }
    }
    Ok(Outcome::Done)
}

/// An object without the values of a Secret.
fn masked(object: &DesiredObject) -> Value {
    let body = object.body();
    let is_secret = body.is_secret();
    let mut value = body.into_value();
    if is_secret {
        for field in ["data", "stringData"] {
            let Some(values) = value.get_mut(field).and_then(Value::as_object_mut) else {
                continue;
            };
            for value in values.values_mut() {
                *value = Value::from("(secret)");
            }
        }
    }
    value
}
