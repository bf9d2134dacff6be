//! The built program: exit codes, messages, machine output, and the way from `init` to a settled site.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

#[path = "../../tests/src/canary.rs"]
#[expect(unreachable_pub, reason = "the tests across crates have it in their library")]
mod canary;
#[path = "shared/close.rs"]
mod close;

use close::close;

/// The program in a folder, away from whatever the caller's environment says.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.current_dir(folder).args(arguments).env("LC_ALL", "C.UTF-8").env("COLUMNS", "80");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
    command.env("TIDEGATE_HOOK_SECRET", canary::secret("hook"));
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    canary::searched(command(folder, arguments).output().unwrap())
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a command prints for programs: held against the schema in the book, in which no field may be missing.
fn json(output: &Output) -> Value {
    let printed = foreign_json(output);
    hold_to_schema(&printed);
    printed
}

/// JSON that has a form of its own.
fn foreign_json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", out(output), err(output)))
}

fn hold_to_schema(printed: &Value) {
    let mut schema = tidegate::cli::output_schema();
    let forms = schema["oneOf"].as_array().unwrap();
    let form = forms.iter().find(|form| form["title"] == printed["kind"]);
    let form = form.unwrap_or_else(|| panic!("no form is called {}", printed["kind"])).clone();
    schema["oneOf"] = Value::Array(vec![form]);
    close(&mut schema);
    let schema = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> =
        schema.iter_errors(printed).map(|it| format!("{}: {it}", it.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{printed:#}");
}

/// A new site, `site` in a temporary folder.
fn site() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let made = run(folder.path(), &["init", "site"]);
    assert_eq!(code(&made), 0, "{}", err(&made));
    let site = folder.path().join("site");
    (folder, site)
}

#[test]
fn what_init_lays_out_is_valid_without_any_finding() {
    let (_folder, site) = site();
    let checked = run(&site, &["validate", "--format", "json"]);
    assert_eq!(code(&checked), 0, "{}", out(&checked));
    let report = json(&checked);
    assert_eq!(report["valid"], true);
    assert_eq!(report["site"], "site");
    assert_eq!(report["findings"], Value::Array(Vec::new()));
    for file in [".gitlab-ci.yml", ".github/workflows/tidegate.yml", "schema/site.schema.json"] {
        assert!(site.join(file).is_file(), "{file}");
    }
}

#[test]
fn a_rehearsal_counts_the_pods_of_a_scaling_group_by_themselves() {
    let (_folder, site) = site();
    let file = site.join("solutions/platform.yaml");
    let group = "{replicas: 4}}\n      scalingGroups: [{name: east, apps: {web: {replicas: 2}}}]";
    let solution = std::fs::read_to_string(&file).unwrap().replace("{replicas: 4}}", group);
    std::fs::write(&file, solution).unwrap();
    let rehearsed = run(&site, &["rehearse", "--format", "json"]);
    assert_eq!(code(&rehearsed), 0, "{}", err(&rehearsed));
    let found = json(&rehearsed);
    let pods = &found["run"]["pods"];
    let last = |place: &str| pods[place].as_array().and_then(|it| it.last()).unwrap().clone();
    assert_eq!(last("main/hello/web")["newReady"], 4, "{pods:#}");
    assert_eq!(last("main/hello/web-east")["newReady"], 2, "{pods:#}");
}

#[test]
fn what_is_secret_in_the_documents_is_refused_and_never_printed() {
    let (_folder, site) = site();
    let version = "apiVersion: tidegate.dev/v1\nkind: ProductVersion\nmetadata: {name: vault}\nspec:\n  version: 1.0.0\n  parameters: [{name: password, type: string, secret: true, required: true}]\n  manifests: [manifests/*.yaml]\n";
    let document = |kind: &str, name: &str, spec: &str| {
        format!(
            "apiVersion: tidegate.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        )
    };
    let in_clear = canary::secret("clear");
    let files = [
        ("catalog/vault/product.yaml", document("Product", "vault", "{}")),
        ("catalog/vault/1.0.0/version.yaml", version.to_owned()),
        (
            "catalog/vault/1.0.0/manifests/secret.yaml",
            format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: vault}}\nstringData: {{password: {in_clear}}}\n"
            ),
        ),
        (
            "solutions/vault.yaml",
            document("Solution", "vault", "{products: [{product: vault, version: 1.0.0}]}"),
        ),
        (
            "parameters/vault.yaml",
            document(
                "Parameters",
                "vault",
                &format!("{{scope: {{product: vault}}, values: {{password: {in_clear}}}}}"),
            ),
        ),
    ];
    for (file, text) in files {
        let path = site.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    for format in ["text", "json"] {
        for command in [&["validate"][..], &["parameters"], &["render"], &["plan", "--sandbox"]] {
            let told = run(&site, &[command, &["--format", format]].concat());
            assert_ne!(code(&told), 0, "{command:?} {format}");
        }
    }
    let report = json(&run(&site, &["validate", "--format", "json"]));
    let findings = report["findings"].as_array().unwrap().iter();
    let codes: Vec<_> = findings.map(|finding| finding["code"].as_str().unwrap()).collect();
    for code in ["MANIFEST/SECRET_IN_CLEAR", "VALUE/SECRET_IN_CLEAR"] {
        assert!(codes.contains(&code), "{codes:?}");
    }
}

#[test]
fn the_schemas_that_documents_name_are_there() {
    let (_folder, site) = site();
    let mut count = 0;
    let mut folders = vec![site.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines() {
                if let Some(schema) = line.strip_prefix("# yaml-language-server: $schema=") {
                    assert!(path.parent().unwrap().join(schema).is_file(), "{}", path.display());
                    count += 1;
                }
            }
        }
    }
    assert!(count >= 8, "only {count} documents name their schema");
}

