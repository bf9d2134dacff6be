//! Pinning: which references of images are looked up in registries, what the answers mean, and which digest each app and
//! each plain manifest gets.
//!
//! What was delivered stays: a reference keeps the digest (or the bare tag) with which it was delivered to the site, whatever
//! the tag means by now. Until then the registry's word counts, so that a tag that moves makes another plan.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidegate_schema::finding::Finding;
use tidegate_schema::site::Access;

use crate::baseline::Baseline;
use crate::desired::DesiredState;
use crate::digest::Digest;
use crate::image::{self, Image, without_digest};
use crate::plan::Plan;
use crate::render::render;
use crate::site::{Deployment, Manifest, Pins, PlacedApp, Placement, ValidSite};

/// What is done about references whose registry does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Registries are not asked; plans say so.
    Off,
    /// What no registry could say is unverified, and goes on by its tag.
    Try,
    /// What no registry could say refuses the plan.
    Require,
}

/// What a registry says of a reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// It is there, and this is its digest; of an image for several platforms that of the index.
    Found(Digest),
    /// The registry is sure that it is not there.
    Missing,
}

/// What is known of a reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// The last answer. It stays while later questions get none, so that no plan changes because a registry is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// Why the last question got none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What is known, by reference.
pub type Answers = BTreeMap<String, Known>;

/// What the baseline says of the image of an app or a manifest.
enum Delivered {
    /// It runs with its reference, and with this digest unless it was delivered by the reference alone.
    Here(Option<Digest>),
    /// The site has had the reference before, with this digest.
    Before(Digest),
}

impl Delivered {
    fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Here(digest) => digest.as_ref(),
            Self::Before(digest) => Some(digest),
        }
    }
}

/// The images that were delivered.
struct Before<'a> {
    baseline: Option<&'a Baseline>,
    /// By reference, of all apps and manifests that there are and ever were.
    digests: BTreeMap<String, Digest>,
}

impl<'a> Before<'a> {
    fn of(baseline: Option<&'a Baseline>) -> Self {
        let mut digests = baseline.map(|baseline| baseline.images.clone()).unwrap_or_default();
        let products = baseline.into_iter().flat_map(|baseline| baseline.products.values());
        let apps = products.flat_map(|product| product.clusters.values()).flatten();
        digests.extend(apps.filter_map(|(_, app)| image::pinned(&app.image)));
        Self { baseline, digests }
    }

    /// An app or manifest counts as delivered while its reference is the delivered one. One reference means one image in a
    /// site, so that an app in another cluster gets what runs already, and an earlier version what it was.
    fn image(&self, place: &Place<'_>) -> Option<Delivered> {
        let product = place.deployment.product.as_str();
        let here = match place.user {
            User::App(app) => self.of_app(product, place.cluster, app),
            User::Manifest(manifest) => self.of_manifest(product, manifest, place.reference),
        };
        let before = || self.digests.get(place.reference).cloned().map(Delivered::Before);
        here.or_else(before)
    }

    fn of_app(&self, product: &str, cluster: &str, app: &PlacedApp) -> Option<Delivered> {
        let product = self.baseline?.products.get(product)?;
        let own = product.clusters.get(cluster)?.get(app.app.name.as_str())?;
        is_delivered(&app.image, &own.image)
    }

    /// What was delivered before the images of manifests were kept went by its reference alone.
    fn of_manifest(
        &self,
        product: &str,
        manifest: &Manifest,
        reference: &str,
    ) -> Option<Delivered> {
        let (baseline, cluster) = (self.baseline?, manifest.reference.cluster.as_str());
        if baseline.lacks_manifest_images(product, cluster) {
            return Some(Delivered::Here(None));
        }
        let objects = baseline.manifest_images(product, cluster)?;
        let own = objects.get(&manifest.reference.to_string())?;
        own.iter().find_map(|image| is_delivered(reference, image))
    }
}

