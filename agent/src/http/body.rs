//! Bodies of requests: small, in time, and refused like everything else when they cannot be read.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts as _, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use tidegate_schema::finding::Lang;

use super::answer::{Language, Refusal};

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

/// A body as it is, for signatures over it.
pub(super) struct Raw(pub(super) Bytes);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        // Only this type: a page elsewhere cannot send it without asking first (CORS), and we never say yes.
        let (json, lang) = in_time::<axum::Json<T>, S>(request, state).await?;
        json.map(|axum::Json(value)| Self(value))
            .map_err(|error| Refusal::body(error.status(), error.body_text(), lang))
    }
}

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let (bytes, lang) = in_time::<Bytes, S>(request, state).await?;
        bytes.map(Self).map_err(|error| Refusal::body(error.status(), error.body_text(), lang))
    }
}

/// What was read, or why it could not be, with the language to say so in.
async fn in_time<T: FromRequest<S>, S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<(Result<T, T::Rejection>, Lang), Refusal> {
    let (mut parts, body) = request.into_parts();
    let Ok(Language(lang)) = Language::from_request_parts(&mut parts, state).await;
    let read = T::from_request(Request::from_parts(parts, body), state);
    let read = tokio::time::timeout(PATIENCE, read).await.map_err(|_| {
        let late = format!("it has not arrived within {} s", PATIENCE.as_secs());
        Refusal::body(StatusCode::REQUEST_TIMEOUT, late, lang)
    })?;
    Ok((read, lang))
}
