//! Which source wins, what is refused, and that the reference is current.

use std::collections::BTreeSet;

use clap::{Args as _, FromArgMatches as _};
use tempfile::TempDir;

use super::*;

fn arguments(flags: &[&str]) -> AgentArgs {
    let command = AgentArgs::augment_args(clap::Command::new("agent"));
    let matches = command.try_get_matches_from([&["agent"], flags].concat()).unwrap();
    AgentArgs::from_arg_matches(&matches).unwrap()
}

fn load(flags: &[&str], variables: &[(&str, &str)]) -> (Option<Config>, Vec<Finding>) {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    Config::load(&arguments(flags), &|name| variables.get(name).map(|value| (*value).to_owned()))
}

fn good(flags: &[&str], variables: &[(&str, &str)]) -> Config {
    let flags = [&["--repo", "/srv/site.git", "--data", "/var/lib/tidegate"], flags].concat();
    let (config, findings) = load(&flags, variables);
    assert_eq!(findings, []);
    config.unwrap()
}

fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| &*finding.code).collect()
}

fn file(folder: &TempDir, name: &str, text: &str, mode: u32) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let folder = TempDir::new().unwrap();
    let config = file(&folder, "c.yaml", "branch: file\npath: file\npollInterval: 5m\n", 0o644);
    let variables = [
        ("TIDEGATE_BRANCH", "variable"),
        ("TIDEGATE_PATH", "variable"),
        ("TIDEGATE_CONFIG", &config),
    ];
    let found = good(&["--branch", "flag"], &variables);
    assert_eq!(
        (&*found.branch, &*found.path, found.poll_interval, &*found.log_level),
        ("flag", "variable", Duration::from_mins(5), "info")
    );
    assert_eq!(found.listen, "127.0.0.1:7480".parse().unwrap());
    assert_eq!(found.retention, Duration::from_hours(9_600));
    // A variable that is empty says nothing.
    assert_eq!(good(&[], &[("TIDEGATE_BRANCH", "")]).branch, "main");
}

#[test]
fn images_are_looked_up_as_the_settings_say() {
    let found = good(&[], &[]);
    assert_eq!(found.image_lookup, Lookup::Try);
    assert_eq!(found.image_lookup_interval, Duration::from_hours(1));
    let folder = TempDir::new().unwrap();
    let auth = file(&folder, "config.json", "{}", 0o600);
    let flags = ["--image-lookup", "require", "--registry-auth", &auth];
    let variables = [("TIDEGATE_REGISTRY_INSECURE", "registry.lab:5000, 10.0.0.1:80")];
    let found = good(&flags, &variables);
    assert_eq!(found.image_lookup, Lookup::Require);
    assert_eq!(found.registries.auth, Some(PathBuf::from(&auth)));
    let insecure = ["10.0.0.1:80", "registry.lab:5000"].map(str::to_owned);
    assert_eq!(found.registries.insecure, BTreeSet::from(insecure));

    let open = file(&folder, "open.json", "{}", 0o644);
    let own = ["--repo", "/srv/site.git", "--data", "/var/lib/tidegate"];
    let (config, findings) = load(&[&own[..], &["--registry-auth", &open]].concat(), &[]);
    assert_eq!((config.is_some(), codes(&findings)), (true, vec!["CONFIG/SECRET_OPEN_TO_ALL"]));
    for wrong in ["https://registry.lab", "registry.lab/team", "lab", "Ä.lab"] {
        let (config, findings) = load(&[&own[..], &["--registry-insecure", wrong]].concat(), &[]);
        assert_eq!(
            (config.is_none(), codes(&findings)),
            (true, vec!["CONFIG/INVALID_VALUE"]),
            "{wrong}"
        );
    }
}

#[test]
fn lists_come_from_several_flags_one_variable_or_a_sequence() {
    let folder = TempDir::new().unwrap();
    let expected: Vec<SocketAddr> =
        ["127.0.0.1:53", "[::1]:53"].map(|it| it.parse().unwrap()).to_vec();
    assert_eq!(
        good(&["--dns-listen", "127.0.0.1:53", "--dns-listen", "[::1]:53"], &[]).dns_listen,
        expected
    );
    assert_eq!(
        good(&[], &[("TIDEGATE_DNS_LISTEN", "127.0.0.1:53, [::1]:53")]).dns_listen,
        expected
    );
    let config = file(&folder, "c.yaml", "dnsListen: ['127.0.0.1:53', '[::1]:53']\n", 0o644);
    assert_eq!(good(&["--config", &config], &[]).dns_listen, expected);
    let clusters = good(&["--kubeconfig", "room-a=/etc/a.yaml"], &[]).kubeconfig;
    assert_eq!(clusters["room-a"], PathBuf::from("/etc/a.yaml"));
}