/// Whether an image that was delivered is the one of a reference.
fn is_delivered(reference: &str, delivered: &str) -> Option<Delivered> {
    if delivered == reference {
        return Some(Delivered::Here(None));
    }
    let (plain, digest) = image::pinned(delivered)?;
    (plain == reference).then_some(Delivered::Here(Some(digest)))
}

/// What runs an image.
#[derive(Clone, Copy)]
enum User<'a> {
    App(&'a PlacedApp),
    Manifest(&'a Manifest),
}

/// An image of an app or a manifest in a cluster.
struct Place<'a> {
    cluster: &'a str,
    deployment: &'a Deployment,
    user: User<'a>,
    reference: &'a str,
    delivered: Option<Delivered>,
    /// Whether its image is a registry's to know: its reference says of which, somebody pulls it, and releases do not
    /// leave the app alone.
    is_looked_up: bool,
}

fn places<'a>(site: &'a ValidSite, before: &Before<'_>) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    for deployment in site.deployments.values() {
        for (cluster, placement) in &deployment.placements {
            let access = site.clusters.get(cluster).map(|cluster| &cluster.spec.access);
            let is_pulled = !matches!(access, Some(Access::Sandbox(_)));
            for (user, reference) in images(placement) {
                let has_host = Image::parse(reference).is_some_and(|image| image.host.is_some());
                let is_left_alone = match user {
                    User::App(app) => deployment.exclude.contains(app.app.name.as_str()),
                    User::Manifest(_) => false,
                };
                let is_looked_up = is_pulled && has_host && !is_left_alone;
                let mut place =
                    Place { cluster, deployment, user, reference, delivered: None, is_looked_up };
                place.delivered = before.image(&place);
                places.push(place);
            }
        }
    }
    places
}

fn images(placement: &Placement) -> impl Iterator<Item = (User<'_>, &str)> {
    let apps = placement.apps.iter().map(|app| (User::App(app), app.image.as_str()));
    let manifests = placement.manifests.iter().flat_map(|manifest| {
        manifest.images.iter().map(move |image| (User::Manifest(manifest), image.as_str()))
    });
    apps.chain(manifests)
}

/// The reference by which a registry is asked for one of its images by digest.
fn by_digest(reference: &str, digest: &Digest) -> String {
    let plain = without_digest(reference);
    let path = plain.rfind('/').map_or(0, |slash| slash + 1);
    let tag = plain.get(path..).and_then(|last| last.find(':'));
    let bare = tag.map_or(plain, |colon| plain.get(..path + colon).unwrap_or(plain));
    format!("{bare}@{digest}")
}

/// The references that registries are to be asked for. What is delivered and has another digest by now is asked for by its
/// digest too: that tells whether what runs can still be pulled.
pub fn lookups(
    site: &ValidSite,
    baseline: Option<&Baseline>,
    answers: &Answers,
) -> BTreeSet<String> {
    let mut wanted = BTreeSet::new();
    for place in places(site, &Before::of(baseline)).iter().filter(|it| it.is_looked_up) {
        let reference = place.reference;
        let answer = answers.get(reference).and_then(|known| known.answer.as_ref());
        if let Some(digest) = place.delivered.as_ref().and_then(Delivered::digest)
            && let Some(answer) = answer
            && *answer != Answer::Found(digest.clone())
        {
            wanted.insert(by_digest(reference, digest));
        }
        wanted.insert(reference.to_owned());
    }
    wanted
}

