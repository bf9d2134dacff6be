//! Routes with what is said about them: the router and the OpenAPI document come from one list.

use axum::Router;
use axum::routing::MethodRouter;
use serde_json::{Map, Value, json};

use super::Shared;

/// What people and generators are told of a route.
pub(super) struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, &'static str)],
    body: Option<Value>,
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
        route: MethodRouter<Shared>,
    ) -> Self {
        self.router = self.router.route(path, route);
        self.operations.push(Operation { method: "get", path, summary, query, body: None });
        self
    }

    /// Adds a route that changes something; `body` is the schema of what it takes.
    pub(super) fn post(
        mut self,
        path: &'static str,
        summary: &'static str,
        body: Value,
        route: MethodRouter<Shared>,
    ) -> Self {
        self.router = self.router.route(path, route);
        let body = Some(body);
        self.operations.push(Operation { method: "post", path, summary, query: &[], body });
        self
    }

    /// The routes.
    pub(super) fn router(self) -> Router<Shared> {
        self.router
    }

    /// The document.
    pub(super) fn document(&self) -> Value {
        let mut paths = Map::new();
        for operation in &self.operations {
            let item = paths.entry(operation.path).or_insert_with(|| json!({}));
            if let Some(item) = item.as_object_mut() {
                item.insert(operation.method.to_owned(), operation.describe());
            }
        }
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Tidegate agent",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "What the agent of a site knows, does and waits for. Versioned: within v1 fields are only added.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "paths": paths,
            "components": {
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
                "schemas": {"Refusal": refusal()},
            },
        })
    }
}

impl Operation {
    fn describe(&self) -> Value {
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
            "summary": self.summary,
            "parameters": parameters,
            "responses": {
                "200": {"description": "Done."},
                "default": {
                    "description": "Refused: code, message and remedy in the language of `lang` or `Accept-Language`.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
                },
            },
        });
        if let (Some(body), Some(fields)) = (&self.body, operation.as_object_mut()) {
            let content = json!({"content": {"application/json": {"schema": body}}});
            fields.insert("requestBody".to_owned(), content);
            fields.insert("security".to_owned(), json!([{"token": []}]));
        }
        operation
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
