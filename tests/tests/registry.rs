//! Images and their registries: what is asked over real HTTP, and what the built agent makes of the answers.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};

use rstest::rstest;
use tempfile::TempDir;
use tidegate::registry::{Error, Options, Registries, Trouble};
use tidegate_core::pin::Answer;
use tidegate_tests::canary;
use tidegate_tests::registry::{Access, Mood, Registry, authority, docker_config};

#[path = "registry/agent.rs"]
mod agent;

/// Registries as an agent without encryption for this one reaches them, with its credentials.
fn with_credentials(registry: &Registry) -> (Registries, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let auth = folder.path().join("config.json");
    std::fs::write(&auth, docker_config(&registry.host())).unwrap();
    let insecure = BTreeSet::from([registry.host()]);
    let options = Options { auth: Some(auth), insecure, ..Options::default() };
    (Registries::new(options).unwrap(), folder)
}

fn anonymous(registry: &Registry) -> Registries {
    let insecure = BTreeSet::from([registry.host()]);
    Registries::new(Options { insecure, ..Options::default() }).unwrap()
}

/// Asks for images of a registry, given by path and tag or digest; what is said is searched for secrets.
async fn ask(
    registries: &Registries,
    registry: &Registry,
    images: &[&str],
) -> BTreeMap<String, Result<Answer, Trouble>> {
    let host = registry.host();
    let references = images.iter().map(|image| format!("{host}/{image}")).collect();
    let said = registries.ask(&references).await;
    canary::assert_none("the answers", format!("{said:?} {registries:?}"));
    let troubles = said.values().filter_map(|said| said.as_ref().err());
    canary::assert_none("the texts", troubles.map(ToString::to_string).collect::<String>());
    let own = format!("{host}/");
    said.into_iter().map(|(text, said)| (text.replace(&own, ""), said)).collect()
}

async fn ask_one(
    registries: &Registries,
    registry: &Registry,
    image: &str,
) -> Result<Answer, Trouble> {
    ask(registries, registry, &[image]).await.remove(image).unwrap()
}

#[rstest]
#[case::open(Access::Open)]
#[case::basic(Access::Basic)]
#[case::tokens(Access::Tokens)]
#[tokio::test]
async fn a_tag_is_answered_with_what_it_means_now(#[case] access: Access) {
    let registry = Registry::start(access).await;
    let (registries, _folder) = with_credentials(&registry);
    let first = registry.push("web/front", "1.0", "one");
    assert_eq!(
        ask_one(&registries, &registry, "web/front:1.0").await,
        Ok(Answer::Found(first.clone()))
    );
    let second = registry.push("web/front", "1.0", "two");
    assert_ne!(first, second);
    assert_eq!(ask_one(&registries, &registry, "web/front:1.0").await, Ok(Answer::Found(second)));
    let pinned = format!("web/front@{first}");
    assert_eq!(ask_one(&registries, &registry, &pinned).await, Ok(Answer::Found(first.clone())));
    registry.remove("web/front", &first);
    assert_eq!(ask_one(&registries, &registry, &pinned).await, Ok(Answer::Missing));
    for image in ["web/front:2.0", "web/back:1.0", "web/front"] {
        assert_eq!(ask_one(&registries, &registry, image).await, Ok(Answer::Missing), "{image}");
    }
    registry.push("web/front", "latest", "three");
    assert!(ask_one(&registries, &registry, "web/front").await.is_ok());
}

#[rstest]
#[case::basic(Access::Basic)]
#[case::tokens(Access::Tokens)]
#[tokio::test]
async fn who_may_not_pull_learns_nothing_and_that_is_no_no(#[case] access: Access) {
    let registry = Registry::start(access).await;
    registry.push("web/front", "1.0", "one");
    let said = ask_one(&anonymous(&registry), &registry, "web/front:1.0").await;
    assert!(matches!(said, Err(Trouble::Denied(_))), "{said:?}");
    let (registries, folder) = with_credentials(&registry);
    let wrong = docker_config(&registry.host()).replace("auth\": \"", "auth\": \"bGk6");
    std::fs::write(folder.path().join("config.json"), wrong).unwrap();
    let said = ask_one(&registries, &registry, "web/front:1.0").await;
    assert!(matches!(said, Err(Trouble::Denied(_))), "{said:?}");
    // They are replaced while the agent runs.
    std::fs::write(folder.path().join("config.json"), docker_config(&registry.host())).unwrap();
    assert!(ask_one(&registries, &registry, "web/front:1.0").await.is_ok());
    registry.take_questions();
    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    let said = ask_one(&registries, &registry, "web/front:1.0").await;
    assert!(matches!(said, Err(Trouble::Denied(_))), "{said:?}");
    assert_eq!(registry.take_questions(), Vec::<String>::new());
}

#[rstest]
#[case::no_digest(Mood::WithoutDigest)]
#[case::no_head(Mood::OnlyGet)]
#[tokio::test]
async fn a_registry_that_says_less_is_asked_for_the_manifest_itself(#[case] mood: Mood) {
    let registry = Registry::start(Access::Tokens).await;
    let (registries, _folder) = with_credentials(&registry);
    let digest = registry.push("web/front", "1.0", "one");
    registry.is(mood);
    assert_eq!(ask_one(&registries, &registry, "web/front:1.0").await, Ok(Answer::Found(digest)));
}

