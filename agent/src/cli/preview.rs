//! What the commands on a folder share: loading it, and comparing it with the live clusters.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tidegate_core::baseline::{Baseline, to_drain};
use tidegate_core::change::ForeignFields;
use tidegate_core::desired::DesiredState;
use tidegate_core::diff::{diff, foreign};
use tidegate_core::digest::Digest;
use tidegate_core::live::{ClusterObservation, Gap, Inventory, LiveState, Surroundings};
use tidegate_core::pin::Lookup;
use tidegate_core::plan::{Plan, PlanReport};
use tidegate_core::planner::plan;
use tidegate_core::render::render;
use tidegate_core::site::ValidSite;
use tidegate_core::snapshot::Snapshot;
use tidegate_core::validate::validate;
use tidegate_schema::finding::{Finding, Severity};
use tidegate_schema::site::Access;

use super::asking;
use super::failure::{Failure, because};
use super::printer::Printer;
use super::report::Sources;
use crate::agent::{Accepted, Images};
use crate::cause::chain;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::config;
use crate::earlier;
use crate::journal::{Journal, ReleaseRow, fact};
use crate::registry::{self, Registries};
use crate::sandboxes::Sandboxes;
use crate::source::Source;
use crate::status::Status;

/// The folder of a site.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Folder {
    /// The site's folder, committed or not.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(super) path: PathBuf,
}

/// What was applied before.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Before {
    /// The data folder of the site's agent, for what it owns and what the site has reached. Without it nothing is known to
    /// be ours, so nothing is deleted and everything counts as a first installation.
    #[arg(long, env = "TIDEGATE_DATA", hide_env_values = true, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
}

/// How images are looked up, as for the agent: the same answers make the same plan.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ImageLookup {
    /// Whether images are looked up in their registries.
    #[arg(
        long = "image-lookup",
        env = "TIDEGATE_IMAGE_LOOKUP",
        hide_env_values = true,
        default_value = "try",
        value_parser = ["off", "try", "require"],
        value_name = "HOW"
    )]
    how: String,
    /// A `config.json` of Docker with the credentials of registries.
    #[arg(long, env = "TIDEGATE_REGISTRY_AUTH", hide_env_values = true, value_name = "FILE")]
    registry_auth: Option<PathBuf>,
    /// Certificates that are trusted for registries, beside those of the system.
    #[arg(long, env = "TIDEGATE_REGISTRY_CA", hide_env_values = true, value_name = "FILE")]
    registry_ca: Option<PathBuf>,
    /// A registry that is asked without encryption; may be given several times.
    #[arg(
        long,
        env = "TIDEGATE_REGISTRY_INSECURE",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "HOST"
    )]
    registry_insecure: Vec<String>,
}

impl ImageLookup {
    /// What is done about images whose registry does not say.
    pub(super) fn lookup(&self) -> Lookup {
        config::lookup(&self.how).unwrap_or(Lookup::Try)
    }

    /// Asks nothing yet.
    pub(super) fn images(&self) -> Result<Images, Failure> {
        let lookup = self.lookup();
        if lookup == Lookup::Off {
            return Ok(Images::off());
        }
        let options = registry::Options {
            auth: self.registry_auth.clone(),
            authorities: self.registry_ca.clone(),
            insecure: self.registry_insecure.iter().cloned().collect(),
        };
        let registries = Registries::new(options).map_err(because)?;
        Ok(Images::looked_up(registries, lookup, INTERVAL))
    }
}

/// How often registries are asked again by a command that goes on for a while.
const INTERVAL: Duration = Duration::from_hours(1);

/// A folder that is valid.
pub(super) struct Loaded {
    /// Its files.
    pub(super) snapshot: Snapshot,
    /// What they say.
    pub(super) site: ValidSite,
    /// What that makes.
    pub(super) desired: DesiredState,
}

/// A folder compared with the live clusters.
pub(super) struct Preview {
    /// The plan that would be made of it.
    pub(super) plan: Plan,
    /// What is refused or left out.
    pub(super) report: PlanReport,
    /// What others have set on the same objects.
    pub(super) foreign: Vec<ForeignFields>,
}

