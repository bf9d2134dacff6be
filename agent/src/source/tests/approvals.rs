//! The approvals branch: written by several, rewritten by somebody.

use super::*;

fn approval(name: &str, content: &str) -> Append {
    Append {
        branch: "tidegate/approvals".to_owned(),
        files: vec![
            (format!("hz/{name}.yaml"), content.as_bytes().to_vec()),
            (format!("hz/{name}.yaml.sig"), b"signature".to_vec()),
        ],
        message: format!("approve {name}"),
        by: who("Li Na"),
        at: at(9),
        may_replace: false,
    }
}

fn found(approvals: &Approvals) -> Vec<(&str, &str)> {
    approvals
        .files
        .iter()
        .map(|file| (file.path.as_str(), std::str::from_utf8(&file.document).unwrap()))
        .collect()
}

#[tokio::test]
async fn an_approval_that_was_appended_is_read_with_its_signature() {
    let place = Place::new();
    let source = place.source();
    source.fetch(None).await.unwrap();
    assert_eq!(*source.approvals().await.unwrap(), Approvals::default());

    let commit = source.append(approval("a", "yes")).await.unwrap();
    let head = source.fetch(None).await.unwrap();
    assert_eq!(head.approvals.as_deref(), Some(commit.as_str()));
    let approvals = source.approvals().await.unwrap();
    assert_eq!(found(&approvals), [("hz/a.yaml", "yes")]);
    assert_eq!(approvals.files[0].signature.as_deref(), Some(b"signature".as_slice()));
    assert_eq!(approvals.files[0].commit, commit);
    assert_eq!(approvals.findings, []);

    // Again adds nothing; another content under the same name is refused.
    assert_eq!(source.append(approval("a", "yes")).await.unwrap(), commit);
    let error = source.append(approval("a", "no")).await.unwrap_err();
    assert_eq!(error.code(), "SOURCE/FILE_EXISTS");
    let baseline = Append {
        branch: "tidegate/baseline".to_owned(),
        may_replace: true,
        ..approval("b", "one")
    };
    source.append(baseline.clone()).await.unwrap();
    let files = vec![("hz/b.yaml".to_owned(), b"two".to_vec())];
    let second = source.append(Append { files, ..baseline }).await.unwrap();
    assert_eq!(source.fetch(None).await.unwrap().baseline, Some(second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pushers_at_the_same_time_all_get_in() {
    // The branch is made by one of them, which is the narrowest place: several times.
    for _ in 0..5 {
        all_get_in().await;
    }
}

async fn all_get_in() {
    let place = Place::new();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let options = SourceOptions {
            cache: place.folder.path().join(format!("cache-{number}")),
            ..place.options()
        };
        let source = Source::open(options).unwrap();
        tasks.spawn(async move { source.append(approval(&number.to_string(), "yes")).await });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.unwrap().unwrap();
    }
    let source = place.source();
    source.fetch(None).await.unwrap();
    let approvals = source.approvals().await.unwrap();
    assert_eq!(approvals.files.len(), 8);
    assert_eq!(approvals.findings, []);
}

#[tokio::test]
async fn what_is_removed_or_changed_on_the_branch_is_reported_and_stays_known() {
    let place = Place::new();
    let source = place.source();
    source.append(approval("a", "reject")).await.unwrap();
    source.append(approval("b", "approve")).await.unwrap();
    source.fetch(None).await.unwrap();
    source.approvals().await.unwrap();

    let repository = place.repository();
    let head = repository.find_reference("refs/heads/tidegate/approvals").unwrap();
    let head = head.peel_to_commit().unwrap();
    let tree = git2::build::TreeUpdateBuilder::new()
        .remove("hz/a.yaml")
        .upsert("hz/b.yaml", repository.blob(b"reject").unwrap(), FileMode::Blob)
        .create_updated(&repository, &head.tree().unwrap())
        .unwrap();
    let tree = repository.find_tree(tree).unwrap();
    let by = append::signature(&who("Mallory"), at(10)).unwrap();
    let name = Some("refs/heads/tidegate/approvals");
    repository.commit(name, &by, &by, "tidy", &tree, &[&head]).unwrap();

    source.fetch(None).await.unwrap();
    let approvals = source.approvals().await.unwrap();
    assert_eq!(found(&approvals), [("hz/a.yaml", "reject"), ("hz/b.yaml", "approve")]);
    assert_eq!(codes(&approvals.findings), ["SOURCE/APPROVAL_REMOVED", "SOURCE/APPROVAL_CHANGED"]);
}

#[tokio::test]
async fn a_rewritten_or_deleted_branch_loses_no_approval() {
    let place = Place::new();
    let source = place.source();
    let first = source.append(approval("a", "approve")).await.unwrap();
    source.append(approval("b", "reject")).await.unwrap();
    source.fetch(None).await.unwrap();

    let repository = place.repository();
    let first = Oid::from_str(&first).unwrap();
    let name = "refs/heads/tidegate/approvals";
    repository.reference(name, first, true, "force push").unwrap();
    source.append(approval("c", "approve")).await.unwrap();
    source.fetch(None).await.unwrap();
    let approvals = source.approvals().await.unwrap();
    let mut names: Vec<_> = found(&approvals).into_iter().map(|(path, _)| path).collect();
    names.sort_unstable();
    assert_eq!(names, ["hz/a.yaml", "hz/b.yaml", "hz/c.yaml"]);
    assert_eq!(codes(&approvals.findings), ["SOURCE/APPROVALS_REWRITTEN"]);

    repository.find_reference(name).unwrap().delete().unwrap();
    let head = source.fetch(None).await.unwrap();
    assert_eq!(head.approvals, None);
    let approvals = source.approvals().await.unwrap();
    assert_eq!(approvals.files.len(), 3);
    assert!(codes(&approvals.findings).iter().all(|code| *code == "SOURCE/APPROVALS_DELETED"));

    // Also when the copy is made anew.
    fs::write(place.cache().join("tidegate-fetching"), "").unwrap();
    source.fetch(None).await.unwrap();
    assert_eq!(source.approvals().await.unwrap().files.len(), 3);
}

#[tokio::test]
async fn a_merge_of_two_approvals_is_no_change() {
    let place = Place::new();
    let source = place.source();
    let base = source.append(approval("a", "approve")).await.unwrap();
    let left = source.append(approval("b", "approve")).await.unwrap();
    let repository = place.repository();
    let name = "refs/heads/tidegate/approvals";
    repository.reference(name, Oid::from_str(&base).unwrap(), true, "").unwrap();
    let right = source.append(approval("c", "approve")).await.unwrap();
    let [left, right] =
        [left, right].map(|id| repository.find_commit(Oid::from_str(&id).unwrap()).unwrap());
    let tree = repository.merge_commits(&left, &right, None).unwrap().write_tree_to(&repository);
    let tree = repository.find_tree(tree.unwrap()).unwrap();
    let by = append::signature(&who("Li Na"), at(10)).unwrap();
    repository.commit(Some(name), &by, &by, "merge", &tree, &[&right, &left]).unwrap();
    source.fetch(None).await.unwrap();
    let approvals = source.approvals().await.unwrap();
    assert_eq!((approvals.files.len(), &approvals.findings), (3, &Vec::new()));
}

#[tokio::test]
async fn an_approval_that_is_too_large_is_not_read() {
    let place = Place::new();
    let source = place.source();
    source.append(approval("a", &"x".repeat((64 << 10) + 1))).await.unwrap();
    source.fetch(None).await.unwrap();
    let approvals = source.approvals().await.unwrap();
    assert_eq!(approvals.files, []);
    assert_eq!(codes(&approvals.findings), ["SOURCE/APPROVAL_TOO_LARGE"]);
}
