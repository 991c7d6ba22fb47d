//! Endpoints of the actuator with Spring Boot's paths, bodies and status codes: discovery, health, info and shutdown. No I/O.
//!
//! Health and info return 200 while the process can recover by itself: Data Flow probes them by default, and a restart does not bring an
//! unavailable broker back. Readiness reports whether records are routed.

mod health;
mod info;

use serde_json::{Value, json};

use crate::actuator::content_negotiation::negotiate;
use crate::actuator::response::Response;
use crate::config::Info;
use crate::health::Health;

/// The state that the endpoints read.
pub(super) struct Endpoints<'a> {
    pub(super) health: &'a Health,
    pub(super) info: &'a Info,
    /// `management.endpoint.health.show-details=always`
    pub(super) show_details: bool,
}

#[derive(Clone, Copy)]
enum Endpoint {
    Discovery,
    Health,
    Liveness,
    Readiness,
    Info,
    Shutdown,
}

impl Endpoint {
    fn from_path(path: &str) -> Option<Self> {
        Some(match path {
            "/actuator" => Self::Discovery,
            "/actuator/health" | "/health" => Self::Health,
            "/actuator/health/liveness" | "/livez" => Self::Liveness,
            "/actuator/health/readiness" | "/readyz" => Self::Readiness,
            "/actuator/info" | "/info" => Self::Info,
            // Data Flow's local deployer posts to `/shutdown`.
            "/actuator/shutdown" | "/shutdown" => Self::Shutdown,
            _ => return None,
        })
    }

    /// The allowed methods, as the `Allow` header lists them.
    fn allow(self) -> &'static str {
        match self {
            Self::Shutdown => "POST",
            _ => "GET, HEAD",
        }
    }
}

impl Endpoints<'_> {
    /// Returns the response to a request with this method, request target and `Accept` header.
    pub(super) fn respond(&self, method: &str, target: &str, accept: Option<&str>) -> Response {
        let path = path(target);
        let Some(endpoint) = Endpoint::from_path(path) else {
            return Response::error(404, "Not Found", path);
        };
        let allow = endpoint.allow();
        if !allow.split(", ").any(|allowed| allowed == method) {
            return Response {
                allow: Some(allow),
                ..Response::error(405, "Method Not Allowed", path)
            };
        }
        let representation = negotiate(accept);
        match endpoint {
            Endpoint::Discovery => Response::json(200, representation, &discovery()),
            Endpoint::Health if self.show_details => {
                health::health_with_components(representation, self.info.role, self.health)
            }
            Endpoint::Health => health::health(representation, self.health),
            Endpoint::Liveness => health::liveness(representation, self.health),
            Endpoint::Readiness => {
                health::readiness(representation, self.health, self.show_details)
            }
            Endpoint::Info => info::info(representation, self.info),
            Endpoint::Shutdown => Response {
                is_shutdown: true,
                ..Response::json(
                    200,
                    representation,
                    &json!({ "message": "Shutting down, bye..." }),
                )
            },
        }
    }
}

/// Returns the path of a request target. A proxy may send the absolute form (RFC 9112, 3.2.2).
fn path(target: &str) -> &str {
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |start| &rest[start..]),
        None => target,
    };
    target.split(['?', '#']).next().unwrap_or_default()
}

/// Spring's discovery page. Its links are relative, because the client may reach this host by a name that the host does not know.
fn discovery() -> Value {
    let link = |href: &str, templated: bool| json!({ "href": href, "templated": templated });
    json!({ "_links": {
        "self": link("/actuator", false),
        "health": link("/actuator/health", false),
        "health-path": link("/actuator/health/{*path}", true),
        "info": link("/actuator/info", false),
        "shutdown": link("/actuator/shutdown", false),
    } })
}

#[cfg(test)]
mod tests;
