//! Conversations that are written down and not programmed: `tests/battery/*.yaml`.
//!
//! A file is a group with a title. Objects are built on named ones (`base`), so that a case says only what it is about; a field that
//! begins with `/` is a JSON pointer and its value is set as it is, null included.
#![expect(clippy::panic, reason = "a file that cannot be read fails every test that is in it")]

use std::collections::BTreeMap;
use std::path::Path;

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::building::build;
use super::ground::{Answer, Ground, JSON, at};

/// A file of conversations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The heading of the reference.
    pub title: String,
    /// What the group is about, in half a sentence.
    pub about: String,
    /// The conversations.
    pub behaviours: Vec<Conversation>,
    /// Objects to build on, beside those of `objects.yaml`.
    #[serde(default)]
    objects: BTreeMap<String, Value>,
}

/// One conversation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// What it is called in reports.
    pub name: String,
    /// The first minor version of Kubernetes 1 that behaves so.
    #[serde(default)]
    pub since: u32,
    /// Whether it needs a controller manager.
    #[serde(default)]
    pub controllers: bool,
    steps: Vec<Step>,
    /// Objects to build on, those of the group included.
    #[serde(skip)]
    objects: BTreeMap<String, Value>,
}

/// One request, or several of a kind. Exactly one of the verbs is there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// Creates the object.
    create: Option<Value>,
    /// Creates it without a record.
    setup: Option<Value>,
    /// Replaces the object of that name.
    replace: Option<Value>,
    /// Applies.
    apply: Option<Value>,
    /// Patches what `on` says.
    merge: Option<Value>,
    strategic: Option<Value>,
    json: Option<Value>,
    /// Deletes that path, with the options of `with`.
    delete: Option<String>,
    /// Reads that path.
    get: Option<String>,
    /// Reads that path and tells the names of its items.
    list: Option<String>,
    /// Looks at that path until it is gone, or until `shows` holds; without a record.
    until: Option<String>,
    /// Creates each of these as a dry run, and tells how that ends.
    tries: Option<Map<String, Value>>,
    /// Patches `on` with each of these as a dry run, and tells how that ends; `patch` is the kind of patch.
    changes: Option<Map<String, Value>>,
    /// Reads each of these paths, and tells how that ends.
    gets: Option<Vec<String>>,
    /// From now on the requests are made as that user, or as the administrator.
    user: Option<String>,

    /// The path that a patch is for; else that of the object that was written last.
    on: Option<String>,
    /// The manager; `one` for an apply and `writer` for others when it is not said.
    #[serde(rename = "as")]
    manager: Option<String>,
    /// Whether an apply takes over what others have.
    #[serde(default)]
    force: bool,
    /// More of the query, as in `dryRun=All`.
    query: Option<String>,
    /// The options of a deletion.
    with: Option<Value>,
    /// `merge`, `strategic-merge` or `json`.
    patch: Option<String>,
    /// What is told of the answer, as JSON pointers; without it everything is.
    show: Option<Vec<String>>,
    /// What `until` waits for, by JSON pointer.
    #[serde(default)]
    shows: BTreeMap<String, Value>,
    /// The name under which later steps find the answer: `$name/pointer` is replaced by what is there.
    keep: Option<String>,
}

/// All groups, in the order of their files.
///
/// # Panics
/// When a file cannot be read as one.
pub fn groups() -> Vec<(String, Group)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("battery");
    let shared: BTreeMap<String, Value> = read(&folder.join("objects.yaml"));
    let files = std::fs::read_dir(&folder).expect("the folder of the battery");
    let mut names: Vec<String> = files
        .filter_map(|file| file.expect("a readable folder").file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .filter(|name| name != "objects")
        .collect();
    names.sort();
    let groups = names.into_iter().map(|name| {
        let mut group: Group = read(&folder.join(format!("{name}.yaml")));
        let mut objects = shared.clone();
        objects.append(&mut group.objects);
        for conversation in &mut group.behaviours {
            conversation.objects.clone_from(&objects);
        }
        (name, group)
    });
    groups.collect()
}

fn read<T: serde::de::DeserializeOwned>(file: &Path) -> T {
    let text = std::fs::read_to_string(file).expect("a file of conversations");
    serde_yaml::from_str(&text).unwrap_or_else(|why| panic!("{}: {why}", file.display()))
}

