//! The source on real repositories in temporary folders.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use git2::{FileMode, Repository};
use tempfile::TempDir;

use super::*;

mod approvals;
mod damage;
mod revert;
mod server;

/// A remote with a working tree, and a source that reads it.
struct Place {
    folder: TempDir,
}

fn who(name: &str) -> Identity {
    Identity::new(name, format!("{}@bank.example", name.to_lowercase().replace(' ', ".")))
}

fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_790_000_000 + second).unwrap()
}

impl Place {
    fn new() -> Self {
        let place = Self::empty();
        place.write("site.yaml", "kind: Site\n");
        place.commit("first");
        place
    }

    fn empty() -> Self {
        let place = Self { folder: TempDir::new().unwrap() };
        init_repository(&place.remote()).unwrap();
        place
    }

    fn remote(&self) -> PathBuf {
        self.folder.path().join("remote")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("data/mirror")
    }

    fn repository(&self) -> Repository {
        Repository::open(self.remote()).unwrap()
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.remote().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn commit(&self, message: &str) -> String {
        commit_all(&self.remote(), message, &who("Li Na"), at(0)).unwrap()
    }

    /// Sets the branch that is checked out to another commit, as a force push would.
    fn reset(&self, commit: &str) {
        let repository = self.repository();
        let commit = repository.find_object(Oid::from_str(commit).unwrap(), None).unwrap();
        repository.reset(&commit, git2::ResetType::Hard, None).unwrap();
    }

    fn options(&self) -> SourceOptions {
        SourceOptions::new(format!("file://{}", self.remote().display()), self.cache())
    }

    fn source(&self) -> Source {
        Source::open(self.options()).unwrap()
    }
}

fn paths(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.files.keys().map(String::as_str).collect()
}

fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| &*finding.code).collect()
}

#[tokio::test]
async fn a_push_is_fetched_and_read_without_a_checkout() {
    let place = Place::new();
    let source = place.source();
    let first = source.fetch(None).await.unwrap();
    assert_eq!(first.history, History::First);

    place.write("solutions/a.yaml", "kind: Solution\n");
    let pushed = place.commit("second");
    let second = source.fetch(Some(&first.revision.commit)).await.unwrap();
    assert_eq!((second.history, second.finding()), (History::Descends, None));
    assert_eq!(second.revision.commit, pushed);
    assert_eq!(second.revision.subject, "second");
    assert_eq!(second.revision.author, who("Li Na"));
    assert_eq!(source.commit_time(&pushed).await.unwrap(), at(0));

    let snapshot = source.snapshot(&pushed).await.unwrap();
    assert_eq!(paths(&snapshot), ["site.yaml", "solutions/a.yaml"]);
    assert_eq!(snapshot.revision, second.revision);
    let old = source.snapshot(&first.revision.commit).await.unwrap();
    assert_eq!(paths(&old), ["site.yaml"]);
    assert!(!place.cache().join("site.yaml").exists());

    let third = source.fetch(Some(&pushed)).await.unwrap();
    assert_eq!(third.history, History::Same);
}

#[tokio::test]
async fn a_folder_is_loaded_with_the_catalog_it_names_and_nothing_else() {
    let place = Place::empty();
    place.write("sites/hz/site.yaml", "kind: Site\nspec: {catalogs: [{path: ../../catalog}]}\n");
    place.write("sites/bj/site.yaml", "kind: Site\n");
    place.write("catalog/iam/product.yaml", "kind: Product\n");
    place.write("README.md", "");
    let commit = place.commit("first");
    let source =
        Source::open(SourceOptions { folder: "/sites/hz/".to_owned(), ..place.options() }).unwrap();
    source.fetch(None).await.unwrap();
    let snapshot = source.snapshot(&commit).await.unwrap();
    assert_eq!(paths(&snapshot), ["catalog/iam/product.yaml", "sites/hz/site.yaml"]);
    assert_eq!(snapshot.folder, "sites/hz");
    assert_eq!(codes(&snapshot.findings), Vec::<&str>::new());

    // The same files from the working tree are the same snapshot.
    assert_eq!(Source::folder(place.remote().join("sites/hz")).await.unwrap(), snapshot);

    let gone =
        Source::open(SourceOptions { folder: "sites/sh".to_owned(), ..place.options() }).unwrap();
    let error = gone.snapshot(&commit).await.unwrap_err();
    assert_eq!(error.code(), "SOURCE/FOLDER_MISSING");
    assert!(Source::open(SourceOptions { folder: "../x".to_owned(), ..place.options() }).is_err());
}

