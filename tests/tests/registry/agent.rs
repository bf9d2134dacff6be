//! The built agent with a registry and a cluster that is served to it by a kubeconfig: from the tag in the documents to the
//! digest in the pods, and what becomes of a site when tags move, images go and the registry is away.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::Api;
use tempfile::TempDir;
use tidegate::journal::{Journal, fact};
use tidegate::sandboxes::Sandboxes;
use tidegate::status::{Condition, PlanStatus, Status};
use tidegate_core::digest::Digest;
use tidegate_core::plan::Plan;
use tidegate_core::release::ReleasePhase;
use tidegate_schema::finding::Finding;
use tidegate_schema::site::{Access as ClusterAccess, SandboxAccess};
use tidegate_tests::program::TestSite;
use tidegate_tests::real_cluster::client;
use tidegate_tests::registry::{Access, Registry, docker_config};

const MARIA: (&str, &str) = ("Maria", "maria@bank.example");

/// A site with a cluster, an agent's way to its registry, and two persons who approve together.
struct Stage {
    site: TestSite,
    registry: Registry,
    cluster: Client,
    kubeconfig: PathBuf,
    auth: PathBuf,
    /// The digest of the manifest's image that was published with one of the app's.
    extras: BTreeMap<String, String>,
    _folder: TempDir,
    _sandboxes: Sandboxes,
}

