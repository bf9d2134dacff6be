//! Routes with what is said about them: the router and the OpenAPI document come from one list.

use axum::Router;
use axum::routing::MethodRouter;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use tidegate_schema::json_schema::describe_output;

use super::Shared;

/// What is sent: its media type, and its form when it is JSON.
#[derive(Clone, Copy)]
pub(super) struct Content {
    media: &'static str,
    schema: fn(&mut SchemaGenerator) -> Value,
    /// Texts that are sent instead when they are asked for.
    texts: &'static [&'static str],
}

impl Content {
    /// JSON in the form of a type.
    pub(super) fn json<T: JsonSchema>() -> Self {
        let schema = |generator: &mut SchemaGenerator| generator.subschema_for::<T>().to_value();
        Self { media: "application/json", schema, texts: &[] }
    }

    /// A text of a media type.
    pub(super) fn text(media: &'static str) -> Self {
        Self { media, schema: |_| json!({"type": "string"}), texts: &[] }
    }

    /// The same, or texts of other media types.
    pub(super) fn or(self, texts: &'static [&'static str]) -> Self {
        Self { texts, ..self }
    }

    fn describe(self, generator: &mut SchemaGenerator) -> Value {
        let mut all = Map::new();
        all.insert(self.media.to_owned(), json!({"schema": (self.schema)(generator)}));
        for media in self.texts {
            all.insert((*media).to_owned(), json!({"schema": {"type": "string"}}));
        }
        Value::Object(all)
    }
}

/// What people and generators are told of a route.
struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, &'static str)],
    body: Option<Content>,
    answer: Content,
    is_open: bool,
}

/// The routes as they are added.
#[derive(Default)]
pub(super) struct Table {
    operations: Vec<Operation>,
    router: Router<Shared>,
}

impl Table {
    /// Adds a route that reads.
    pub(super) fn get(
        mut self,
        path: &'static str,
        summary: &'static str,
        query: &'static [(&'static str, &'static str)],
        answer: Content,
        route: MethodRouter<Shared>,
    ) -> Self {
        self.router = self.router.route(path, route);
        let is_open = super::guard::OPEN.contains(&path);
        let method = "get";
        self.operations.push(Operation {
            method,
            path,
            summary,
            query,
            body: None,
            answer,
            is_open,
        });
        self
    }

    /// Adds a route that changes something, with what it takes and what it answers.
    pub(super) fn post(
        mut self,
        path: &'static str,
        summary: &'static str,
        body: Option<Content>,
        answer: Content,
        route: MethodRouter<Shared>,
    ) -> Self {
        self.router = self.router.route(path, route);
        // It proves itself by a secret of its own.
        let is_open = path == super::guard::HOOK;
        let (method, query) = ("post", [].as_slice());
        self.operations.push(Operation { method, path, summary, query, body, answer, is_open });
        self
    }

    /// The routes.
    pub(super) fn router(self) -> Router<Shared> {
        self.router
    }

    /// The document.
    pub(super) fn document(&self) -> Value {
        let reads = SchemaSettings::draft2020_12().with(|it| {
            it.definitions_path = "/components/schemas".into();
            it.meta_schema = None;
        });
        let mut writes = reads.clone().for_serialize().into_generator();
        let mut reads = reads.for_deserialize().into_generator();
        let mut paths = Map::new();
        for operation in &self.operations {
            let item = paths.entry(operation.path).or_insert_with(|| json!({}));
            if let Some(item) = item.as_object_mut() {
                let described = operation.describe(&mut reads, &mut writes);
                item.insert(operation.method.to_owned(), described);
            }
        }
        let mut schemas = reads.take_definitions(true);
        schemas.extend(writes.take_definitions(true));
        schemas.insert("Refusal".to_owned(), refusal());
        let mut schemas = Value::Object(schemas);
        describe_output(&mut schemas);
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Tidegate agent",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "What the agent of a site knows, does and waits for. Versioned: within v1 fields are only added.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            // Without a token when the agent asks for none: reading on loopback.
            "security": [{"token": []}, {}],
            "paths": paths,
            "components": {
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
                "schemas": schemas,
            },
        })
    }
}

impl Operation {
    fn describe(&self, reads: &mut SchemaGenerator, writes: &mut SchemaGenerator) -> Value {
        let in_path =
            self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let in_path = in_path.map(|name| {
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
        });
        let in_query = self.query.iter().map(|(name, description)| {
            json!({"name": name, "in": "query", "description": description, "schema": {"type": "string"}})
        });
        let parameters: Vec<Value> = in_path.chain(in_query).collect();
        let mut operation = json!({
            "operationId": self.id(),
            "summary": self.summary,
            "parameters": parameters,
            "responses": {
                "200": {"description": "Done.", "content": self.answer.describe(writes)},
                "default": {
                    "description": "Refused: code, message and remedy in the language of `lang` or `Accept-Language`.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
                },
            },
        });
        let Some(fields) = operation.as_object_mut() else { return operation };
        if let Some(body) = self.body {
            let body = json!({"required": true, "content": body.describe(reads)});
            fields.insert("requestBody".to_owned(), body);
        }
        if self.is_open {
            fields.insert("security".to_owned(), json!([]));
        } else if self.method == "post" {
            fields.insert("security".to_owned(), json!([{"token": []}]));
        }
        operation
    }

    /// `getApiV1ReleasesId`, for those who make clients.
    fn id(&self) -> String {
        let words = self.path.split(|it: char| !it.is_ascii_alphanumeric());
        let words = words.filter_map(|word| word.split_at_checked(1));
        let words = words.map(|(first, rest)| first.to_ascii_uppercase() + rest);
        self.method.to_owned() + &words.collect::<String>()
    }
}

fn refusal() -> Value {
    json!({
        "type": "object",
        "required": ["code", "message", "remedy", "findings"],
        "properties": {
            "code": {"type": "string", "examples": ["HTTP/NOT_FOUND"]},
            "message": {"type": "string"},
            "remedy": {"type": "string"},
            "findings": {"type": "array", "items": {"type": "object"}},
        },
    })
}