#[tokio::test]
async fn a_catalog_that_is_not_there_is_a_finding() {
    let place = Place::empty();
    place.write("sites/hz/site.yaml", "kind: Site\nspec: {catalogs: [{path: ../../catalog}]}\n");
    place.commit("first");
    let snapshot = Source::folder(place.remote().join("sites/hz")).await.unwrap();
    assert_eq!(codes(&snapshot.findings), ["SOURCE/CATALOG_MISSING"]);
    assert_eq!(snapshot.findings[0].place.as_ref().unwrap().file, "sites/hz/site.yaml");
}

#[tokio::test]
async fn a_force_push_is_reported_and_the_old_commit_stays_readable() {
    let place = Place::new();
    let source = place.source();
    let first = source.fetch(None).await.unwrap().revision.commit;
    place.write("a.yaml", "a");
    let accepted = place.commit("accepted");
    source.fetch(Some(&first)).await.unwrap();

    place.reset(&first);
    let older = source.fetch(Some(&accepted)).await.unwrap();
    assert_eq!(older.history, History::Older);
    assert_eq!(older.finding().unwrap().code, "SOURCE/HISTORY_SET_BACK");

    place.write("a.yaml", "evil");
    let evil = place.commit("rewritten");
    let rewritten = source.fetch(Some(&accepted)).await.unwrap();
    assert_eq!((rewritten.history, &rewritten.revision.commit), (History::Rewritten, &evil));
    assert_eq!(rewritten.finding().unwrap().code, "SOURCE/HISTORY_REWRITTEN");
    assert!(!source.descends_from(&evil, &accepted).await.unwrap());
    assert!(source.descends_from(&evil, &first).await.unwrap());
    assert_eq!(source.snapshot(&accepted).await.unwrap().files["a.yaml"], b"a");

    // A copy that is made anew has never seen what was accepted; the head is read all the same, and everybody wrote it.
    fs::remove_dir_all(place.cache()).unwrap();
    let source = place.source();
    let rewritten = source.fetch(Some(&accepted)).await.unwrap();
    assert_eq!(rewritten.finding().unwrap().code, "SOURCE/HISTORY_REWRITTEN");
    let everybody = source.authors(None, &evil).await.unwrap();
    assert_eq!(source.authors(Some(&accepted), &evil).await.unwrap(), everybody);
}

#[tokio::test]
async fn a_deleted_branch_is_told_from_one_that_never_was() {
    let place = Place::new();
    let source =
        Source::open(SourceOptions { branch: "live".to_owned(), ..place.options() }).unwrap();
    assert_eq!(source.fetch(None).await.unwrap_err().code(), "SOURCE/BRANCH_MISSING");

    let repository = place.repository();
    let head = repository.head().unwrap().peel_to_commit().unwrap();
    repository.branch("live", &head, false).unwrap();
    let commit = source.fetch(None).await.unwrap().revision.commit;
    repository.find_branch("live", git2::BranchType::Local).unwrap().delete().unwrap();
    let error = source.fetch(Some(&commit)).await.unwrap_err();
    assert_eq!(error.code(), "SOURCE/BRANCH_DELETED");
    assert_eq!(error.finding().args["commit"], commit);
    assert!(source.snapshot(&commit).await.is_ok(), "what was accepted stays readable");

    // Also when our copy is lost together with it.
    fs::remove_dir_all(place.cache()).unwrap();
    assert_eq!(source.fetch(Some(&commit)).await.unwrap_err().code(), "SOURCE/BRANCH_DELETED");
}

