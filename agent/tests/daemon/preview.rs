//! A preview against the data folder of an agent: the digest that the agent will ask people to approve.

use serde_json::Value;
use tidegate::status::Condition;

use crate::rehearse::Site;

impl Site {
    /// The plan that waits for an approval and is another one than before.
    async fn waiting_after(&self, before: Option<&str>) -> String {
        let is_new = |id: &String| before != Some(id.as_str());
        self.given
            .until("another plan that waits", |status| {
                let is_waiting = status.condition == Condition::Waiting;
                let plan = status.plan.as_ref().filter(|_| is_waiting);
                plan.map(|plan| plan.id.to_string()).filter(is_new)
            })
            .await
    }

    /// The exit code of `plan` for the working tree, and what it made.
    fn preview(&self) -> (Option<i32>, Value) {
        let work = self.repository.work.display().to_string();
        let told = self.given.ask(&["plan", "--path", &work, "--format", "json"]);
        let said = String::from_utf8_lossy(&told.stderr);
        let made = serde_json::from_slice(&told.stdout);
        (told.status.code(), made.unwrap_or_else(|error| panic!("{error}: {said}")))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_has_the_digest_of_the_agent_also_where_persons_and_groups_change() {
    let folder = tempfile::tempdir().unwrap();
    let (site, mut agent) = Site::settled(folder.path()).await;
    let risks = |made: &Value| made["plan"]["content"]["risks"].to_string();
    let (code, made) = site.preview();
    assert_eq!(code, Some(0), "{made:#}");

    // Nothing but a group is new: there is something to approve, and no object changes.
    let group = "kind: Group\nmetadata: {name: auditors}\nspec: {members: [wang-wei]}";
    site.repository.documents("iam/auditors.yaml", &[group]);
    site.repository.push("A group");
    let first = site.waiting_after(None).await;
    let (code, made) = site.preview();
    assert_eq!((code, &made["id"]), (Some(2), &Value::from(first.as_str())), "{made:#}");
    assert!(risks(&made).contains("changesPolicy"), "{made:#}");
    let work = site.repository.work.display().to_string();
    let told = site.given.ask(&["plan", "--path", &work]);
    let said = String::from_utf8_lossy(&told.stdout);
    assert!(said.contains("policies or persons change"), "{said}");
    assert!(!said.contains("Nothing to do") && said.contains(&first), "{said}");

    // Objects too.
    site.repository.set_level(2);
    site.repository.push("The second level");
    let second = site.waiting_after(Some(&first)).await;
    assert_eq!(site.preview().1["id"], second);
    // Of an agent that is away its journal knows.
    agent.kill();
    let (code, made) = site.preview();
    assert_eq!((code, &made["id"]), (Some(2), &Value::from(second)), "{made:#}");
    assert!(risks(&made).contains("changesPolicy"), "{made:#}");
}