#[test]
fn init_never_overwrites() {
    let (folder, site) = site();
    std::fs::write(site.join("site.yaml"), "mine").unwrap();
    let again = run(folder.path(), &["init", "site"]);
    assert_eq!(code(&again), 1);
    assert!(err(&again).contains("COMMAND/FOLDER_USED"), "{}", err(&again));
    assert_eq!(std::fs::read_to_string(site.join("site.yaml")).unwrap(), "mine");
}

#[test]
fn every_problem_is_shown_with_its_place_cause_and_remedy() {
    let (_folder, site) = site();
    let path = site.join("site.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("tier: development", "tier: prodution")).unwrap();
    let path = site.join("solutions/platform.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("replicas: 4", "replicaz: 4")).unwrap();
    let checked = run(&site, &["validate"]);
    assert_eq!(code(&checked), 1);
    let text = out(&checked);
    assert!(text.contains("site.yaml:7:"), "{text}");
    assert!(text.contains("solutions/platform.yaml:12:"), "{text}");
    assert!(text.contains("help: "), "{text}");
    assert!(text.trim_end().lines().last().unwrap().contains("2 errors"), "{text}");
    assert!(!text.contains('\u{1b}'), "colour in a pipe");
    let checked = run(&site, &["validate", "--format", "json", "--lang", "zh"]);
    let report = json(&checked);
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 2);
    for finding in findings {
        assert!(finding["place"]["line"].as_u64().unwrap() > 0);
        let message = finding["message"].as_str().unwrap();
        assert!(message.chars().any(|it| it > '\u{2e80}'), "{message}");
    }
}

#[test]
fn a_wrong_command_line_is_64_and_help_is_0() {
    let folder = tempfile::tempdir().unwrap();
    for wrong in [
        &["nonsense"][..],
        &["validate", "--nonsense"],
        &["status"],
        &["validate", "--lang", "de"],
        &["schema", "Nonsense"],
        &["explain", "NO/SUCH_CODE"],
        &["sandbox", "--listen", "0.0.0.0:0"],
        &["why", "--agent", "foo"],
        &["status", "--agent", "https://agent.example"],
        &[],
    ] {
        let output = run(folder.path(), wrong);
        assert_eq!(code(&output), 64, "{wrong:?}: {}", err(&output));
        assert!(!output.stderr.is_empty(), "{wrong:?} says nothing");
    }
    for right in [&["--help"][..], &["help", "approve"], &["--version"], &["explain"]] {
        assert_eq!(code(&run(folder.path(), right)), 0, "{right:?}");
    }
}

#[test]
fn a_schema_is_a_json_schema_of_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let kinds = json(&run(folder.path(), &["schema", "--format", "json"]));
    let kinds = kinds["kinds"].as_array().unwrap();
    assert!(kinds.len() >= 18);
    for kind in kinds {
        let schema = foreign_json(&run(folder.path(), &["schema", kind.as_str().unwrap()]));
        assert_eq!(&schema["properties"]["kind"]["const"], kind);
    }
}

