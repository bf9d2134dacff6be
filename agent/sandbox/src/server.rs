//! The API as a tower service: authentication, faults, authorisation, and the answers as HTTP.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::upgrade::OnUpgrade;
use serde_json::{Value, json};

use crate::access::User;
use crate::dispatch::{self, Call, Outcome};
use crate::fault::Asked;
use crate::object;
use crate::rbac::{self, Question};
use crate::route::{Query, Target, route};
use crate::sandbox::Sandbox;
use crate::status::{Refusal, Subject};
use crate::table::Form;
use crate::{discovery, exec, openapi, watch};

/// The body of an answer: whole, or the stream of a watch.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The largest body of a request, as on the real server.
const LARGEST_BODY: usize = 3 * 1024 * 1024;

/// The API of one sandbox. A request with a token is its owner's, and a wrong token is refused. Give it to `kube::Client::new`, or serve it.
#[derive(Clone, Debug)]
pub struct ApiService {
    sandbox: Sandbox,
    /// Who comes without a token.
    identity: User,
}

impl Sandbox {
    /// The API for use in the same process. Requests without a token are the administrator's.
    pub fn service(&self) -> ApiService {
        ApiService { sandbox: self.clone(), identity: User::administrator() }
    }

    /// The API for use in the same process as somebody else.
    pub fn service_as(&self, user: User) -> ApiService {
        ApiService { sandbox: self.clone(), identity: user }
    }
}

impl<B> tower::Service<Request<B>> for ApiService
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            if exec::is_upgrade(&parts.headers) && parts.extensions.get::<OnUpgrade>().is_none() {
                return Ok(exec::over_a_pipe(service, parts).await);
            }
            if body.size_hint().lower() > LARGEST_BODY as u64 {
                return Ok(refused(&too_large()));
            }
            let bytes = match body.collect().await {
                Ok(collected) => collected.to_bytes(),
                Err(error) => {
                    return Ok(refused(&Refusal::bad_request(format!(
                        "failed to read body: {error}"
                    ))));
                }
            };
            if bytes.len() > LARGEST_BODY {
                return Ok(refused(&too_large()));
            }
            Ok(service.answer(&parts, &bytes).await.unwrap_or_else(|refusal| refused(&refusal)))
        })
    }
}