/// Loads a folder. What is wrong with it is shown with its source; errors end the command.
pub(super) async fn load(folder: &Folder, printer: &Printer) -> Result<Loaded, Failure> {
    read(Source::folder(&folder.path).await?, printer)
}

/// What files say. What is wrong with them is shown with its source; errors end the command.
pub(super) fn read(snapshot: Snapshot, printer: &Printer) -> Result<Loaded, Failure> {
    let now = printer.now();
    let (site, findings) = validate(&snapshot, now);
    let is_refused = findings.iter().any(Finding::is_error);
    let told: Vec<Finding> =
        findings.into_iter().filter(|it| is_refused || it.severity != Severity::Note).collect();
    printer.complain(&told, &Sources::of(&snapshot));
    match site.filter(|_| !is_refused) {
        Some(site) => {
            let desired = render(&site, now);
            Ok(Loaded { snapshot, site, desired })
        }
        // All of it has been shown.
        None => Err(Vec::new().into()),
    }
}

/// Compares a folder with the live clusters.
pub(super) async fn preview(
    folder: &Folder,
    before: &Before,
    lookup: &ImageLookup,
    printer: &Printer,
) -> Result<Preview, Failure> {
    let snapshot = Source::folder(&folder.path).await?;
    let known = Known::of(before.data.as_deref(), printer).await?;
    let snapshot = match before.data.as_deref() {
        Some(data) => {
            let releases = Past { known: &known, data, folder, inner: snapshot.folder.clone() };
            earlier::complete(snapshot, &releases, None).await
        }
        None => snapshot,
    };
    let Loaded { snapshot, site, .. } = read(snapshot, printer)?;
    let accepted = known.policies;
    let (baseline, inventory) = (known.baseline, known.inventory);
    let pins = lookup.images()?.pins(&site, baseline.as_ref()).await;
    let site = site.with_pins(pins);
    let desired = render(&site, printer.now());
    let known = (&inventory, baseline.as_ref());
    let live = observe(&site, &desired, known, before.data.as_deref(), printer.now()).await;
    let published = baseline.as_ref().map(|baseline| baseline.zones.clone()).unwrap_or_default();
    let changes = diff(&desired, &live, &inventory, &published);
    let foreign = foreign(&desired, &live);
    let authors = [snapshot.revision.author.clone(), snapshot.revision.committer.clone()];
    let (mut plan, report) = plan(
        changes,
        &desired,
        &site,
        &live,
        baseline.as_ref(),
        &inventory,
        &snapshot.revision,
        &authors,
    );
    plan.mark_policy_change(accepted.as_ref());
    Ok(Preview { plan, report, foreign })
}

/// What the agent of a data folder knows: asked of it while it runs, read from its journal otherwise.
#[derive(Default)]
struct Known {
    baseline: Option<Baseline>,
    inventory: Inventory,
    /// Digest of the policies, persons and groups that count.
    policies: Option<Digest>,
    agent: Option<Client>,
    journal: Option<Journal>,
}

impl Known {
    async fn of(data: Option<&Path>, printer: &Printer) -> Result<Self, Failure> {
        let Some(data) = data else { return Ok(Self::default()) };
        if !data.join("journal.sqlite").is_file() {
            return Err(Finding::error("COMMAND/NO_DATA").with("path", data.display()).into());
        }
        if let Some(client) = asking::running(data, printer) {
            let inventory = client.get("/api/v1/inventory").await;
            if let Ok(inventory) = inventory {
                let baseline = client.get("/api/v1/baseline").await.ok();
                let status: Status = client.get("/api/v1/status").await?;
                let policies = status.source.policies;
                let agent = Some(client);
                return Ok(Self { baseline, inventory, policies, agent, journal: None });
            }
        }
        let journal = Journal::open(data).await?;
        let baseline = journal.fact(fact::BASELINE).await.map_err(because)?;
        let inventory = journal.inventory().await.map_err(because)?;
        let accepted: Option<Accepted> = journal.fact(fact::ACCEPTED).await.map_err(because)?;
        let policies = accepted.map(|accepted| accepted.policies);
        Ok(Self { baseline, inventory, policies, agent: None, journal: Some(journal) })
    }
}