#[test]
fn differences_are_exit_code_2_and_the_plan_has_a_digest() {
    let (_folder, site) = site();
    let differs = run(&site, &["diff", "--format", "json"]);
    assert_eq!(code(&differs), 2, "{}", err(&differs));
    assert!(!json(&differs)["changes"].as_array().unwrap().is_empty());
    let planned = run(&site, &["plan", "--format", "json"]);
    assert_eq!(code(&planned), 2);
    let plan = json(&planned);
    assert!(plan["id"].as_str().unwrap().starts_with("sha256:"));
    let text = run(&site, &["plan"]);
    assert!(out(&text).contains(plan["id"].as_str().unwrap()), "{}", out(&text));
    let comment = run(&site, &["diff", "--format", "markdown"]);
    assert!(out(&comment).contains("hello/web"), "{}", out(&comment));
    for command in ["diff", "plan"] {
        let page = run(&site, &[command, "--format", "html"]);
        assert_eq!(code(&page), 2);
        let page = out(&page);
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"), "{page}");
        assert!(page.contains("hello/web") && !page.contains("<script"), "{page}");
    }
}

#[test]
fn apply_brings_a_site_to_what_it_says_and_then_has_nothing_to_do() {
    let (folder, site) = site();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let applied = run(&site, &["apply", "--data", data, "--sandbox"]);
    assert_eq!(code(&applied), 0, "{}{}", out(&applied), err(&applied));
    assert!(out(&applied).contains("settled"), "{}", out(&applied));
    // The cluster is as it was left, so there is no difference; and what was applied is known to be ours.
    let differs = run(&site, &["diff", "--data", data]);
    assert_eq!(code(&differs), 0, "{}{}", out(&differs), err(&differs));
    let path = site.join("solutions/platform.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("replicas: 4", "replicas: 5")).unwrap();
    let planned = run(&site, &["plan", "--data", data, "--format", "json"]);
    assert_eq!(code(&planned), 2);
    let plan = json(&planned);
    assert_eq!(plan["plan"]["content"]["tasks"][0]["kind"], "scaleOut", "{plan}");
    let applied = run(&site, &["apply", "--data", data, "--sandbox", "--format", "json"]);
    assert_eq!(code(&applied), 0, "{}", err(&applied));
    let status = json(&applied);
    assert_eq!(status["condition"], "settled");
    assert_eq!(status["releases"].as_array().unwrap().len(), 2);
}

#[test]
fn apply_says_whose_approval_is_missing_and_takes_it_from_a_file() {
    let (folder, site) = site();
    let pair = tidegate::signature::generate_key("li-na").unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, format!("{}\n", pair.private.expose())).unwrap();
    let persons = format!(
        "apiVersion: tidegate.dev/v1\nkind: Person\nmetadata: {{name: li-na}}\nspec: {{emails: [li@na.example], keys: ['{}']}}\n---\n\
         apiVersion: tidegate.dev/v1\nkind: Group\nmetadata: {{name: it-ops}}\nspec: {{members: [li-na]}}\n",
        pair.public.trim()
    );
    std::fs::write(site.join("iam/persons.yaml"), persons).unwrap();
    let policy = "apiVersion: tidegate.dev/v1\nkind: ApprovalPolicy\nmetadata: {name: everybody}\n\
                  spec: {rules: [{quorum: [{group: it-ops, count: 1}]}]}\n";
    std::fs::write(site.join("policies/approval.yaml"), policy).unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let waits = run(&site, &["apply", "--data", data, "--sandbox", "--format", "json"]);
    assert_eq!(code(&waits), 1, "{}", err(&waits));
    assert!(err(&waits).contains("it-ops"), "{}", err(&waits));
    let plan = json(&waits)["plan"]["id"].as_str().unwrap().to_owned();
    let approval = folder.path().join("approval.yaml");
    let (key, approval) = (key.to_str().unwrap(), approval.to_str().unwrap());
    let signed = run(
        &site,
        &["approve", &plan, "--key", key, "--as", "li-na", "--reason", "CHG-1", "--out", approval],
    );
    assert_eq!(code(&signed), 0, "{}", err(&signed));
    let applied = run(&site, &["apply", "--data", data, "--sandbox", "--approval", approval]);
    assert_eq!(code(&applied), 0, "{}{}", out(&applied), err(&applied));
}