#[tokio::test]
async fn what_is_no_usable_repository_has_a_code_each() {
    let place = Place::empty();
    assert_eq!(place.source().fetch(None).await.unwrap_err().code(), "SOURCE/EMPTY_REPOSITORY");

    let open = |url: &str| Source::open(SourceOptions { url: url.to_owned(), ..place.options() });
    let gone = place.folder.path().join("gone");
    let error = open(&gone.display().to_string()).unwrap().fetch(None).await.unwrap_err();
    assert_eq!(error.code(), "SOURCE/NOT_A_REPOSITORY");
    assert_eq!(open("git://h/x").unwrap_err().code(), "SOURCE/ADDRESS");
    let bad = SourceOptions { branch: "a..b".to_owned(), ..place.options() };
    assert_eq!(Source::open(bad).unwrap_err().code(), "SOURCE/BRANCH_NAME");

    // A port that was just free: nobody answers.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("https://oauth2:s3cr3t@127.0.0.1:{port}/site.git");
    let error = open(&url).unwrap().fetch(None).await.unwrap_err();
    assert_eq!(error.code(), "SOURCE/UNREACHABLE");
    assert!(error.is_transient());
    let shown = format!("{error} {error:?} {:?}", error.finding());
    assert!(!shown.contains("s3cr3t"), "{shown}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = TempDir::new().unwrap();
    let mut options =
        SourceOptions::new(format!("http://127.0.0.1:{port}/x.git"), folder.path().join("mirror"));
    options.timeout = Duration::from_millis(200);
    let source = Source::open(options).unwrap();
    assert_eq!(source.fetch(None).await.unwrap_err().code(), "SOURCE/TIMED_OUT");
    // The first thread still hangs; the second call must not start another.
    assert_eq!(source.fetch(None).await.unwrap_err().code(), "SOURCE/TIMED_OUT");
    assert!(source.writing.try_lock().is_err());
    // Lets the thread end, so that the runtime can.
    drop(listener.accept().unwrap());
}

#[tokio::test]
async fn a_repository_over_the_limit_is_refused() {
    let place = Place::new();
    let repository = place.repository();
    let url = format!("file://{}", place.remote().display());
    drop(repository);
    let options = SourceOptions { url, largest: 10, ..place.options() };
    let error = Source::open(options).unwrap().fetch(None).await.unwrap_err();
    assert_eq!(error.code(), "SOURCE/REPOSITORY_TOO_LARGE");
    assert!(place.source().fetch(None).await.is_ok(), "the same with room enough");
}

#[tokio::test]
async fn links_submodules_and_large_files_are_refused_in_a_commit() {
    let place = Place::new();
    symlink("/etc/passwd", place.remote().join("passwd.yaml")).unwrap();
    symlink("site.yaml", place.remote().join("same.yaml")).unwrap();
    place.write("large.yaml", &"x".repeat((1 << 20) + 1));
    place.write("exact.yaml", &"x".repeat(1 << 20));
    place.write(".tidegateignore", "ignored.bin\n");
    place.write("ignored.bin", &"x".repeat((1 << 20) + 1));
    let before = place.commit("second");

    let repository = place.repository();
    let parent = repository.find_commit(Oid::from_str(&before).unwrap()).unwrap();
    let tree = git2::build::TreeUpdateBuilder::new()
        .upsert("vendor", parent.id(), FileMode::Commit)
        .create_updated(&repository, &parent.tree().unwrap())
        .unwrap();
    let tree = repository.find_tree(tree).unwrap();
    let by = append::signature(&who("Li Na"), at(0)).unwrap();
    let commit = repository.commit(Some("HEAD"), &by, &by, "submodule", &tree, &[&parent]).unwrap();

    let source = place.source();
    source.fetch(None).await.unwrap();
    let snapshot = source.snapshot(&commit.to_string()).await.unwrap();
    assert_eq!(paths(&snapshot), ["exact.yaml", "same.yaml", "site.yaml"]);
    assert_eq!(snapshot.files["same.yaml"], b"kind: Site\n");
    let found: Vec<_> = snapshot
        .findings
        .iter()
        .map(|finding| format!("{} {}", finding.code, finding.place.as_ref().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            "SOURCE/FILE_TOO_LARGE large.yaml",
            "SOURCE/SYMLINK_OUTSIDE passwd.yaml",
            "SOURCE/SUBMODULE vendor"
        ]
    );
    assert!(!snapshot.is_complete());
}

#[tokio::test]
async fn everybody_in_the_range_is_an_author() {
    let place = Place::new();
    let source = place.source();
    let from = source.fetch(None).await.unwrap().revision.commit;
    let repository = place.repository();
    let head = repository.head().unwrap().peel_to_commit().unwrap();
    let (author, committer) = (
        append::signature(&who("Wang Wei"), at(1)).unwrap(),
        append::signature(&who("Merge Bot"), at(2)).unwrap(),
    );
    let message = "change\n\nbody\n\nCo-authored-by: Chen Jie <chen.jie@bank.example>\nco-authored-by: nobody\n";
    let to = repository
        .commit(Some("HEAD"), &author, &committer, message, &head.tree().unwrap(), &[&head])
        .unwrap()
        .to_string();
    source.fetch(None).await.unwrap();
    let authors = source.authors(Some(&from), &to).await.unwrap();
    assert_eq!(authors, [who("Chen Jie"), who("Merge Bot"), who("Wang Wei")]);
    let all = source.authors(None, &to).await.unwrap();
    assert!(all.contains(&who("Li Na")));
    assert_eq!(source.authors(Some(&to), &to).await.unwrap(), []);
    let unknown = source.authors(None, &"0".repeat(40)).await.unwrap_err();
    assert_eq!(unknown.code(), "SOURCE/COMMIT_UNKNOWN");
}

#[tokio::test]
async fn a_folder_with_uncommitted_changes_is_no_commit() {
    let place = Place::new();
    let committed = place.repository().head().unwrap().target().unwrap().to_string();
    let clean = Source::folder(place.remote()).await.unwrap();
    assert_eq!(clean.revision.commit, committed);

    place.write("a.yaml", "a");
    place.write(".gitignore", "*.tmp\n");
    place.write("scratch.tmp", "");
    let dirty = Source::folder(place.remote()).await.unwrap();
    assert!(!dirty.revision.is_committed());
    assert_eq!(paths(&dirty), ["a.yaml", "site.yaml"]);
    assert_eq!(
        Source::folder(place.remote()).await.unwrap(),
        dirty,
        "the same files, the same name"
    );
    place.write("a.yaml", "b");
    assert_ne!(Source::folder(place.remote()).await.unwrap().revision, dirty.revision);
}

#[tokio::test]
async fn a_folder_without_a_repository_is_loaded_as_well() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("site.yaml"), "kind: Site\n").unwrap();
    fs::create_dir(folder.path().join("vendored")).unwrap();
    fs::create_dir(folder.path().join("vendored/.git")).unwrap();
    symlink("../..", folder.path().join("up")).unwrap();
    let snapshot = Source::folder(folder.path()).await.unwrap();
    assert_eq!(paths(&snapshot), ["site.yaml"]);
    assert_eq!(codes(&snapshot.findings), ["SOURCE/SYMLINK_OUTSIDE", "SOURCE/SUBMODULE"]);
    assert!(snapshot.revision.commit.starts_with("worktree-"));
    let missing = Source::folder(folder.path().join("missing")).await.unwrap_err();
    assert_eq!(missing.code(), "SOURCE/FOLDER_UNREADABLE");
}