impl Conversation {
    /// Has the conversation.
    pub(super) async fn run(&self, ground: &mut Ground) {
        let mut talk = Talk { objects: &self.objects, kept: BTreeMap::new(), last: String::new() };
        for step in &self.steps {
            talk.step(ground, step).await;
        }
        ground.become_user(None);
    }
}

/// What is known in the middle of a conversation.
struct Talk<'a> {
    objects: &'a BTreeMap<String, Value>,
    kept: BTreeMap<String, Answer>,
    /// The path of the object that was written last.
    last: String,
}

impl Talk<'_> {
    async fn step(&mut self, ground: &mut Ground, step: &Step) {
        if let Some(user) = &step.user {
            let user = self.text(user, ground);
            return ground.become_user(Some(user.as_str()).filter(|user| *user != "admin"));
        }
        if let Some(path) = &step.until {
            let is_shown = |answer: &Answer| {
                step.shows.iter().all(|(pointer, value)| answer.at(pointer) == value)
            };
            let wanted = |answer: &Answer| {
                if step.shows.is_empty() { answer.code == 404 } else { is_shown(answer) }
            };
            let answer = ground.until(&self.text(path, ground), wanted).await;
            return self.keep(step, answer);
        }
        if let Some(cases) = &step.tries {
            for (label, object) in cases {
                let object = self.object(object, ground);
                let path = format!("{}?dryRun=All", ground.collection_of(&object));
                let answer = ground.quietly(&Method::POST, &path, JSON, Some(&object)).await;
                ground.note(label, &brief(&answer, step.show.as_deref().unwrap_or_default()));
            }
            return;
        }
        if let Some(cases) = &step.changes {
            let path = format!("{}?dryRun=All", self.target(step, ground));
            let kind = step.patch.as_deref().unwrap_or("merge");
            let content = format!("application/{kind}-patch+json");
            for (label, patch) in cases {
                let patch = self.object(patch, ground);
                let answer = ground.quietly(&Method::PATCH, &path, &content, Some(&patch)).await;
                ground.note(label, &brief(&answer, step.show.as_deref().unwrap_or_default()));
            }
            return;
        }
        for path in step.gets.iter().flatten() {
            let answer = ground.look(&self.text(path, ground)).await;
            let told = brief(&answer, step.show.as_deref().unwrap_or_default());
            ground.note(&format!("GET {path}"), &told);
        }
        if let Some(path) = &step.list {
            let answer = ground.look(&self.text(path, ground)).await;
            let items = answer.at("/items").as_array().cloned().unwrap_or_default();
            let names = items.iter().map(|item| at(item, "/metadata/name").clone());
            let names: Vec<_> = names.filter(|name| name != "kube-root-ca.crt").collect();
            ground.note(&format!("LIST {path}: {}", answer.code), &json!(names));
            return self.keep(step, answer);
        }
        self.request(ground, step).await;
    }

    /// A single request, recorded.
    async fn request(&mut self, ground: &mut Ground, step: &Step) {
        let writer = format!("fieldManager={}", step.manager.as_deref().unwrap_or("writer"));
        let (method, path, content, body) = if let Some(object) = &step.create {
            let object = self.object(object, ground);
            self.last = ground.path_of(&object);
            (
                Method::POST,
                format!("{}?{writer}", ground.collection_of(&object)),
                JSON.to_owned(),
                Some(object),
            )
        } else if let Some(object) = &step.setup {
            let created = ground.set_up(&self.object(object, ground)).await;
            self.last = ground.path_of(&created.body);
            return self.keep(step, created);
        } else if let Some(object) = &step.replace {
            let object = self.object(object, ground);
            self.last = step
                .on
                .as_ref()
                .map_or_else(|| ground.path_of(&object), |on| self.text(on, ground));
            (Method::PUT, format!("{}?{writer}", self.last), JSON.to_owned(), Some(object))
        } else if let Some(object) = &step.apply {
            let object = self.object(object, ground);
            self.last = step
                .on
                .as_ref()
                .map_or_else(|| ground.path_of(&object), |on| self.text(on, ground));
            let manager = step.manager.as_deref().unwrap_or("one");
            let force = if step.force { "&force=true" } else { "" };
            let path = format!("{}?fieldManager={manager}{force}", self.last);
            (Method::PATCH, path, "application/apply-patch+yaml".to_owned(), Some(object))
        } else if let Some(path) = &step.delete {
            let options = step.with.as_ref().map(|options| self.object(options, ground));
            (Method::DELETE, self.text(path, ground), JSON.to_owned(), options)
        } else if let Some(path) = &step.get {
            (Method::GET, self.text(path, ground), JSON.to_owned(), None)
        } else {
            let patches = [
                ("merge", &step.merge),
                ("strategic-merge", &step.strategic),
                ("json", &step.json),
            ];
            let patch = patches.into_iter().find_map(|(kind, patch)| Some((kind, patch.as_ref()?)));
            let Some((kind, patch)) = patch else { return };
            let path = format!("{}?{writer}", self.target(step, ground));
            let content = format!("application/{kind}-patch+json");
            (Method::PATCH, path, content, Some(self.object(patch, ground)))
        };
        let path = match &step.query {
            None => path,
            Some(query) if path.contains('?') => format!("{path}&{query}"),
            Some(query) => format!("{path}?{query}"),
        };
        let path = self.text(&path, ground);
        let answer = match &step.show {
            None => ground.say(&method, &path, &content, body.as_ref()).await,
            Some(show) => {
                let answer = ground.quietly(&method, &path, &content, body.as_ref()).await;
                ground.note(&format!("{method} {path}"), &brief(&answer, show));
                answer
            }
        };
        if matches!(method, Method::POST | Method::PATCH) && answer.code == 201 {
            ground.clean_up(&self.last);
        }
        self.keep(step, answer);
    }

    fn keep(&mut self, step: &Step, answer: Answer) {
        if let Some(name) = &step.keep {
            self.kept.insert(name.clone(), answer);
        }
    }

    /// The path that a patch is for.
    fn target(&self, step: &Step, ground: &Ground) -> String {
        step.on.as_ref().map_or_else(|| self.last.clone(), |path| self.text(path, ground))
    }

    /// An object with what it is built on, and with what was answered before.
    fn object(&self, value: &Value, ground: &Ground) -> Value {
        let built = build(value, self.objects);
        self.filled(&built, ground)
    }

    fn filled(&self, value: &Value, ground: &Ground) -> Value {
        match value {
            Value::String(text) => {
                match text.strip_prefix('$').and_then(|text| text.split_once('/')) {
                    Some((name, pointer)) if self.kept.contains_key(name) => {
                        let kept = self.kept.get(name).expect("it was looked for just before");
                        match pointer {
                            "" => kept.body.clone(),
                            pointer => kept.at(&format!("/{pointer}")).clone(),
                        }
                    }
                    _ => Value::from(self.text(text, ground)),
                }
            }
            Value::Array(items) => items.iter().map(|item| self.filled(item, ground)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, field)| (self.text(name, ground), self.filled(field, ground)))
                .collect::<Map<_, _>>()
                .into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// A text with the namespace's name, and with the versions that were kept.
    fn text(&self, text: &str, ground: &Ground) -> String {
        let mut text = text.replace("NAMESPACE", ground.namespace());
        for (name, answer) in &self.kept {
            text = text.replace(&format!("${name}.version"), answer.version());
            let list = answer.at("/metadata/continue").as_str().unwrap_or_default();
            text = text.replace(&format!("${name}.continue"), list);
        }
        text
    }
}

/// How a request ended: the code and these parts of the answer, or why it was refused.
pub(super) fn brief(answer: &Answer, show: &[String]) -> Value {
    if answer.code < 400 {
        let parts: Map<String, Value> =
            show.iter().map(|part| (part.clone(), named(part, answer.at(part)))).collect();
        return json!({"code": answer.code, "kind": answer.at("/kind"), "shown": parts});
    }
    let causes: Vec<Value> = (answer.at("/details/causes").as_array().into_iter().flatten())
        .map(|cause| {
            json!({"field": at(cause, "/field"), "reason": at(cause, "/reason"), "message": at(cause, "/message")})
        })
        .collect();
    let (reason, message) = (answer.at("/reason"), answer.at("/message"));
    if causes.is_empty() {
        json!({"code": answer.code, "reason": reason, "message": message})
    } else {
        json!({"code": answer.code, "reason": reason, "causes": causes})
    }
}

/// A part under its own name, so that what is normalised by name is.
fn named(pointer: &str, value: &Value) -> Value {
    match pointer.rsplit('/').next() {
        Some(name) if !value.is_null() && !name.is_empty() => json!({name: value}),
        _ => value.clone(),
    }
}
