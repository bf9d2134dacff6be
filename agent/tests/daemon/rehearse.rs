//! A rehearsal of the plan that waits at a site whose agent runs: it tells what happens, and nothing of the site is written.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tidegate::status::Condition;

use crate::cluster::Outside;
use crate::process::Given;
use crate::site::Repository;

/// A site at its first level, with an agent.
pub(crate) struct Site {
    pub(crate) repository: Repository,
    pub(crate) rooms: Vec<Outside>,
    pub(crate) given: Given,
}

impl Site {
    pub(crate) async fn settled(folder: &Path) -> (Self, crate::process::Running) {
        let repository = Repository::new(folder);
        let data = folder.join("data");
        let rooms = Outside::both(&data).await;
        let given = Given::new(&repository.bare, &data);
        let agent = given.start();
        let site = Self { repository, rooms, given };
        let plan = site.waiting().await;
        let key = site.repository.key.display().to_string();
        let approved = site.given.ask(&["approve", &plan, "--key", &key, "--as", "wang-wei"]);
        assert!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
        loop {
            let status = site
                .given
                .until("a question, or the end", |status| {
                    let is_asked = status.release.iter().any(|release| {
                        release.waits.iter().any(|wait| wait.code.contains("CONFIRM"))
                    });
                    let is_over = status.condition == Condition::Settled;
                    (is_asked || is_over).then(|| status.clone())
                })
                .await;
            if status.condition == Condition::Settled {
                return (site, agent);
            }
            site.given.confirm(&status).await;
        }
    }

    /// The plan that waits for an approval.
    async fn waiting(&self) -> String {
        self.given
            .until("a plan that waits", |status| {
                let is_waiting = status.condition == Condition::Waiting;
                status.plan.as_ref().filter(|_| is_waiting).map(|plan| plan.id.to_string())
            })
            .await
    }

    /// What the site's clusters, branches and journal are: what a write would change.
    pub(crate) fn state(&self) -> BTreeMap<String, String> {
        let mut state = BTreeMap::new();
        for room in &self.rooms {
            let writes = room.sandbox.requests().writes();
            state.insert(room.sandbox.name().to_owned(), format!("{writes} requests to write"));
        }
        let repository = git2::Repository::open_bare(&self.repository.bare).unwrap();
        for reference in repository.references().unwrap().map(|it| it.unwrap()) {
            let target = reference.target().unwrap().to_string();
            state.insert(reference.name().unwrap().to_owned(), target);
        }
        state
    }

    fn rehearse(&self, more: &[&str]) -> (i32, Value) {
        let arguments = [&["rehearse", "--format", "json"], more].concat();
        let told = self.given.ask(&arguments);
        let said = String::from_utf8_lossy(&told.stderr);
        let value = serde_json::from_slice(&told.stdout);
        (told.status.code().unwrap(), value.unwrap_or_else(|error| panic!("{error}: {said}")))
    }
}

fn codes(found: &Value, list: &str) -> Vec<String> {
    let all = found[list].as_array().unwrap().iter();
    all.map(|it| it["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_that_waits_is_rehearsed_on_copies_and_nothing_of_the_site_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (site, mut agent) = Site::settled(folder.path()).await;
    site.repository.set_level(2);
    site.repository.push("The second level");
    let plan = site.waiting().await;
    let before = site.state();
    let journal = |name: &str| std::fs::read(site.given.data.join(name)).unwrap_or_default();
    agent.kill();
    let recorded = (journal("journal.sqlite"), journal("journal.sqlite-wal"));

    let (code, found) = site.rehearse(&[]);
    assert_eq!(code, 0, "{found:#}");
    // What was copied is what runs: the same plan comes out, to the digest. Only what the secret holds is in no copy.
    assert_eq!(
        found["plan"],
        json!(plan),
        "{:#} {}",
        found["limits"],
        found["differs"]["text"].as_str().unwrap_or_default()
    );
    assert_eq!(found["run"]["phase"], "done", "{:#}", found["run"]);
    assert_eq!(codes(&found, "approvals"), ["APPROVAL/QUORUM_UNMET"], "{:#}", found["approvals"]);
    let groups = |place: &str| -> Vec<(u64, u64)> {
        let counts = found["run"]["pods"][place].as_array().unwrap();
        counts.iter().map(|it| (it["old"].as_u64().unwrap(), it["new"].as_u64().unwrap())).collect()
    };
    let keeper = groups("room-a/store/keeper");
    assert_eq!((keeper.first(), keeper.last()), (Some(&(3, 0)), Some(&(0, 3))), "{keeper:?}");
    assert!(keeper.contains(&(2, 1)), "the first of two groups of three is one pod: {keeper:?}");
    // It is measured where the site has done it before, and told how often.
    let start = &found["starts"]["room-a/store/keeper"];
    assert!(start["measured"].as_u64().unwrap() > 0, "{start}");
    let confirmed = found["confirmations"].as_array().unwrap();
    assert!(
        confirmed.iter().any(|it| it["of"] == "gray" && it.get("group").is_none()),
        "{confirmed:?}"
    );
    assert!(confirmed.iter().any(|it| it["group"] == 0), "{confirmed:?}");

    // The second run: it stops at the first group, and the policy waits for a person.
    let failing = &found["failing"];
    assert_eq!(failing["onFailure"], "pause");
    assert_eq!(failing["run"]["phase"], "failed", "{failing:#}");
    assert_eq!(failing["run"]["failures"][0]["step"], failing["step"]);
    assert_eq!(
        failing["run"]["failures"][0]["afterSeconds"].as_u64().unwrap() / 60,
        5,
        "its timeout"
    );
    let step = failing["step"].as_str().unwrap().split_once('/').unwrap().1;
    let last = failing["run"]["pods"][step].as_array().unwrap().last().unwrap().clone();
    assert_eq!((last["new"].as_u64(), last["newReady"].as_u64()), (Some(1), Some(0)), "{last}");

    assert_eq!(site.state(), before);
    assert_eq!((journal("journal.sqlite"), journal("journal.sqlite-wal")), recorded);

    // The same of an agent that runs, named by the beginning of its digest, as people and merge requests read it.
    let _agent = site.given.start();
    assert_eq!(site.waiting().await, plan);
    let digits = plan.trim_start_matches("sha256:")[..12].to_owned();
    let told = site.given.ask(&["rehearse", &digits, "--no-failure", "--format", "markdown"]);
    let page = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(0), "{page}{}", String::from_utf8_lossy(&told.stderr));
    assert!(page.starts_with(&format!("### Rehearsal of plan `{digits}`")), "{page}");
    assert!(!page.contains("If the first group fails"), "{page}");
    let unknown = site.given.ask(&["rehearse", "0000000000"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("REHEARSAL/PLAN_UNKNOWN"));
}