#[test]
fn parameters_say_where_they_come_from_and_secrets_are_not_rendered() {
    let (_folder, site) = site();
    let printed = json(&run(&site, &["parameters", "--format", "json"]));
    let rows = &printed["parameters"];
    assert_eq!(rows[0]["value"], "Good morning");
    assert_eq!(rows[0]["without"], "Hello");
    assert_eq!(rows[0]["place"]["file"], "parameters/hello.yaml");
    let rendered = run(&site, &["render", "--product", "hello"]);
    assert_eq!(code(&rendered), 0);
    assert!(
        out(&rendered).contains("Good morning from my-site.internal")
            || out(&rendered).contains("Good morning from site.internal")
    );
    assert!(!out(&rendered).contains("kind: Namespace"), "{}", out(&rendered));
}

#[test]
fn groups_refuse_what_cannot_be_split() {
    let folder = tempfile::tempdir().unwrap();
    let split =
        json(&run(folder.path(), &["groups", "100", "--strategy", "custom", "--format", "json"]));
    let pods: Vec<u64> =
        split["groups"].as_array().unwrap().iter().map(|it| it["pods"].as_u64().unwrap()).collect();
    assert_eq!(pods, [1, 5, 15, 20, 59]);
    let refused = run(folder.path(), &["groups", "10", "--shares", "40,50"]);
    assert_eq!(code(&refused), 1);
    assert!(err(&refused).contains("GROUP/SHARES_SUM"), "{}", err(&refused));
}

#[test]
fn what_asks_no_agent_prints_its_documented_form() {
    let (folder, site) = site();
    let made = run(folder.path(), &["init", "other", "--format", "json"]);
    assert_eq!(json(&made)["kind"], "LaidOut");
    for (arguments, kind) in [
        (&["schema"][..], "Kinds"),
        (&["schema", "--out", "../schemas"], "Written"),
        (&["validate"], "Validation"),
        (&["parameters"], "ParameterList"),
        (&["render"], "Rendering"),
        (&["diff"], "ChangeSet"),
        (&["plan"], "Plan"),
        (&["groups", "7"], "Split"),
        (&["explain"], "Codes"),
        (&["explain", "YAML"], "Codes"),
        (&["explain", "YAML/TAB"], "Explanation"),
    ] {
        let arguments = [arguments, &["--format", "json", "--lang", "zh"]].concat();
        let printed = json(&run(&site, &arguments));
        assert_eq!(printed["kind"], kind, "{arguments:?}");
        assert_eq!(printed["apiVersion"], "tidegate.dev/output/v1");
    }
    // Why a command failed is a form as well, beside the output.
    for arguments in
        [&["groups", "10", "--shares", "40,50"][..], &["status"], &["why", "--data", "."]]
    {
        let failed = run(&site, &[arguments, &["--format", "json"]].concat());
        assert!(failed.stdout.is_empty(), "{arguments:?}: {}", out(&failed));
        let findings: Value = serde_json::from_slice(&failed.stderr).unwrap();
        hold_to_schema(&findings);
        assert!(findings["findings"][0]["remedy"].as_str().unwrap().len() > 5);
    }
}

#[test]
fn completions_are_scripts_for_each_shell() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, program, begins) in [
        ("bash", "bash", "_tidegate()"),
        ("zsh", "zsh", "#compdef tidegate"),
        ("fish", "fish", "# Print an optspec"),
    ] {
        let script = run(folder.path(), &["completions", shell]);
        assert_eq!(code(&script), 0);
        let text = out(&script);
        assert!(text.starts_with(begins), "{shell}: {}", &text[..80.min(text.len())]);
        for command in ["validate", "releases", "completions"] {
            assert!(text.contains(command), "{shell} does not know {command}");
        }
        // Where the shell is installed, it reads its script.
        let path = folder.path().join(shell);
        std::fs::write(&path, text).unwrap();
        if let Ok(read) = Command::new(program).arg("-n").arg(&path).output() {
            assert!(read.status.success(), "{shell}: {}", err(&read));
        }
    }
}

