//! The site that is released: every kind of step, in two clusters, in as few documents as it takes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

use git2::{Oid, ResetType};
use jiff::Timestamp;
use tidegate::signature::{KeyPair, generate_key};
use tidegate::source::{clone_repository, commit_all, init_bare_repository};
use tidegate_core::snapshot::Identity;

/// Who writes the documents; who approves is somebody else.
pub(crate) fn li_na() -> Identity {
    Identity::new("Li Na", "li.na@bank.example")
}

/// A repository that people push to, and the working tree of one of them.
pub(crate) struct Repository {
    pub(crate) bare: PathBuf,
    pub(crate) work: PathBuf,
    /// The key of `wang-wei`, who approves.
    pub(crate) key: PathBuf,
    commits: AtomicI64,
}

impl Repository {
    fn empty(folder: &Path) -> (Self, KeyPair) {
        let (bare, work, key) = (folder.join("site.git"), folder.join("site"), folder.join("key"));
        init_bare_repository(&bare).unwrap();
        clone_repository(&bare, &work).unwrap();
        let pair = generate_key("wang-wei").unwrap();
        std::fs::write(&key, pair.private.expose()).unwrap();
        (Self { bare, work, key, commits: AtomicI64::default() }, pair)
    }

    /// With the first level of the site.
    pub(crate) fn new(folder: &Path) -> Self {
        let (repository, pair) = Self::empty(folder);
        repository.lay_out(&pair);
        repository.set_level(1);
        repository.push("The first level");
        repository
    }

    /// A site with one pod and one zone for which nobody has to approve anything, at its first level.
    pub(crate) fn small(folder: &Path) -> Self {
        let (repository, _) = Self::empty(folder);
        repository.documents("site.yaml", &["kind: Site\nmetadata: {name: hz}\nspec: {tier: development, resourcePrefix: hz, domain: hz.internal}"]);
        repository.cluster("room-a", "z1", "[]");
        repository.documents(
            "policies/policies.yaml",
            &["kind: ApprovalPolicy\nmetadata: {name: development}\nspec: {rules: []}"],
        );
        repository.documents(
            "catalog/web/product.yaml",
            &["kind: Product\nmetadata: {name: web}\nspec: {title: {en: Web}}"],
        );
        repository.set_small_level(1);
        repository.push("The first level");
        repository
    }

    /// What the small site is to be.
    pub(crate) fn set_small_level(&self, level: u32) {
        self.documents(
            &format!("catalog/web/1.{level}.0/version.yaml"),
            &[&format!(
                "kind: ProductVersion\nmetadata: {{name: web}}\nspec:\n  version: 1.{level}.0\n  apps:\n    - {{name: front, workload: Deployment, image: 'web/front:1.{level}.0'}}\n  sizes: [{{name: small, apps: {{front: {{replicas: 1, cpu: 10m, memory: 16Mi}}}}}}]"
            )],
        );
        self.documents(
            "solutions/platform.yaml",
            &[&format!("kind: Solution\nmetadata: {{name: platform}}\nspec: {{products: [{{product: web, version: 1.{level}.0}}]}}")],
        );
        self.documents(
            "policies/rollout.yaml",
            &["kind: RolloutPolicy\nmetadata: {name: web}\nspec: {appliesTo: {product: web}, beta: false}"],
        );
        self.zone(level);
    }

    /// Writes a file of the working tree.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.work.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Commits all of the working tree.
    pub(crate) fn commit(&self, message: &str) -> String {
        let second = 1_790_000_000 + self.commits.fetch_add(1, Ordering::Relaxed);
        commit_all(&self.work, message, &li_na(), Timestamp::from_second(second).unwrap()).unwrap()
    }

    /// Commits all of the working tree and pushes it.
    pub(crate) fn push(&self, message: &str) -> String {
        let commit = self.commit(message);
        self.send("refs/heads/main:refs/heads/main");
        commit
    }

    /// Pushes what is committed, whatever the repository has.
    pub(crate) fn force_push(&self) {
        self.send("+refs/heads/main:refs/heads/main");
    }

    /// Deletes the site's branch in the repository that people push to.
    pub(crate) fn delete_branch(&self) {
        self.send(":refs/heads/main");
    }

    /// Sets branch and working tree to a commit.
    pub(crate) fn reset(&self, commit: &str) {
        let repository = self.open();
        let object = repository.find_object(Oid::from_str(commit).unwrap(), None).unwrap();
        repository.reset(&object, ResetType::Hard, None).unwrap();
    }

    /// The commit that is checked out.
    pub(crate) fn head(&self) -> String {
        self.open().head().unwrap().target().unwrap().to_string()
    }

    /// The first commit of all.
    pub(crate) fn root(&self) -> String {
        let repository = self.open();
        let mut walk = repository.revwalk().unwrap();
        walk.push_head().unwrap();
        walk.last().unwrap().unwrap().to_string()
    }