#[tokio::test]
async fn removing_a_file_and_committing_removes_it() {
    let place = Place::new();
    place.write("a.yaml", "a");
    place.commit("second");
    fs::remove_file(place.remote().join("a.yaml")).unwrap();
    let commit = place.commit("third");
    let source = place.source();
    source.fetch(None).await.unwrap();
    assert_eq!(paths(&source.snapshot(&commit).await.unwrap()), ["site.yaml"]);
}

/// Every code that the source may give has its texts, and the catalogue has no others.
#[test]
fn the_catalogue_has_every_code_of_the_source() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut used = BTreeSet::new();
    let mut pending = vec![folder.join("src/source"), folder.join("src/source.rs")];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if !path.ends_with("tests.rs")
            && !path.components().any(|it| it.as_os_str() == "tests")
        {
            let text = fs::read_to_string(&path).unwrap();
            used.extend(
                text.split('"').filter(|word| word.starts_with("SOURCE/")).map(str::to_owned),
            );
        }
    }
    let catalogue = fs::read_to_string(folder.join("../schema/catalogue/source.yaml")).unwrap();
    let listed: BTreeSet<String> = catalogue
        .lines()
        .filter(|line| line.starts_with("SOURCE/"))
        .filter_map(|line| line.strip_suffix(':'))
        .map(str::to_owned)
        .collect();
    assert_eq!(used, listed);
}