/// Releases that operations of a folder go back to, as its agent knows them.
struct Past<'a> {
    known: &'a Known,
    data: &'a Path,
    folder: &'a Folder,
    /// The site's folder inside the repository.
    inner: String,
}

impl earlier::Releases for Past<'_> {
    fn row(&self, id: &str) -> BoxFuture<'_, Result<Option<ReleaseRow>, String>> {
        let id = id.to_owned();
        Box::pin(async move {
            if let Some(agent) = &self.known.agent {
                let all: Vec<ReleaseRow> = agent
                    .get("/api/v1/releases?limit=1000")
                    .await
                    .map_err(|error| chain(&error))?;
                return Ok(all.into_iter().find(|row| row.id == id));
            }
            match &self.known.journal {
                Some(journal) => journal.release(&id).await.map_err(|error| chain(&error)),
                None => Ok(None),
            }
        })
    }

    /// From the repository of the folder; or else from the copy that the agent, or `apply`, keeps in the data folder.
    fn files(&self, commit: &str) -> BoxFuture<'_, Result<Snapshot, String>> {
        let commit = commit.to_owned();
        Box::pin(async move {
            let copies = ["mirror.git", "applied.git"].map(|name| self.data.join(name));
            let places = [self.folder.path.clone()].into_iter().chain(copies);
            let mut refused = String::new();
            for place in places {
                match Source::local(place, self.inner.clone(), commit.clone()).await {
                    Ok(snapshot) => return Ok(snapshot),
                    Err(error) if refused.is_empty() => refused = chain(&error),
                    Err(_) => {}
                }
            }
            Err(refused)
        })
    }
}

async fn observe(
    site: &ValidSite,
    desired: &DesiredState,
    (inventory, baseline): (&Inventory, Option<&Baseline>),
    data: Option<&Path>,
    now: Timestamp,
) -> LiveState {
    let sandboxes = Sandboxes::copied(data);
    let mut live = LiveState::default();
    for name in site.clusters.keys() {
        let cluster = connect(site, name, &sandboxes, data).await;
        let own: Vec<_> =
            desired.objects.iter().filter(|object| &object.reference.cluster == name).collect();
        let ours: Vec<_> = inventory.entries.iter().filter(|(it, _)| &it.cluster == name).collect();
        let observation = match cluster {
            Ok(cluster) => {
                let mut observation = cluster.observe(&own, &ours, now).await;
                cluster.add_nodes(&to_drain(desired, baseline, name), &mut observation).await;
                observation
            }
            Err(reason) => unobserved(reason, now),
        };
        live.clusters.insert(name.clone(), observation);
    }
    live
}

/// A cluster of a site for reading it: as its document says, or the sandbox that an agent of this folder serves or has kept.
pub(super) async fn connect(
    site: &ValidSite,
    name: &str,
    sandboxes: &Sandboxes,
    data: Option<&Path>,
) -> Result<Cluster, String> {
    let Some(document) = site.clusters.get(name) else { return Err(String::new()) };
    let access = &document.spec.access;
    let served = match access {
        Access::Sandbox(_) => Sandboxes::served(name, data).await,
        Access::Kubeconfig(_) | Access::InCluster(_) => None,
    };
    if let Some(client) = served.or_else(|| sandboxes.connector()(name, access)) {
        return Ok(Cluster::of_client(name, &site.name, client));
    }
    let folder = data.unwrap_or(Path::new("."));
    match Cluster::connect(name, &site.name, access, folder).await {
        Ok(Some(cluster)) => Ok(cluster),
        Ok(None) => Err("the sandbox did not start".to_owned()),
        Err(error) => Err(chain(&error)),
    }
}

fn unobserved(message: String, now: Timestamp) -> ClusterObservation {
    ClusterObservation {
        uid: None,
        version: None,
        observed_at: now,
        gap: Some(Gap { code: "CLUSTER/NOT_CONNECTED".to_owned(), message }),
        gaps: std::collections::BTreeMap::new(),
        objects: std::collections::BTreeMap::new(),
        around: Surroundings::default(),
    }
}