    /// Pushes a commit with so many more files, all the same.
    pub(crate) fn push_many_files(&self, count: u32) {
        let repository = self.open();
        let head = repository.head().unwrap().peel_to_commit().unwrap();
        let blob = repository.blob(b"a line of something\n").unwrap();
        let mut many = repository.treebuilder(None).unwrap();
        for number in 0..count {
            many.insert(format!("{number}.txt"), blob, 0o100_644).unwrap();
        }
        let mut tree = repository.treebuilder(Some(&head.tree().unwrap())).unwrap();
        tree.insert("many", many.write().unwrap(), 0o040_000).unwrap();
        let tree = repository.find_tree(tree.write().unwrap()).unwrap();
        let by = head.author();
        repository.commit(Some("HEAD"), &by, &by, "Many files", &tree, &[&head]).unwrap();
        self.send("refs/heads/main:refs/heads/main");
    }

    /// Pushes the commit that is checked out so that its tree is lost on the way: gives the file to mend, with its content.
    pub(crate) fn push_damaged(&self) -> (PathBuf, Vec<u8>) {
        let bare = git2::Repository::open_bare(&self.bare).unwrap();
        // Beside the branch first, so that nobody fetches it whole.
        self.send("refs/heads/main:refs/heads/incoming");
        let commit = bare.refname_to_id("refs/heads/incoming").unwrap();
        let tree = self.open().find_commit(commit).unwrap().tree_id().to_string();
        let (folder, name) = tree.split_at(2);
        let loose = self.bare.join("objects").join(folder).join(name);
        let file = if loose.is_file() { loose } else { newest_pack(&self.bare) };
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[12..].fill(0);
        replace(&file, &damaged);
        // git itself would not point a branch to what it cannot read.
        std::fs::write(self.bare.join("refs/heads/main"), format!("{commit}\n")).unwrap();
        (file, whole)
    }

    fn open(&self) -> git2::Repository {
        git2::Repository::open(&self.work).unwrap()
    }

    fn send(&self, specification: &str) {
        let repository = self.open();
        let mut remote = repository.find_remote("origin").unwrap();
        remote.push(&[specification], None).unwrap();
    }

    /// What does not change from level to level.
    fn lay_out(&self, pair: &KeyPair) {
        self.documents("site.yaml", &["kind: Site\nmetadata: {name: hz}\nspec: {tier: staging, resourcePrefix: hz, domain: hz.internal}"]);
        for (room, zone, cells) in [("room-a", "z1", "[gray]"), ("room-b", "z2", "[]")] {
            self.cluster(room, zone, cells);
        }
        self.documents(
            "policies/policies.yaml",
            &[
                "kind: RolloutPolicy\nmetadata: {name: standard}\nspec: {waves: [{name: gray, clusters: {cells: [gray]}, confirm: true}, {name: all}], groups: {strategy: two}, beta: true, timeout: 5m}",
                "kind: ApprovalPolicy\nmetadata: {name: staging}\nspec: {rules: [{quorum: [{group: it-ops, count: 1}], exclude: [author]}]}",
            ],
        );
        self.documents(
            "iam/people.yaml",
            &[
                &format!(
                    "kind: Person\nmetadata: {{name: wang-wei}}\nspec: {{emails: [wang.wei@bank.example], keys: ['{}']}}",
                    pair.public.trim()
                ),
                "kind: Group\nmetadata: {name: it-ops}\nspec: {members: [wang-wei], kubernetesGroup: it-ops}",
                "kind: Grant\nmetadata: {name: it-ops-look}\nspec: {subject: {group: it-ops}, role: observer, reason: CHG-1}",
            ],
        );
        for (product, title) in [("store", "Store"), ("web", "Web"), ("logs", "Logs")] {
            self.documents(
                &format!("catalog/{product}/product.yaml"),
                &[&format!(
                    "kind: Product\nmetadata: {{name: {product}}}\nspec: {{title: {{en: {title}}}}}"
                )],
            );
        }
        self.versions("1.0.0", "store/keeper:1.0.0", &["old", "kept"]);
        self.versions("1.1.0", "store/keeper:1.1.0", &["kept"]);
        self.versions("1.2.0", "store/keeper:1.2.0", &["kept", "new"]);
    }