/// What the images of a site are pinned to, and what is to be said about them.
pub fn pins(
    site: &ValidSite,
    baseline: Option<&Baseline>,
    answers: &Answers,
    lookup: Lookup,
) -> Pins {
    let mut pins = Pins::default();
    let mut report = Report::new(answers);
    for place in places(site, &Before::of(baseline)) {
        let reference = place.reference;
        let is_written_out = reference.contains('@');
        let known = answers.get(reference).filter(|_| place.is_looked_up && lookup != Lookup::Off);
        let digest = match (&place.delivered, known.and_then(|known| known.answer.as_ref())) {
            (Some(delivered), _) => delivered.digest(),
            (None, Some(Answer::Found(digest))) if !is_written_out => {
                pins.resolved.insert(reference.to_owned(), digest.clone());
                Some(digest)
            }
            (None, _) => None,
        };
        if let Some(digest) = digest {
            pin(&mut pins, &place, digest);
        }
        if place.is_looked_up {
            match lookup {
                Lookup::Off if place.delivered.is_none() => report.not_asked(reference),
                Lookup::Off => {}
                Lookup::Try | Lookup::Require => report.judge(&place),
            }
        }
    }
    pins.findings = report.findings(lookup);
    pins
}

fn pin(pins: &mut Pins, place: &Place<'_>, digest: &Digest) {
    match place.user {
        User::App(app) => {
            let of_cluster = pins.apps.entry(place.cluster.to_owned()).or_default();
            let of_product = of_cluster.entry(place.deployment.product.clone()).or_default();
            of_product.insert(app.app.name.to_string(), digest.clone());
        }
        User::Manifest(manifest) => {
            let own = pins.manifests.entry(manifest.reference.clone()).or_default();
            own.insert(place.reference.to_owned(), digest.clone());
        }
    }
}

/// The pins of a plan that was made before: its baseline, and what it carries.
pub fn planned(
    site: &ValidSite,
    baseline: Option<&Baseline>,
    resolved: &BTreeMap<String, Digest>,
) -> Pins {
    let found =
        |digest: &Digest| Known { answer: Some(Answer::Found(digest.clone())), trouble: None };
    let answers =
        resolved.iter().map(|(reference, digest)| (reference.clone(), found(digest))).collect();
    pins(site, baseline, &answers, Lookup::Try)
}

/// The site and the content that a plan has approved, made again as of an instant; `None` when it cannot be made any more.
/// Agents of before have left images of plain manifests as they are written.
pub fn as_planned(
    site: &ValidSite,
    baseline: Option<&Baseline>,
    plan: &Plan,
    at: Timestamp,
) -> Option<(DesiredState, ValidSite)> {
    let pins = planned(site, baseline, &plan.content.images);
    let unpinned = Pins { manifests: BTreeMap::new(), ..pins.clone() };
    let sites = [pins, unpinned].into_iter().map(|pins| site.clone().with_pins(pins));
    let mut contents = sites.map(|site| (render(&site, at), site));
    contents.find(|(desired, _)| desired.digest() == plan.content.desired)
}

/// References by what is wrong with them: a registry that is away is said once, and not for each of its images.
struct Report<'a> {
    answers: &'a Answers,
    findings: Vec<Finding>,
    unverified: BTreeMap<(String, String), BTreeSet<String>>,
    unchecked: BTreeMap<(String, String), BTreeSet<String>>,
    by_tag: BTreeSet<String>,
    not_asked: BTreeSet<String>,
}

impl<'a> Report<'a> {
    fn new(answers: &'a Answers) -> Self {
        Self {
            answers,
            findings: Vec::new(),
            unverified: BTreeMap::new(),
            unchecked: BTreeMap::new(),
            by_tag: BTreeSet::new(),
            not_asked: BTreeSet::new(),
        }
    }

    fn not_asked(&mut self, reference: &str) {
        self.not_asked.insert(reference.to_owned());
    }

