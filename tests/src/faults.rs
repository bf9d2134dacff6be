//! A connection to an API server that fails by seed: requests are lost before or after they were carried out, carried out
//! twice, overtaken, delayed, and refused.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::TryFutureExt as _;
use http::{Method, Request, Response};
use http_body_util::{Either, Full};
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tidegate_sandbox::Sandbox;
use tower::{BoxError, Service, ServiceExt as _};

/// Of so many requests one goes wrong, on average.
const ONE_IN: u64 = 6;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It never arrives.
    LostBefore,
    /// It is carried out, and its answer is lost.
    LostAfter,
    /// It is carried out twice, as by a proxy that tries again.
    Twice,
    /// Somebody else writes the same object just before it.
    Overtaken,
    /// It takes a while.
    Late,
    /// It is refused with this status, and not carried out.
    Refused(u16),
}

/// The faults by what is left over of the draw.
const FAULTS: [Fault; 10] = [
    Fault::LostBefore,
    Fault::LostAfter,
    Fault::LostAfter,
    Fault::Twice,
    Fault::Overtaken,
    Fault::Late,
    Fault::Refused(429),
    Fault::Refused(500),
    Fault::Refused(503),
    Fault::Refused(504),
];

/// The faults of one seed. What happens to a request hangs on the seed, its method and path, and how often it was made: so
/// requests that overtake each other change nothing.
#[derive(Debug)]
pub struct Faults {
    seed: u64,
    left: Mutex<u32>,
    made: Mutex<BTreeMap<String, u64>>,
    happened: Mutex<BTreeMap<Fault, u32>>,
}

impl Faults {
    /// At most so many: a connection that never works lets nothing end.
    pub fn new(seed: u64, at_most: u32) -> Arc<Self> {
        Arc::new(Self {
            seed,
            left: Mutex::new(at_most),
            made: Mutex::default(),
            happened: Mutex::default(),
        })
    }

    /// How often each has happened.
    pub fn happened(&self) -> BTreeMap<Fault, u32> {
        self.happened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn draw(&self, request: &Request<Body>) -> Option<Fault> {
        let what = format!("{} {}", request.method(), request.uri());
        let count = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            let count = made.entry(what.clone()).or_default();
            *count += 1;
            *count
        };
        let mut hasher = DefaultHasher::new();
        (self.seed, what, count).hash(&mut hasher);
        let drawn = hasher.finish();
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if !drawn.is_multiple_of(ONE_IN) || *left == 0 {
            return None;
        }
        let kinds = u64::try_from(FAULTS.len()).unwrap_or(1);
        let kind = usize::try_from(drawn / ONE_IN % kinds).unwrap_or(0);
        let fault = FAULTS.get(kind).copied()?;
        *left -= 1;
        let mut happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        *happened.entry(fault).or_default() += 1;
        Some(fault)
    }

    /// A client of the sandbox over this connection.
    pub fn client(self: &Arc<Self>, sandbox: &Sandbox) -> Client {
        let service = sandbox.service();
        let inner = tower::service_fn(move |request: Request<Body>| {
            service.clone().oneshot(request).map_err(never)
        });
        Client::new(Connection { faults: Arc::clone(self), inner }, "default")
    }
}

fn never(error: Infallible) -> BoxError {
    match error {}
}

/// Somebody's remark on the object that an apply is about to write.
fn touch(request: &Request<Body>) -> Option<Request<Body>> {
    let is_apply = request.method() == Method::PATCH
        && !request.uri().query().unwrap_or_default().contains("dryRun");
    let path = format!("{}?fieldManager=them", request.uri().path());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos();
    let remark = json!({"metadata": {"annotations": {"example.org/seen": now.to_string()}}});
    let other = Request::patch(path).header("content-type", "application/merge-patch+json");
    is_apply.then(|| other.body(Body::from(remark.to_string().into_bytes())).ok()).flatten()
}

#[derive(Clone)]
struct Connection<S> {
    faults: Arc<Faults>,
    inner: S,
}

impl<S, B> Service<Request<Body>> for Connection<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    B: Send,
{
    type Response = Response<Either<B, Full<Bytes>>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = self.inner.clone();
        let fault = self.faults.draw(&request);
        Box::pin(async move {
            let lost = || BoxError::from("connection reset by peer");
            match fault {
                None => Ok(inner.oneshot(request).await?.map(Either::Left)),
                Some(Fault::LostBefore) => Err(lost()),
                Some(Fault::LostAfter) => {
                    inner.oneshot(request).await?;
                    Err(lost())
                }
                Some(Fault::Twice) => {
                    let (parts, body) = request.into_parts();
                    let bytes = body.collect_bytes().await?;
                    let again = |parts| Request::from_parts(parts, Body::from(bytes.to_vec()));
                    inner.clone().oneshot(again(parts.clone())).await?;
                    Ok(inner.oneshot(again(parts)).await?.map(Either::Left))
                }
                Some(Fault::Overtaken) => {
                    if let Some(other) = touch(&request) {
                        // Where the object does not exist yet nobody is in the way.
                        inner.clone().oneshot(other).await?;
                    }
                    Ok(inner.oneshot(request).await?.map(Either::Left))
                }
                Some(Fault::Late) => {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    Ok(inner.oneshot(request).await?.map(Either::Left))
                }
                Some(Fault::Refused(code)) => {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                        "message": "the seed wants it so", "reason": "InternalError", "code": code});
                    let answer = Response::builder().status(code).header("retry-after", "1");
                    Ok(answer.body(Either::Right(Full::from(status.to_string())))?)
                }
            }
        })
    }
}