#[test]
fn all_that_is_wrong_is_found_in_one_run() {
    let folder = TempDir::new().unwrap();
    let config = file(&folder, "c.yaml", "brunch: x\ngitToken: s3cr3t\nlisten: {a: b}\n", 0o644);
    let flags = [
        "--config",
        &config,
        "--poll-interval",
        "0s",
        "--dns-listen",
        "53",
        "--log-format",
        "xml",
        "--tls",
        "on",
    ];
    let (found, findings) = load(&flags, &[]);
    assert!(found.is_none());
    let counted: BTreeSet<_> = codes(&findings).into_iter().collect();
    assert_eq!(
        counted.into_iter().collect::<Vec<_>>(),
        [
            "CONFIG/INVALID_VALUE",
            "CONFIG/MISSING",
            "CONFIG/SECRET_IN_FILE",
            "CONFIG/UNKNOWN_SETTING"
        ]
    );
    assert_eq!(codes(&findings).iter().filter(|code| **code == "CONFIG/INVALID_VALUE").count(), 5);
    assert_eq!(codes(&findings).iter().filter(|code| **code == "CONFIG/MISSING").count(), 2);
    assert!(!format!("{findings:?}").contains("s3cr3t"));
}

#[test]
fn a_secret_comes_from_a_variable_or_a_file_and_is_never_shown() {
    let folder = TempDir::new().unwrap();
    let private = file(&folder, "token", "s3cr3t-file\n", 0o600);
    let found = good(&["--token-file", &private], &[("TIDEGATE_GIT_TOKEN", "s3cr3t-variable")]);
    assert_eq!(found.token.as_ref().unwrap().expose(), "s3cr3t-file");
    assert_eq!(found.git_token.as_ref().unwrap().expose(), "s3cr3t-variable");
    assert!(!format!("{found:?}").contains("s3cr3t"));

    let in_address = [("TIDEGATE_REPO", "https://bot:s3cr3t@git/x"), ("TIDEGATE_DATA", "/d")];
    let (found, _) = load(&[], &in_address);
    assert!(!format!("{found:?}").contains("s3cr3t"));

    let open = file(&folder, "open", "s3cr3t", 0o644);
    let flags = ["--repo", "r", "--data", "d", "--git-token-file", &open];
    let (found, findings) = load(&flags, &[]);
    assert_eq!(codes(&findings), ["CONFIG/SECRET_OPEN_TO_ALL"]);
    assert!(found.is_some(), "a warning refuses nothing");
    for path in [&file(&folder, "empty", "\n", 0o600), "/nowhere"] {
        let (found, findings) =
            load(&["--repo", "r", "--data", "d", "--git-token-file", path], &[]);
        assert!(found.is_none());
        assert_eq!(codes(&findings), ["CONFIG/SECRET_UNREADABLE"]);
    }
    let refused = AgentArgs::augment_args(clap::Command::new("agent")).try_get_matches_from([
        "agent",
        "--git-token",
        "s3cr3t",
    ]);
    assert!(refused.is_err(), "there is no flag for a secret");
}

#[test]
fn listening_to_others_needs_a_token() {
    let flags = ["--repo", "r", "--data", "d", "--listen", "0.0.0.0:7480"];
    let (found, findings) = load(&flags, &[]);
    assert!(found.is_none());
    assert_eq!(codes(&findings), ["CONFIG/TOKEN_REQUIRED"]);
    assert_eq!(load(&flags, &[("TIDEGATE_TOKEN", "t")]).1, []);
    assert_eq!(load(&["--repo", "r", "--data", "d", "--listen", "[::1]:1"], &[]).1, []);
}

#[test]
fn a_file_that_cannot_be_read_is_a_finding() {
    let folder = TempDir::new().unwrap();
    let flags = |path: &str| load(&["--repo", "r", "--data", "d", "--config", path], &[]).1;
    assert_eq!(codes(&flags("/nowhere.yaml")), ["CONFIG/FILE_UNREADABLE"]);
    assert_eq!(codes(&flags(&file(&folder, "a.yaml", "- a\n", 0o644))), ["CONFIG/FILE_INVALID"]);
    assert_eq!(flags(&file(&folder, "b.yaml", "# nothing\n", 0o644)), []);
}

#[test]
fn the_language_follows_the_setting_then_the_locale() {
    assert_eq!(good(&["--lang", "zh"], &[("LANG", "en_US.UTF-8")]).lang, Lang::Zh);
    assert_eq!(good(&[], &[("LANG", "zh_CN.UTF-8")]).lang, Lang::Zh);
    assert_eq!(good(&[], &[("LC_ALL", "C"), ("LANG", "zh_CN.UTF-8")]).lang, Lang::En);
}

#[test]
fn durations_have_one_unit_and_are_not_zero() {
    assert_eq!(duration("90s"), Some(Duration::from_secs(90)));
    assert_eq!(duration("2d"), Some(Duration::from_hours(48)));
    for wrong in
        ["", "s", "0s", "5", "-5s", "1.5h", "5é", "99999999999999999999s", "9999999999999999999d"]
    {
        assert_eq!(duration(wrong), None, "{wrong}");
    }
}

#[test]
fn the_reference_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/configuration.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, reference()).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, reference(), "run the tests with UPDATE_REFERENCE=1");
}

#[test]
fn the_catalogue_has_every_code_of_the_configuration() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = fs::read_to_string(folder.join("src/config.rs")).unwrap();
    let used: BTreeSet<_> = code.split('"').filter(|word| word.starts_with("CONFIG/")).collect();
    let catalogue = fs::read_to_string(folder.join("../schema/catalogue/config.yaml")).unwrap();
    let listed: BTreeSet<_> = catalogue
        .lines()
        .filter(|line| line.starts_with("CONFIG/"))
        .filter_map(|line| line.strip_suffix(':'))
        .collect();
    assert_eq!(used, listed);
}