    /// The three products in a version. The store's settings are as many objects as there are names. What the vault has set is
    /// longer in a copy, where values are digests: there the store's check does not hold.
    fn versions(&self, version: &str, keeper: &str, settings: &[&str]) {
        self.documents(
            &format!("catalog/store/{version}/version.yaml"),
            &[&format!(
                "kind: ProductVersion\nmetadata: {{name: store}}\nspec:\n  version: {version}\n  apps:\n    - {{name: keeper, image: '{keeper}', after: [init], ports: [{{name: tcp, port: 7000}}], checks: [{{name: vault, cel: {{object: {{apiVersion: v1, kind: Secret, name: keeper}}, expression: 'size(object.data.password) < 64'}}}}]}}\n    - {{name: init, kind: task, image: 'store/init:{version}'}}\n  manifests: [manifests/*.yaml]\n  sizes: [{{name: small, apps: {{keeper: {{replicas: 3, cpu: 10m, memory: 16Mi}}}}}}]"
            )],
        );
        self.write(
            &format!("catalog/store/{version}/manifests/secret.yaml"),
            "# Its place, which the vault fills.\napiVersion: v1\nkind: Secret\nmetadata: {name: keeper}\n",
        );
        for name in settings {
            self.write(
                &format!("catalog/store/{version}/manifests/{name}.yaml"),
                &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{version: '{version}'}}\n"),
            );
        }
        self.documents(
            &format!("catalog/web/{version}/version.yaml"),
            &[&format!(
                "kind: ProductVersion\nmetadata: {{name: web}}\nspec:\n  version: {version}\n  requires: [{{product: store, version: '>=1'}}]\n  apps:\n    - {{name: front, workload: Deployment, image: 'web/front:{version}', ports: [{{name: http, port: 8080}}]}}\n  loadBalancers: [{{name: entry, app: front, port: 80, targetPort: http, host: 'www.{{{{ site.domain }}}}', addresses: [10.0.0.80]}}]\n  sizes: [{{name: small, apps: {{front: {{replicas: 3, cpu: 10m, memory: 16Mi}}}}}}]"
            )],
        );
        self.documents(
            &format!("catalog/logs/{version}/version.yaml"),
            &[&format!(
                "kind: ProductVersion\nmetadata: {{name: logs}}\nspec:\n  version: {version}\n  apps:\n    - {{name: tail, workload: DaemonSet, image: 'logs/tail:{version}'}}\n  sizes: [{{name: small, apps: {{tail: {{cpu: 10m, memory: 16Mi}}}}}}]"
            )],
        );
    }

    /// What the site is to be: all in `1.LEVEL-1.0`, one record and one right more with each level.
    pub(crate) fn set_level(&self, level: u32) {
        let version = format!("1.{}.0", level - 1);
        self.set_versions(&version, &version, &version);
        let extended = if level > 1 { ", services" } else { "" };
        self.documents(
            "iam/roles.yaml",
            &[&format!(
                "kind: Role\nmetadata: {{name: observer}}\nspec: {{permissions: [delivery.read], kubernetes: [{{apiGroups: [''], resources: [pods{extended}], verbs: [get, list]}}]}}"
            )],
        );
        self.zone(level);
    }

    fn zone(&self, level: u32) {
        self.documents(
            "dns/zone.yaml",
            &[&format!(
                "kind: Zone\nmetadata: {{name: hz.internal}}\nspec:\n  primary: ns1.hz.internal.\n  contact: hostmaster.hz.internal.\n  records:\n    - {{name: '@', type: NS, values: [ns1]}}\n    - {{name: ns1, type: A, values: [10.0.0.2]}}\n    - {{name: level, type: A, values: [10.0.0.{level}]}}"
            )],
        );
    }

    fn cluster(&self, room: &str, zone: &str, cells: &str) {
        self.documents(
            &format!("clusters/{room}.yaml"),
            &[&format!(
                "kind: Cluster\nmetadata: {{name: {room}}}\nspec: {{access: {{kubeconfig: {{path: {room}.kubeconfig}}}}, room: {room}, zone: {zone}, region: hz, cells: {cells}}}"
            )],
        );
    }

    /// The version of each product.
    pub(crate) fn set_versions(&self, store: &str, web: &str, logs: &str) {
        self.documents(
            "solutions/platform.yaml",
            &[&format!(
                "kind: Solution\nmetadata: {{name: platform}}\nspec:\n  rollout: standard\n  products:\n    - {{product: store, version: {store}, clusters: {{names: [room-a]}}}}\n    - {{product: web, version: {web}, clusters: {{names: [room-a]}}}}\n    - {{product: logs, version: {logs}}}"
            )],
        );
    }

    /// Writes documents of ours into one file.
    pub(crate) fn documents(&self, file: &str, documents: &[&str]) {
        let texts: Vec<String> =
            documents.iter().map(|text| format!("apiVersion: tidegate.dev/v1\n{text}\n")).collect();
        self.write(file, &texts.join("---\n"));
    }
}

/// The pack that the last push brought.
fn newest_pack(bare: &Path) -> PathBuf {
    let packs = std::fs::read_dir(bare.join("objects/pack")).unwrap().map(|it| it.unwrap().path());
    let packs = packs.filter(|path| path.extension().is_some_and(|end| end == "pack"));
    packs.max_by_key(|path| path.metadata().unwrap().modified().unwrap()).unwrap()
}

/// Objects are read-only files.
pub(crate) fn replace(file: &Path, content: &[u8]) {
    std::fs::remove_file(file).unwrap();
    std::fs::write(file, content).unwrap();
}