/// An agent of a site on simulated clusters, ended with the test.
struct Agent(std::process::Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn what_asks_an_agent_finds_it_by_its_data_folder_and_prints_its_documented_form() {
    use std::io::{BufRead as _, BufReader};
    use std::time::{Duration, Instant};

    let (folder, site) = site();
    tidegate::source::init_repository(&site).unwrap();
    let by = tidegate_core::snapshot::Identity::new("Li Na", "li@na.example");
    tidegate::source::commit_all(&site, "begin", &by, jiff::Timestamp::now()).unwrap();
    let agent =
        ["agent", "--repo", ".", "--data", "../data", "--sandbox", "--listen", "127.0.0.1:0"];
    let mut agent = Agent(
        command(&site, &[&agent[..], &["--format", "json"]].concat())
            .stdout(std::process::Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join("agent.log")).unwrap())
            .spawn()
            .unwrap(),
    );
    // It says where it is as one object; read until that ends.
    let mut told = String::new();
    for line in BufReader::new(agent.0.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        told += &line;
        if line == "}" {
            break;
        }
    }
    let told: Value = serde_json::from_str(&told).unwrap();
    hold_to_schema(&told);
    let url = told["status"].as_str().unwrap();
    let ask = |arguments: &[&str]| {
        run(&site, &[arguments, &["--data", "../data", "--format", "json"]].concat())
    };
    let start = Instant::now();
    loop {
        let status = json(&ask(&["status"]));
        if status["condition"] == "settled" {
            break;
        }
        assert!(start.elapsed() < Duration::from_mins(2), "{status:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
    for (arguments, kind) in [
        (&["status"][..], "Status"),
        (&["why"], "Blockers"),
        (&["releases", "list"], "ReleaseList"),
        (&["releases", "show", "r1"], "Release"),
        (&["releases", "metrics"], "Delivery"),
        (&["baseline", "show"], "Baseline"),
        (&["drift"], "Drift"),
        (&["freeze", "--reason", "quarter end"], "Frozen"),
        (&["unfreeze"], "Frozen"),
        (&["diff"], "ChangeSet"),
        (&["plan"], "Plan"),
    ] {
        let done = ask(arguments);
        assert_eq!(code(&done), 0, "{arguments:?}: {}{}", out(&done), err(&done));
        assert_eq!(json(&done)["kind"], kind, "{arguments:?}");
    }
    let exported = ask(&["baseline", "export", "--out", "../baseline.json"]);
    assert_eq!(code(&exported), 0, "{}", err(&exported));
    let same = ask(&["baseline", "diff", "../baseline.json"]);
    assert_eq!(code(&same), 0, "{}", err(&same));
    assert_eq!(json(&same)["changes"], serde_json::json!([]));
    let nothing = ask(&["releases", "confirm"]);
    assert_eq!(code(&nothing), 1);
    assert!(err(&nothing).contains("RELEASE/NONE_UNDER_WAY"), "{}", err(&nothing));
    // By its address, and in words; reading asks for no token on this machine.
    let read = run(&site, &["status", "--agent", url]);
    assert_eq!(code(&read), 0, "{}", err(&read));
    assert!(out(&read).contains("settled"), "{}", out(&read));
    let changed = run(&site, &["freeze", "--reason", "x", "--agent", url]);
    assert_eq!(code(&changed), 1);
    assert!(err(&changed).contains("HTTP/NO_TOKEN"), "{}", err(&changed));
    // One that has gone leaves its file behind; that is said, and not taken for an answer.
    drop(agent);
    canary::assert_none_kept(&[folder.path()]);
    let gone = run(&site, &["status", "--data", "../data"]);
    assert_eq!(code(&gone), 1);
    assert!(err(&gone).contains("COMMAND/AGENT_UNREACHABLE"), "{}", err(&gone));
    drop(folder);
}
