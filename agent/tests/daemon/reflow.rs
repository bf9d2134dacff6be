//! What a site has reached, handed on: a repository laid out from an export and an agent that takes it up have nothing to do.

use std::path::Path;

use serde_json::Value;
use tidegate::status::Condition;

use crate::process::Given;
use crate::rehearse::Site;

fn said(output: &std::process::Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_repository_from_an_export_plans_empty_and_a_new_agent_takes_the_site_up() {
    let folder = tempfile::tempdir().unwrap();
    let (site, mut agent) = Site::settled(folder.path()).await;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (file, fresh) = (path("baseline.json"), path("fresh"));
    // What came after the delivery is no part of it.
    let delivered = site.repository.head();
    site.repository.set_level(2);
    site.repository.push("The second level");
    let exported = site.given.ask(&["baseline", "export", "--out", &file, "--repository", &fresh]);
    assert!(exported.status.success(), "{}", said(&exported));
    let laid_out = git2::Repository::open(&fresh).unwrap();
    assert_eq!(laid_out.head().unwrap().target().unwrap().to_string(), delivered);
    assert_eq!(laid_out.references().unwrap().count(), 1, "nothing of what came after");
    let before = site.given.status().await.unwrap();
    agent.kill();
    let applied =
        || -> Vec<_> { site.rooms.iter().map(crate::cluster::Outside::applied).collect() };
    let runs = applied();

    let data = folder.path().join("new");
    std::fs::create_dir_all(&data).unwrap();
    for room in ["room-a.kubeconfig", "room-b.kubeconfig"] {
        std::fs::copy(site.given.data.join(room), data.join(room)).unwrap();
    }
    let new = Given::new(Path::new(&fresh), &data);
    let import = |file: &str, more: &[&str]| {
        let arguments = [
            &["baseline", "import", file, "--path", &fresh, "--reason", "CHG-9", "--as", "li-na"],
            more,
        ];
        new.ask(&arguments.concat())
    };
    let altered = path("altered.json");
    let mut content = read(Path::new(&file));
    content["carried"]["consumed"] = Value::Array(Vec::new());
    std::fs::write(&altered, content.to_string()).unwrap();
    let refused = import(&altered, &[]);
    assert!(said(&refused).contains("BASELINE/ALTERED"), "{}", said(&refused));
    let taken = import(&file, &[]);
    assert!(taken.status.success(), "{}", said(&taken));
    let again = import(&file, &[]);
    assert!(said(&again).contains("BASELINE/ONE_IS_THERE"), "{}", said(&again));
    assert!(import(&file, &["--replace"]).status.success());

    let planned = new.ask(&["plan", "--path", &fresh]);
    assert_eq!(planned.status.code(), Some(0), "{}", said(&planned));
    let mut taking_up = new.start();
    let settled =
        new.until("settled", |it| (it.condition == Condition::Settled).then(|| it.clone())).await;
    assert!(settled.releases.is_empty(), "{:?}", settled.releases);
    assert_eq!(settled.zones, before.zones, "serials go on");
    assert_eq!(
        settled.baseline.map(|it| (it.digest, it.revision)),
        before.baseline.map(|it| (it.digest, it.revision))
    );
    let shown = new.ask(&["baseline", "show"]);
    assert!(said(&shown).contains("imported by li-na"), "{}", said(&shown));
    let same = new.ask(&["baseline", "diff", &file]);
    assert_eq!(same.status.code(), Some(0), "{}", said(&same));
    taking_up.kill();
    assert_eq!(applied(), runs, "nothing has changed in a cluster");

    // The next level, rehearsed from the export alone.
    let state = site.state();
    let work = site.repository.work.display().to_string();
    let arguments = ["rehearse", "--path", &work, "--baseline", &file, "--format", "json"];
    let told = site.given.ask(&arguments);
    let found: Value = serde_json::from_slice(&told.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", said(&told)));
    assert_eq!((told.status.code(), &found["origin"]), (Some(0), &"baseline".into()), "{found:#}");
    assert_eq!(found["run"]["phase"], "done");
    let keeper = found["run"]["pods"]["room-a/store/keeper"].as_array().unwrap();
    assert_eq!(keeper[0]["old"], 3, "what the baseline says runs there before");
    assert_eq!(site.state(), state);
}
