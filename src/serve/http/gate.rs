//! Who is let in: holders of keys, sessions that a key opened, and no page of another site.

use super::SharedKeys;
use super::cors::Origins;
use super::extract::Body;
use super::failure::{Failure, Failures};
use crate::serve::settings::Settings;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::net::IpAddr;
use utoipa::ToSchema;

/// How long a session lasts, in seconds: thirty days.
const SESSION: u32 = 30 * 24 * 3600;

/// Notes in the request what its caller may do, or turns it away.
pub async fn admit(State(keys): State<SharedKeys>, mut request: Request, next: Next) -> Response {
    match keys.access(request.headers()) {
        Ok(access) => {
            request.extensions_mut().insert(access);
            next.run(request).await
        }
        Err(status) => Failure::from(status).into_response(),
    }
}

/// Under which names the server may be spoken to.
#[derive(Clone, Copy)]
pub enum Hosts {
    /// Any: whoever calls must show a key, or the operator let everyone in.
    Any,
    /// Those that mean this machine. A page of another site whose name was made to lead here has another one.
    Local,
}

impl Hosts {
    pub fn of(settings: &Settings) -> Self {
        let local = settings.http.is_some_and(|address| address.ip().is_loopback());
        if local && settings.keys.is_empty() && !settings.insecure { Hosts::Local } else { Hosts::Any }
    }

    fn has(self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        match self {
            Hosts::Any => true,
            Hosts::Local => {
                name.eq_ignore_ascii_case("localhost")
                    || name.to_ascii_lowercase().ends_with(".localhost")
                    || name.parse::<IpAddr>().is_ok()
            }
        }
    }
}

/// Whose pages may ask, and by which name.
#[derive(Clone)]
pub struct Door {
    pub hosts: Hosts,
    /// Other sites that are let in.
    pub origins: Origins,
}

/// Turns away what a page of another site asks for in its visitor's name: a browser sends it with the visitor's cookies, and
/// reaches this machine where others cannot.
pub async fn same_site(State(door): State<Door>, request: Request, next: Next) -> Response {
    match foreign(&door, &request) {
        Some(what) => Failure::new(StatusCode::FORBIDDEN, "permission_denied", what).into_response(),
        None => next.run(request).await,
    }
}

/// Why a request is another site's, where it is.
fn foreign(door: &Door, request: &Request) -> Option<String> {
    let header = |name| request.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let host = header(header::HOST).or(request.uri().authority().map(Authority::as_str)).unwrap_or_default();
    if !host.is_empty() && !door.hosts.has(host) {
        return Some(format!("this server does not answer to {host:?}: use localhost, or an --api-key"));
    }
    let own =
        |origin: &str| origin.split_once("://").is_some_and(|(_, name)| name.eq_ignore_ascii_case(host));
    let other = |origin: &str| !own(origin) && !door.origins.has(origin);
    let refused = !request.method().is_safe() && header(header::ORIGIN).is_some_and(other);
    refused.then(|| {
        "a page of another site may not do this: use this server's own page, or have the operator name the site with \
         --cors-origin"
            .to_owned()
    })
}

/// A key to open a session with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Session {
    key: String,
}

/// Opens a session: browsers send its cookie where they cannot send a key.
#[utoipa::path(post, path = "/v1/session", tag = "session", request_body = Session,
    responses((status = 204, description = "The cookie is set"), Failures))]
pub async fn open_session(
    Extension(keys): Extension<SharedKeys>,
    headers: HeaderMap,
    Body(session): Body<Session>,
) -> Result<Response, Failure> {
    let token = keys.session(&session.key)?;
    // Behind TLS of our own or of a proxy, the cookie is not to leave it.
    let proxied = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let secure = if proxied || keys.behind_tls { "; Secure" } else { "" };
    let cookie = format!(
        "{}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SESSION}{secure}",
        crate::serve::auth::COOKIE
    );
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Ends a session.
#[utoipa::path(delete, path = "/v1/session", tag = "session",
    responses((status = 204, description = "The cookie is taken back")))]
pub async fn close_session() -> Response {
    let cookie = format!("{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0", crate::serve::auth::COOKIE);
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_names_are_told_from_others() {
        let check = |host: &str, wanted: bool| assert_eq!(Hosts::Local.has(host), wanted, "{host}");
        for local in
            ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST", "a.localhost:1"]
        {
            check(local, true);
        }
        for other in
            ["evil.example", "evil.example:8080", "localhost.evil.example", "", "127.0.0.1.evil.example"]
        {
            check(other, false);
        }
        assert!(Hosts::Any.has("photos.example"));
    }
}