fn too_large() -> Refusal {
    Refusal::plain(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
}

impl ApiService {
    async fn answer(
        &self,
        parts: &http::request::Parts,
        body: &[u8],
    ) -> Result<Response<Body>, Refusal> {
        let query = Query::read(parts.uri.query().unwrap_or_default());
        let path = parts.uri.path();
        let user = self.user(&parts.headers)?;
        let Target::Object(place) = route(path) else {
            return self.about_itself(path, &parts.method, &parts.headers, &user);
        };
        let verb = place.verb(&parts.method, &query)?;
        let asked = Asked {
            verb,
            resource: &place.resource,
            namespace: &place.namespace,
            name: &place.name,
        };
        let (delay, refusal) = {
            let mut world = self.sandbox.inner.world();
            world.requests.count(verb);
            world.faults.meet(asked)
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let call = Call {
            verb,
            form: Form::read(header_text(&parts.headers, &header::ACCEPT))?,
            content_type: header_text(&parts.headers, &header::CONTENT_TYPE).to_owned(),
            agent: header_text(&parts.headers, &header::USER_AGENT).to_owned(),
            place,
            query,
            user,
            body,
            now: self.sandbox.now(),
        };
        let outcome = {
            let mut world = self.sandbox.inner.world();
            dispatch::authorise(&world.store, &call)?;
            let outcome = dispatch::dispatch(&mut world, &call)?;
            self.sandbox.inner.announce(&world);
            outcome
        };
        Ok(match outcome {
            Outcome::Whole { code, value, warnings } => whole(code, &value, &warnings),
            Outcome::Text(text) => plain(200, text),
            Outcome::Proxied { code, text } => plain(code, text),
            Outcome::Executed(execution) => exec::switch(parts, execution)?,
            Outcome::Watch(start) => stream(watch::stream(&self.sandbox, *start)),
        })
    }

    fn user(&self, headers: &HeaderMap) -> Result<User, Refusal> {
        let unauthorized = || Refusal::plain(401, "Unauthorized", "Unauthorized");
        let world = self.sandbox.inner.world();
        let user = match headers.get(header::AUTHORIZATION) {
            None => self.identity.clone(),
            Some(value) => {
                let text = value.to_str().map_err(|_| unauthorized())?;
                let token = text.strip_prefix("Bearer ").ok_or_else(unauthorized)?;
                world.credentials.user(token.trim()).cloned().ok_or_else(unauthorized)?
            }
        };
        let Some(wanted) = headers.get("impersonate-user").and_then(|value| value.to_str().ok())
        else {
            return Ok(user);
        };
        let groups: Vec<&str> = headers
            .get_all("impersonate-group")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let subjects =
            std::iter::once(("users", wanted)).chain(groups.iter().map(|group| ("groups", *group)));
        for (resource, name) in subjects {
            let (resource, name, namespace) = match wanted.strip_prefix("system:serviceaccount:") {
                Some(account) if resource == "users" => {
                    let (namespace, name) = account.split_once(':').unwrap_or_default();
                    ("serviceaccounts", name, namespace)
                }
                _ => (resource, name, ""),
            };
            let question = Question {
                verb: "impersonate",
                resource: resource.to_owned(),
                name,
                namespace,
                ..Question::default()
            };
            if rbac::allows(&world.store, &user, &question).is_none() {
                return Err(Refusal::forbidden(
                    Subject { group: "", resource, name },
                    &format!(
                        "User \"{}\" cannot impersonate resource \"{resource}\" in API group \"\" at the cluster scope",
                        user.name
                    ),
                ));
            }
        }
        let mut user = User::new(wanted, &groups);
        if let Some(account) = wanted.strip_prefix("system:serviceaccount:")
            && let Some((namespace, _)) = account.split_once(':')
            && groups.is_empty()
        {
            user.groups.push("system:serviceaccounts".to_owned());
            user.groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        Ok(user)
    }

    /// Everything that is not about resources.
    fn about_itself(
        &self,
        path: &str,
        method: &Method,
        headers: &HeaderMap,
        user: &User,
    ) -> Result<Response<Body>, Refusal> {
        let mut world = self.sandbox.inner.world();
        world.requests.count("other");
        let question = Question { verb: "get", path, ..Question::default() };
        if rbac::allows(&world.store, user, &question).is_none() {
            return Err(Refusal {
                code: 403,
                reason: "Forbidden".to_owned(),
                message: format!("forbidden: User \"{}\" cannot get path \"{path}\"", user.name),
                details: json!({}),
            });
        }
        if method != Method::GET {
            return Err(Refusal::method_not_allowed());
        }
        let accept = header_text(headers, &header::ACCEPT);
        let is_aggregated = accept.contains("as=APIGroupDiscoveryList") && accept.contains("v=v2");
        let value = match route(path) {
            Target::Version => discovery::version(&world),
            Target::Health => return Ok(plain(200, "ok".to_owned())),
            Target::CoreVersions if is_aggregated => {
                return Ok(aggregated(&discovery::aggregated(&world, true), accept));
            }
            Target::Groups if is_aggregated => {
                return Ok(aggregated(&discovery::aggregated(&world, false), accept));
            }
            Target::CoreVersions => discovery::core_versions(),
            Target::Groups => discovery::group_list(&world),
            Target::Group(group) => {
                discovery::group(&world, &group).ok_or_else(Refusal::no_such_path)?
            }
            Target::Resources { group, version } => {
                match discovery::resource_list(&world, &group, &version) {
                    Some(list) => list,
                    None if world.resources().any(|resource| resource.group == group) => {
                        return Err(Refusal::no_such_path());
                    }
                    None => return Err(Refusal::no_page()),
                }
            }
            Target::OpenApiV2 => {
                return Ok(if accept.contains("protobuf") {
                    let bytes = openapi::second_as_protobuf(&world);
                    typed_answer(
                        200,
                        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
                        bytes.into(),
                    )
                } else {
                    whole(200, &openapi::second(&world), &[])
                });
            }
            Target::OpenApiV3 => openapi::third_index(&world),
            Target::OpenApiV3Group { group, version } => {
                openapi::third(&world, &group, &version).ok_or_else(Refusal::no_such_path)?
            }
            Target::Object(_) | Target::Unknown => return Err(Refusal::no_such_path()),
        };
        Ok(whole(200, &value, &[]))
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn refused(refusal: &Refusal) -> Response<Body> {
    if *refusal == Refusal::no_page() {
        return plain(refusal.code, format!("{}\n", refusal.message));
    }
    let mut response = whole(refusal.code, &refusal.to_value(), &[]);
    let seconds = refusal.details.get("retryAfterSeconds").and_then(Value::as_u64);
    if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn whole(code: u16, value: &Value, warnings: &[String]) -> Response<Body> {
    let mut response = typed_answer(code, "application/json", value.to_string().into());
    for warning in warnings {
        let text = format!("299 - {}", Value::from(warning.as_str()));
        if let Ok(text) = header::HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, text);
        }
    }
    response
}

/// The version of aggregated discovery that the client named first.
fn aggregated(value: &Value, accept: &str) -> Response<Body> {
    let is_final = accept.split(',').any(|part| {
        part.contains("as=APIGroupDiscoveryList")
            && part.split(';').any(|word| word.trim() == "v=v2")
    });
    let (kind, version) = if is_final { ("v2", "v2") } else { ("v2beta1", "v2beta1") };
    let mut value = value.clone();
    object::set(&mut value, "apiVersion", format!("apidiscovery.k8s.io/{version}").into());
    typed_answer(
        200,
        &format!("application/json;g=apidiscovery.k8s.io;v={kind};as=APIGroupDiscoveryList"),
        value.to_string().into(),
    )
}

fn plain(code: u16, text: String) -> Response<Body> {
    typed_answer(code, "text/plain; charset=utf-8", text.into())
}

fn typed_answer(code: u16, content_type: &str, bytes: Bytes) -> Response<Body> {
    answer_with(code, content_type, Full::new(bytes).boxed_unsync())
}

fn stream(body: Body) -> Response<Body> {
    answer_with(200, "application/json;stream=watch", body)
}

fn answer_with(code: u16, content_type: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = header::HeaderValue::from_str(content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}