#[tokio::test]
async fn commits_that_name_a_plan_are_found_with_who_wrote_what_they_bring() {
    let place = Place::new();
    let source = place.source();
    let first = source.fetch(None).await.unwrap().revision.commit;
    place.write("a.yaml", "a");
    let plain = place.commit("no word of a plan");
    place.write("b.yaml", "b");
    let message =
        "squashed\n\nCo-authored-by: Wang Wei <wang.wei@bank.example>\nTidegate-Plan: sha256:9f\n";
    let named = place.commit(message);
    let repository = place.repository();
    let branch = repository.find_commit(Oid::from_str(&named).unwrap()).unwrap();
    let onto = repository.find_commit(Oid::from_str(&plain).unwrap()).unwrap();
    let forge = append::signature(&who("Forge"), at(7)).unwrap();
    let tree = branch.tree().unwrap();
    let merge = "Merge\n\nTidegate-Plan: sha256:a0\n";
    let merged = repository.commit(None, &forge, &forge, merge, &tree, &[&onto, &branch]).unwrap();
    place.reset(&merged.to_string());
    source.fetch(None).await.unwrap();
    let found = source.merges(Some(&first), &merged.to_string()).await.unwrap();
    let [merge] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((merge.commit.as_str(), merge.plan.as_str()), (&*merged.to_string(), "sha256:a0"));
    assert_eq!((merge.at, merge.signed.as_ref()), (at(7), None));
    let names: Vec<&str> = merge.authors.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["Li Na", "Wang Wei"], "not the forge, which only merged");
    let squashed = source.merges(Some(&plain), &named).await.unwrap();
    assert_eq!(squashed[0].plan, "sha256:9f");
    let names: Vec<&str> = squashed[0].authors.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["Li Na", "Wang Wei"]);
}

#[tokio::test]
async fn what_is_pushed_is_signed_when_there_is_a_key() {
    let place = Place::new();
    let pair = crate::signature::generate_key("agent").unwrap();
    let key = crate::signature::CommitKey::new(pair.private.expose()).unwrap();
    let sign = move |commit: &[u8]| key.sign(commit).map_err(|error| error.to_string());
    let options = SourceOptions { signer: Some(Signer::new(sign)), ..place.options() };
    let source = Source::open(options).unwrap();
    let head = source.fetch(None).await.unwrap().revision.commit;
    let baseline = Append {
        branch: "tidegate/baseline".to_owned(),
        files: vec![("hz/baseline.json".to_owned(), b"{}".to_vec())],
        message: "baseline: hz after r1".to_owned(),
        by: who("tidegate"),
        at: at(1),
        may_replace: true,
    };
    let commit = source.append(baseline).await.unwrap();
    source.fetch(Some(&head)).await.unwrap();
    let signed = source.commit_signature(&commit).await.unwrap().expect("it is signed");
    let line = crate::signature::PublicKeyLine::parse(&pair.public).unwrap();
    let found = crate::signature::verify_commit(
        &signed.payload,
        &signed.signature,
        std::slice::from_ref(&line),
    );
    assert_eq!(found.unwrap(), line.fingerprint());
}
