//! Documents that are taken back on a branch of their own.

use super::*;

fn back(onto: &str, from: &str, to: &str) -> Revert {
    Revert {
        branch: "tidegate/revert/r2".to_owned(),
        onto: onto.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        message: "revert: r2 was rolled back".to_owned(),
        by: who("tidegate"),
        at: at(9),
    }
}

/// The text of a file on the branch that was made.
pub(super) fn text(repository: &Repository, path: &str) -> Option<String> {
    let made = repository.find_branch("tidegate/revert/r2", git2::BranchType::Local).ok()?;
    let tree = made.get().peel_to_tree().unwrap();
    let entry = tree.get_path(Path::new(path)).ok()?;
    let blob = repository.find_blob(entry.id()).unwrap();
    Some(String::from_utf8(blob.content().to_vec()).unwrap())
}

/// A good revision, one that was released and taken back, and what others did since: in the site's folder and beside it.
fn history(place: &Place) -> [String; 3] {
    place.write("sites/hz/site.yaml", "kind: Site\n");
    place.write("sites/hz/solution.yaml", "web: 1\n");
    place.write("sites/bj/site.yaml", "bj: 1\n");
    let good = place.commit("good");
    place.write("sites/hz/solution.yaml", "web: 2\n");
    place.write("sites/hz/more.yaml", "new\n");
    place.write("sites/bj/site.yaml", "bj: 2\n");
    let bad = place.commit("bad");
    place.write("sites/hz/note.yaml", "since\n");
    [good, bad, place.commit("since")]
}

#[tokio::test]
async fn what_a_revision_brought_to_the_folder_is_taken_back_and_what_came_since_stays() {
    let place = Place::empty();
    let [good, bad, head] = history(&place);
    let options = SourceOptions { folder: "sites/hz".to_owned(), ..place.options() };
    let source = Source::open(options).unwrap();
    source.fetch(None).await.unwrap();
    assert!(source.revert(back(&head, &bad, &good)).await.unwrap());
    let repository = place.repository();
    let on_branch = |path: &str| text(&repository, path);
    assert_eq!(on_branch("sites/hz/solution.yaml").as_deref(), Some("web: 1\n"));
    assert_eq!(on_branch("sites/hz/more.yaml"), None);
    assert_eq!(on_branch("sites/hz/note.yaml").as_deref(), Some("since\n"));
    assert_eq!(on_branch("sites/bj/site.yaml").as_deref(), Some("bj: 2\n"), "another site's");
    let made = repository.find_branch("tidegate/revert/r2", git2::BranchType::Local).unwrap();
    let commit = made.get().peel_to_commit().unwrap();
    assert_eq!(commit.parent_id(0).unwrap().to_string(), head, "it can be merged as it is");

    assert!(source.revert(back(&head, &bad, &good)).await.unwrap(), "done once");
    let again = repository.find_branch("tidegate/revert/r2", git2::BranchType::Local).unwrap();
    assert_eq!(again.get().peel_to_commit().unwrap().id(), commit.id());
}

#[tokio::test]
async fn where_others_changed_the_same_lines_a_person_decides() {
    let place = Place::empty();
    let [good, bad, _] = history(&place);
    place.write("sites/hz/solution.yaml", "web: 3\n");
    let head = place.commit("mended");
    let source = place.source();
    source.fetch(None).await.unwrap();
    let error = source.revert(back(&head, &bad, &good)).await.unwrap_err();
    assert_eq!(error.code(), "SOURCE/REVERT_CONFLICTS");
    assert_eq!(text(&place.repository(), "sites/hz/site.yaml"), None, "no branch");
}

#[tokio::test]
async fn what_was_taken_back_by_hand_needs_no_branch() {
    let place = Place::empty();
    let [good, bad, _] = history(&place);
    place.reset(&good);
    let source = place.source();
    source.fetch(None).await.unwrap();
    assert!(!source.revert(back(&good, &bad, &good)).await.unwrap());
    assert_eq!(text(&place.repository(), "sites/hz/site.yaml"), None, "no branch");
}