    fn judge(&mut self, place: &Place<'_>) {
        let reference = place.reference;
        let unknown = Known::default();
        let known = self.answers.get(reference).unwrap_or(&unknown);
        match (&place.delivered, &known.answer) {
            (None, None) => {
                let reason = known.trouble.clone().unwrap_or_default();
                note(&mut self.unverified, reference, reason);
            }
            (None, Some(Answer::Missing)) => self.missing(place, reference),
            (Some(Delivered::Before(digest)), Some(answer)) => {
                self.moved(reference, digest, answer);
                if self.is_gone(reference, digest) {
                    self.missing(place, &format!("{reference}@{digest}"));
                }
            }
            (Some(Delivered::Here(Some(digest))), Some(answer)) => {
                self.moved(reference, digest, answer);
                if self.is_gone(reference, digest) {
                    self.gone(&format!("{reference}@{digest}"));
                }
            }
            (Some(Delivered::Here(None)), Some(Answer::Missing)) => self.gone(reference),
            (Some(Delivered::Here(None)), Some(Answer::Found(_))) if !reference.contains('@') => {
                self.by_tag.insert(reference.to_owned());
            }
            (None | Some(Delivered::Here(None)), Some(Answer::Found(_))) | (Some(_), None) => {}
        }
        if let Some(trouble) = &known.trouble
            && (place.delivered.is_some() || known.answer.is_some())
        {
            note(&mut self.unchecked, reference, trouble.clone());
        }
    }

    fn missing(&mut self, place: &Place<'_>, image: &str) {
        let finding = match place.user {
            User::App(app) => {
                Finding::error("IMAGE/MISSING").at(app.place.clone()).with("app", &app.app.name)
            }
            User::Manifest(manifest) => Finding::error("IMAGE/MISSING_IN_MANIFEST")
                .at(manifest.place.clone())
                .with("object", &manifest.reference),
        };
        self.findings.push(finding.with("image", image).with("product", &place.deployment.product));
    }

    /// Whether a registry has said that it does not have an image by its digest.
    fn is_gone(&self, reference: &str, digest: &Digest) -> bool {
        let own = self.answers.get(&by_digest(reference, digest));
        own.is_some_and(|own| own.answer == Some(Answer::Missing))
    }

    fn moved(&mut self, reference: &str, digest: &Digest, answer: &Answer) {
        if let Answer::Found(now) = answer
            && now != digest
        {
            let finding = Finding::warning("IMAGE/TAG_MOVED").with("image", reference);
            self.findings.push(finding.with("delivered", digest).with("now", now));
        }
    }

    fn gone(&mut self, image: &str) {
        self.findings.push(Finding::warning("IMAGE/GONE").with("image", image));
    }

    fn findings(self, lookup: Lookup) -> Vec<Finding> {
        let mut findings = self.findings;
        let unverified = |registry: &str| match lookup {
            Lookup::Require => Finding::error("IMAGE/UNVERIFIED").with("registry", registry),
            Lookup::Off | Lookup::Try => {
                Finding::warning("IMAGE/UNVERIFIED").with("registry", registry)
            }
        };
        for ((registry, reason), images) in &self.unverified {
            let finding = unverified(registry).with("reason", reason);
            findings.push(finding.with("images", list(images)));
        }
        for ((registry, reason), images) in &self.unchecked {
            let finding = Finding::warning("IMAGE/NOT_CHECKED").with("registry", registry);
            findings.push(finding.with("reason", reason).with("images", list(images)));
        }
        if !self.by_tag.is_empty() {
            findings.push(Finding::note("IMAGE/BY_TAG").with("images", list(&self.by_tag)));
        }
        if !self.not_asked.is_empty() {
            let finding = Finding::note("IMAGE/NOT_LOOKED_UP");
            findings.push(finding.with("images", list(&self.not_asked)));
        }
        findings.sort();
        findings.dedup();
        findings
    }
}

fn note(into: &mut BTreeMap<(String, String), BTreeSet<String>>, reference: &str, reason: String) {
    let host = Image::parse(reference).and_then(|image| image.host).unwrap_or_default().to_owned();
    into.entry((host, reason)).or_default().insert(reference.to_owned());
}

fn list(images: &BTreeSet<String>) -> String {
    images.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