impl Stage {
    async fn with(rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::in_folder(folder.path());
        let access = ClusterAccess::Sandbox(SandboxAccess { nodes: 2 });
        sandboxes.connector()("main", &access).unwrap();
        let kubeconfig = folder.path().join("sandbox-main.kubeconfig");
        let cluster = client(&kubeconfig).await;
        let registry = Registry::start(Access::Tokens).await;
        let auth = folder.path().join("config.json");
        std::fs::write(&auth, docker_config(&registry.host())).unwrap();
        std::fs::set_permissions(&auth, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut site = TestSite::new();
        let keys = ["lina", "wugang"].map(|person| (person, site.key_of(person)));
        let persons = keys.iter().map(|(person, key)| {
            format!(
                "---\napiVersion: tidegate.dev/v1\nkind: Person\nmetadata: {{name: {person}}}\nspec: {{emails: [{person}@bank.example], keys: ['{key}']}}\n"
            )
        });
        let site_text = format!(
            "apiVersion: tidegate.dev/v1\nkind: Site\nmetadata: {{name: hz}}\n\
             spec: {{tier: development, resourcePrefix: hz, domain: hz.internal, registry: '{}'}}\n---\n\
             apiVersion: tidegate.dev/v1\nkind: Cluster\nmetadata: {{name: main}}\n\
             spec: {{access: {{kubeconfig: {{path: main.yaml}}}}, room: r1, zone: z1, region: west}}\n---\n\
             apiVersion: tidegate.dev/v1\nkind: Group\nmetadata: {{name: it-ops}}\nspec: {{members: [lina, wugang]}}\n---\n\
             apiVersion: tidegate.dev/v1\nkind: ApprovalPolicy\nmetadata: {{name: development}}\nspec: {{rules: [{rules}]}}\n{}",
            registry.host(),
            persons.collect::<String>(),
        );
        site.write("site.yaml", &site_text);
        let stage = Self {
            site,
            registry,
            cluster,
            kubeconfig,
            auth,
            extras: BTreeMap::new(),
            _folder: folder,
            _sandboxes: sandboxes,
        };
        stage.wants("1.0.0");
        stage
    }

    /// The documents want this version, whose images have its number as the tag.
    fn wants(&self, version: &str) {
        self.wants_with(version, version);
    }

    /// The same, with another tag of the manifest's image.
    fn wants_with(&self, version: &str, tag: &str) {
        self.site.write(
            "web.yaml",
            &format!(
                "apiVersion: tidegate.dev/v1\nkind: Product\nmetadata: {{name: web}}\nspec: {{}}\n---\n\
                 apiVersion: tidegate.dev/v1\nkind: ProductVersion\nmetadata: {{name: web}}\nspec:\n  version: {version}\n  manifests: [manifests/*.yaml]\n  apps:\n\
                 \x20   - {{name: front, workload: Deployment, image: 'web/front:{version}'}}\n---\n\
                 apiVersion: tidegate.dev/v1\nkind: Solution\nmetadata: {{name: all}}\nspec: {{products: [{{product: web, version: {version}}}]}}\n"
            ),
        );
        self.manifest(tag, version);
        self.site.push(MARIA, &format!("web {version}"));
    }

    /// A plain manifest of the product: another image, by its tag, and something else about its pods.
    fn manifest(&self, tag: &str, mark: &str) {
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: extra}}\nspec:\n  \
             selector: {{matchLabels: {{a: extra}}}}\n  \
             template:\n    metadata: {{labels: {{a: extra}}, annotations: {{mark: '{mark}'}}}}\n    \
             spec: {{containers: [{{name: extra, image: '{}/web/extra:{tag}'}}]}}\n",
            self.registry.host()
        );
        self.site.write("manifests/extra.yaml", &text);
    }

    /// Publishes both images under a tag, and gives the digest of the app's.
    fn publish(&mut self, tag: &str, content: &str) -> Digest {
        let front = self.registry.push("web/front", tag, content);
        let extra = self.registry.push("web/extra", tag, &format!("{content} extra"));
        self.extras.insert(front.to_string(), extra.to_string());
        front
    }

    fn start(&mut self, interval: &str) {
        let (host, auth) = (self.registry.host(), self.auth.display().to_string());
        self.site.looks_up_images(&[
            "--registry-insecure",
            &host,
            "--registry-auth",
            &auth,
            "--image-lookup-interval",
            interval,
        ]);
        self.site.start_agent(&[("main", self.kubeconfig.clone())]);
    }

    fn reference(&self, tag: &str) -> String {
        format!("{}/web/front:{tag}", self.registry.host())
    }

    /// Waits for a plan that pins the tag to this digest.
    async fn planned(&mut self, tag: &str, digest: &Digest) -> String {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_mins(2);
        loop {
            let plan = |status: &Status| status.plan.as_ref().map(|plan| plan.id.to_string());
            let id = self.site.see("a plan", plan).await;
            let pinned = self.pinned(&id, tag).await;
            if pinned.as_ref() == Some(digest) {
                return id;
            }
            assert!(tokio::time::Instant::now() < deadline, "not pinned to {digest}: {pinned:?}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// What a plan pins the tag to.
    async fn pinned(&self, plan: &str, tag: &str) -> Option<Digest> {
        let shown: serde_json::Value = self.site.ask(&format!("/api/v1/plans/{plan}")).await?;
        let plan: Plan = serde_json::from_value(shown.get("plan")?.clone()).ok()?;
        plan.content.images.get(&self.reference(tag)).cloned()
    }

    async fn settled(&mut self) {
        let is_settled = |status: &Status| {
            (status.condition == Condition::Settled && status.plan.is_none()).then_some(())
        };
        self.site.see("a settled site", is_settled).await;
    }

    /// The image of the app. That of the manifest must be the one that was published with it.
    async fn running_image(&self) -> String {
        let (front, extra) = (self.image_of("front").await, self.image_of("extra").await);
        let own = match front.split_once('@') {
            Some((reference, digest)) => {
                format!("{reference}@{}", self.extras.get(digest).unwrap())
            }
            None => front.clone(),
        };
        assert_eq!(extra, own.replace("web/front", "web/extra"));
        front
    }

    async fn image_of(&self, deployment: &str) -> String {
        let deployments: Api<Deployment> = Api::namespaced(self.cluster.clone(), "web");
        let found = deployments.get(deployment).await.unwrap();
        let pod = found.spec.unwrap().template.spec.unwrap();
        pod.containers.into_iter().next().and_then(|container| container.image).unwrap()
    }

    /// Waits for a finding of the status; where it is of one image, of that of the app.
    async fn told(&mut self, code: &str) -> Finding {
        let is_of_app = |finding: &&Finding| {
            finding.args.get("image").is_none_or(|image| image.contains("web/front"))
        };
        let has = |status: &Status| {
            status.findings.iter().filter(is_of_app).find(|it| it.code == code).cloned()
        };
        self.site.see(code, has).await
    }
}

/// A plan with such a finding.
fn with<'a>(status: &'a Status, code: &str) -> Option<&'a PlanStatus> {
    status.plan.as_ref().filter(|plan| plan.findings.iter().any(|it| it.code == code))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_tag_voids_approvals_before_and_changes_nothing_after_it_was_delivered() {
    let mut stage = Stage::with("{quorum: [{group: it-ops, count: 2}]}").await;
    let first = stage.publish("1.0.0", "one");
    stage.start("1s");
    let plan = stage.planned("1.0.0", &first).await;
    stage.site.approve("lina", &plan);

    // Somebody moves the tag: the second approval is for something else, and the first counts no more.
    let second = stage.publish("1.0.0", "two");
    let moved = stage.planned("1.0.0", &second).await;
    assert_ne!(plan, moved);
    stage.site.approve("wugang", &moved);
    let is_one_short = |status: &Status| {
        let plan = status.plan.as_ref().filter(|plan| plan.id.as_str() == moved)?;
        let waits = plan.waits.iter().any(|it| format!("{it:?}").contains("wugang"));
        (!plan.waits.is_empty() && (waits || !plan.is_refused)).then_some(())
    };
    stage.site.see("a plan that waits for one more", is_one_short).await;
    stage.site.approve("lina", &moved);
    stage.settled().await;
    let reference = stage.reference("1.0.0");
    assert_eq!(stage.running_image().await, format!("{reference}@{second}"));

    // Moved again: told, and nothing is planned.
    let third = stage.publish("1.0.0", "three");
    let told = stage.told("IMAGE/TAG_MOVED").await;
    assert_eq!(told.args["delivered"], second.to_string());
    assert_eq!(told.args["now"], third.to_string());
    stage.settled().await;
    assert_eq!(stage.running_image().await, format!("{reference}@{second}"));
    let said = stage.site.must(&["status"]);
    assert!(said.contains(third.as_str()), "{said}");
    let baseline = stage.site.must(&["baseline", "show"]);
    assert!(baseline.contains(&format!("{reference}@{}", second.short())), "{baseline}");

    // A clean-up takes away what no tag names any more.
    stage.registry.remove("web/front", &second);
    let gone = stage.told("IMAGE/GONE").await;
    assert_eq!(gone.args["image"], format!("{reference}@{second}"));
    stage.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_refuses_until_it_is_there_and_a_registry_that_is_away_is_said() {
    let mut stage = Stage::with("").await;
    stage.start("1s");
    let refused = |status: &Status| {
        let plan = with(status, "IMAGE/MISSING").filter(|plan| plan.is_refused)?;
        let finding = plan.findings.iter().find(|it| it.code == "IMAGE/MISSING")?;
        (status.condition == Condition::Refused).then(|| finding.clone())
    };
    let finding = stage.site.see("a refused plan", refused).await;
    assert_eq!(finding.args["image"], stage.reference("1.0.0"));
    assert!(finding.place.is_some_and(|place| place.file == "web.yaml"));
    let of_manifest = |status: &Status| {
        let plan = with(status, "IMAGE/MISSING_IN_MANIFEST")?;
        plan.findings.iter().find(|it| it.code == "IMAGE/MISSING_IN_MANIFEST").cloned()
    };
    let finding = stage.site.see("what the manifest lacks", of_manifest).await;
    assert_eq!(finding.args["object"], "Deployment web/extra");
    let place = finding.place.unwrap();
    assert_eq!((place.file.as_str(), place.line), ("manifests/extra.yaml", 1));

    let digest = stage.publish("1.0.0", "one");
    stage.settled().await;
    let running = format!("{}@{digest}", stage.reference("1.0.0"));
    assert_eq!(stage.running_image().await, running);

    // A round at rest asks nothing until its time has come; this agent asks each second, and gets no answer any more.
    drop(std::mem::replace(&mut stage.registry, Registry::start(Access::Open).await));
    stage.told("IMAGE/NOT_CHECKED").await;
    stage.settled().await;
    assert_eq!(stage.running_image().await, running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_at_rest_asks_no_registry() {
    let mut stage = Stage::with("").await;
    stage.publish("1.0.0", "one");
    stage.start("1h");
    stage.settled().await;
    assert!(!stage.registry.take_questions().is_empty());
    let mut last = stage.site.see("a round", |status: &Status| status.updated_at).await;
    for _ in 0..3 {
        let later = |status: &Status| status.updated_at.filter(|at| *at > last);
        last = stage.site.see("a later round", later).await;
    }
    assert_eq!(stage.registry.take_questions(), Vec::<String>::new());
    // What is new is asked for at once.
    let digest = stage.publish("1.1.0", "two");
    stage.wants("1.1.0");
    let second = |status: &Status| {
        let release = status.releases.first().filter(|_| status.releases.len() == 2)?;
        Some(release.plan.to_string())
    };
    let plan = stage.site.see("the second release", second).await;
    let pinned = stage.pinned(&plan, "1.1.0").await;
    assert_eq!(pinned, Some(digest));
    let questions = stage.registry.take_questions();
    assert!(questions.iter().all(|it| !it.contains("1.0.0")), "{questions:?}");
}

/// A site that runs 1.0.0 and is half way to 1.1.0 when both tags are moved and the agent is killed. Gives the digests of
/// both.
async fn half_way_when_tags_move_and_the_agent_is_killed(stage: &mut Stage) -> [Digest; 2] {
    let first = stage.publish("1.0.0", "one");
    stage.start("1s");
    stage.settled().await;
    let second = stage.publish("1.1.0", "two");
    stage.wants("1.1.0");
    stage.site.see_wait("RELEASE/AWAIT_CONFIRM").await;
    stage.publish("1.0.0", "moved");
    stage.publish("1.1.0", "moved too");
    stage.site.kill_agent();
    stage.start("1s");
    // It was taken up.
    stage.site.see_wait("RELEASE/AWAIT_CONFIRM").await;
    [first, second]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_taken_up_goes_on_with_the_digests_that_were_approved() {
    let mut stage = Stage::with("").await;
    let [_, second] = half_way_when_tags_move_and_the_agent_is_killed(&mut stage).await;
    stage.site.must(&["releases", "confirm", "--as", "lina"]);
    stage.settled().await;
    assert_eq!(stage.running_image().await, format!("{}@{second}", stage.reference("1.1.0")));
    stage.told("IMAGE/TAG_MOVED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_goes_back_to_an_earlier_release_gets_the_image_of_that_release() {
    let mut stage = Stage::with("").await;
    let [first, _] = half_way_when_tags_move_and_the_agent_is_killed(&mut stage).await;
    stage.site.must(&["releases", "confirm", "--as", "lina"]);
    stage.settled().await;
    stage.site.write(
        "back.yaml",
        "apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {name: back}\nspec:\n  \
         action: {rollback: {release: r1, products: [web]}}\n  author: lina\n  reason: INC-77\n",
    );
    stage.site.push(MARIA, "web goes back");
    let back = format!("{}@{first}", stage.reference("1.0.0"));
    let is_third = |status: &Status| {
        let release = status.releases.first().filter(|_| status.releases.len() == 3)?;
        (release.phase == ReleasePhase::Done).then_some(())
    };
    stage.site.see("the end of the release that goes back", is_third).await;
    assert_eq!(stage.running_image().await, back);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_to_the_digest_that_ran_and_not_to_what_its_tag_means_now() {
    let mut stage = Stage::with("").await;
    let [first, _] = half_way_when_tags_move_and_the_agent_is_killed(&mut stage).await;
    stage.site.must(&["releases", "rollback", "--reason", "a test", "--as", "lina"]);
    let is_back = |status: &Status| {
        let release = status.releases.first()?;
        (release.phase == ReleasePhase::RolledBack).then_some(())
    };
    stage.site.see("the end of the rollback", is_back).await;
    assert_eq!(stage.running_image().await, format!("{}@{first}", stage.reference("1.0.0")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_registry_has_said_is_unverified_in_plan_and_preview() {
    let mut stage = Stage::with("{quorum: [{group: it-ops, count: 1}]}").await;
    let digest = stage.publish("1.0.0", "one");
    // The agent has no credentials.
    std::fs::write(&stage.auth, "{}").unwrap();
    stage.start("1s");
    let unverified = |status: &Status| {
        let plan = with(status, "IMAGE/UNVERIFIED").filter(|plan| !plan.is_refused)?;
        let is_told = status.findings.iter().any(|it| it.code == "IMAGE/UNVERIFIED");
        is_told.then(|| plan.id.to_string())
    };
    let plan = stage.site.see("an unverified plan", unverified).await;
    let shown: serde_json::Value = stage.site.ask(&format!("/api/v1/plans/{plan}")).await.unwrap();
    assert!(shown["plan"]["content"]["risks"].to_string().contains("unverified"), "{shown}");
    let said = stage.site.must(&["status"]);
    assert!(said.contains("there are none for"), "{said}");

    // A preview with the same way to the registry makes the same plan.
    std::fs::write(&stage.auth, docker_config(&stage.registry.host())).unwrap();
    let verified = stage.planned("1.0.0", &digest).await;
    assert_ne!(plan, verified);
    let (host, auth) = (stage.registry.host(), stage.auth.display().to_string());
    let flags = ["--registry-insecure", &host, "--registry-auth", &auth];
    stage.site.connect("main.yaml", &stage.kubeconfig);
    let preview = |more: &[&str]| {
        let output = stage.site.run(&[&["plan"], more].concat());
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let short = format!("1.0.0@{}", digest.short());
    let text = preview(&flags);
    assert!(text.contains(verified.get(7..19).unwrap()), "{text}");
    let json = preview(&[&flags[..], &["--format", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["id"], verified, "{short}");
    let offline = preview(&["--image-lookup", "off"]);
    assert!(offline.contains("asks no registry"), "{offline}");
    let strict = preview(&["--image-lookup", "require", "--registry-insecure", &host]);
    assert!(
        strict.contains("there are none for") && strict.contains("IMAGE/UNVERIFIED"),
        "{strict}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_gets_better_leaves_manifests_as_an_earlier_one_has_delivered_them() {
    let mut stage = Stage::with("").await;
    stage.publish("1.0.0", "one");
    stage.site.looks_up_images(&["--image-lookup", "off"]);
    stage.site.start_agent(&[("main", stage.kubeconfig.clone())]);
    stage.settled().await;
    let (front, extra) = (stage.reference("1.0.0"), stage.image_of("extra").await);
    assert_eq!(stage.running_image().await, front);
    stage.site.kill_agent();

    // An agent of before kept nothing of them, and had pinned the same image for an app.
    let journal = Journal::open(&stage.site.data()).await.unwrap();
    let mut baseline: serde_json::Value = journal.fact(fact::BASELINE).await.unwrap().unwrap();
    assert_eq!(baseline["manifests"]["web"]["main"]["Deployment web/extra"][0], extra);
    baseline.as_object_mut().unwrap().remove("manifests");
    baseline["images"][&extra] = Digest::of(&"an app's").to_string().into();
    journal.set_fact(fact::BASELINE, &baseline).await.unwrap();
    journal.close().await;
    stage.start("1s");
    let by_tag = stage.told("IMAGE/BY_TAG").await;
    assert!(by_tag.args["images"].contains(&extra), "{by_tag:?}");
    stage.settled().await;
    assert_eq!(stage.running_image().await, front);
    let releases = |status: &Status| (!status.releases.is_empty()).then_some(status.releases.len());
    assert_eq!(stage.site.see("releases", releases).await, 1);

    // A version with the same image leaves it as it is; with another it is pinned.
    let second = stage.publish("1.1.0", "two");
    stage.wants_with("1.1.0", "1.0.0");
    stage.site.see_wait("RELEASE/AWAIT_CONFIRM").await;
    stage.site.must(&["releases", "confirm", "--as", "lina"]);
    stage.settled().await;
    let pinned = format!("{}@{second}", stage.reference("1.1.0"));
    assert_eq!((stage.image_of("front").await, stage.image_of("extra").await), (pinned, extra));
}