#[rstest]
#[case::busy(429)]
#[case::unavailable(503)]
#[tokio::test]
async fn a_busy_registry_is_not_asked_for_the_rest(#[case] status: u16) {
    let registry = Registry::start(Access::Open).await;
    registry.is(Mood::Status(status));
    let said = ask(&anonymous(&registry), &registry, &["a/a:1", "a/b:1", "a/c:1"]).await;
    let is_busy =
        |said: &Result<Answer, Trouble>| matches!(said, Err(Trouble::Busy(it)) if *it == status);
    assert!(said.len() == 3 && said.values().all(is_busy), "{said:?}");
    assert_eq!(registry.take_questions().len(), 1);
}

#[tokio::test]
async fn an_error_is_no_answer() {
    let registry = Registry::start(Access::Open).await;
    for status in [500, 502, 302, 400] {
        registry.is(Mood::Status(status));
        let said = ask_one(&anonymous(&registry), &registry, "web/front:1.0").await;
        assert!(matches!(said, Err(Trouble::Strange(_))), "{status}: {said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_hangs_is_given_up_and_the_rest_is_not_waited_for() {
    let registry = Registry::start(Access::Open).await;
    registry.is(Mood::Silent);
    let before = tokio::time::Instant::now();
    let images: Vec<String> = (0..40).map(|number| format!("web/app{number}:1")).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let said = ask(&anonymous(&registry), &registry, &images).await;
    assert!(said.len() == 40 && said.values().all(Result::is_err), "{said:?}");
    assert!(before.elapsed().as_secs() <= 20, "{:?}", before.elapsed());
    assert!(registry.take_questions().len() <= 1);
}

#[tokio::test]
async fn nobody_there_is_said_of_all() {
    let registry = Registry::start(Access::Open).await;
    let (registries, host) = (anonymous(&registry), registry.host());
    drop(registry);
    // The port is nobody's once the server has ended.
    let references = BTreeSet::from([format!("{host}/a:1"), format!("{host}/b:1")]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    loop {
        let said = registries.ask(&references).await;
        if said.values().all(|said| matches!(said, Err(Trouble::Unreachable(_)))) {
            assert_eq!(said.len(), 2);
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{said:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_site_of_many_images_asks_a_few_at_once() {
    let registry = Registry::start(Access::Tokens).await;
    let (registries, _folder) = with_credentials(&registry);
    let images: Vec<String> = (0..100).map(|number| format!("web/app{number}:1")).collect();
    for image in &images {
        registry.push(image.trim_end_matches(":1"), "1", image);
    }
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let said = ask(&registries, &registry, &images).await;
    assert!(said.len() == 100 && said.values().all(Result::is_ok), "{said:?}");
    assert!(registry.most_at_once() <= 8, "{}", registry.most_at_once());
}

#[tokio::test]
async fn encryption_is_only_left_out_where_the_settings_say_so() {
    let registry = Registry::start(Access::Basic).await;
    registry.push("web/front", "1.0", "one");
    let (_, folder) = with_credentials(&registry);
    let auth = Some(folder.path().join("config.json"));
    let registries = Registries::new(Options { auth, ..Options::default() }).unwrap();
    let said = ask_one(&registries, &registry, "web/front:1.0").await;
    assert!(matches!(said, Err(Trouble::Unreachable(_))), "{said:?}");
    assert_eq!(registry.take_questions(), Vec::<String>::new());
}

#[tokio::test]
async fn an_authority_of_the_bank_is_trusted_when_it_is_named() {
    let registry = Registry::start_with_tls(Access::Tokens).await;
    let digest = registry.push("web/front", "1.0", "one");
    let (_, folder) = with_credentials(&registry);
    let auth = Some(folder.path().join("config.json"));
    let unknown = Registries::new(Options { auth: auth.clone(), ..Options::default() }).unwrap();
    let said = ask_one(&unknown, &registry, "web/front:1.0").await;
    assert!(
        matches!(&said, Err(Trouble::Unreachable(why)) if why.contains("certificate")),
        "{said:?}"
    );
    let options = Options { auth, authorities: Some(authority()), ..Options::default() };
    let trusted = Registries::new(options).unwrap();
    assert_eq!(ask_one(&trusted, &registry, "web/front:1.0").await, Ok(Answer::Found(digest)));
}

#[tokio::test]
async fn credentials_do_not_follow_a_registry_to_where_they_could_be_read() {
    let elsewhere = Registry::start(Access::Open).await;
    let registry = Registry::start_with_realm(&format!("http://{}/token", elsewhere.host())).await;
    registry.push("web/front", "1.0", "one");
    let (registries, _folder) = with_credentials(&registry);
    let said = ask_one(&registries, &registry, "web/front:1.0").await;
    assert!(matches!(&said, Err(Trouble::Strange(why)) if why.contains("encryption")), "{said:?}");
    assert_eq!(elsewhere.take_questions(), Vec::<String>::new());
}

#[test]
fn certificates_that_are_none_are_said_before_anything_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, "nothing").unwrap();
    let options = |path| Options { authorities: Some(path), ..Options::default() };
    assert!(matches!(Registries::new(options(path)), Err(Error::NoAuthority(_))));
    let absent = folder.path().join("absent.pem");
    assert!(matches!(Registries::new(options(absent)), Err(Error::Authorities { .. })));
}
