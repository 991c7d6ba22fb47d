//! HTTP responses of the actuator, serialized by tiny_http. No I/O, no clock except that of the `Date` header.

use std::io::Cursor;

use serde_json::{Value, json};
use tiny_http::{HTTPVersion, Header, StatusCode};

use super::content_negotiation::{ACTUATOR_JSON, JSON, Representation, TEXT};
use super::request::{Persistence, Request};

/// A response before it is serialized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    /// Status code.
    pub(super) status: u16,
    /// The `Content-Type` header.
    pub(super) content_type: &'static str,
    /// Also set in response to HEAD: its length is sent, the body is not.
    pub(super) body: String,
    /// The `Allow` header of a 405.
    pub(super) allow: Option<&'static str>,
    /// True if the router is requested to stop once this response is written.
    pub(super) is_shutdown: bool,
}

impl Response {
    pub(super) fn text(status: u16, body: String) -> Self {
        Self::new(status, TEXT, body)
    }

    /// A response that only has a JSON representation: a client that prefers text gets Spring Boot's media type.
    pub(super) fn json(status: u16, representation: Representation, body: &Value) -> Self {
        let content_type = match representation {
            Representation::Json(content_type) => content_type,
            Representation::Text => ACTUATOR_JSON,
        };
        Self::new(status, content_type, body.to_string())
    }

    /// Spring's error body without its `timestamp`, which the `Date` header makes redundant.
    pub(super) fn error(status: u16, error: &str, path: &str) -> Self {
        let body = json!({ "status": status, "error": error, "path": path });
        Self::new(status, JSON, body.to_string())
    }

    /// The error response to bytes that are not a valid request, so that no path is known.
    pub(super) fn invalid_request(status: u16) -> Self {
        Self::new(status, JSON, json!({ "status": status }).to_string())
    }

    fn new(status: u16, content_type: &'static str, body: String) -> Self {
        Self {
            status,
            content_type,
            body,
            allow: None,
            is_shutdown: false,
        }
    }

    /// Serializes the response to `request`, which is `None` if it was invalid.
    pub(super) fn serialize(&self, request: Option<&Request>, persistence: Persistence) -> Vec<u8> {
        let body = self.body.as_bytes();
        // No response reaches this threshold: every one has a `Content-Length`, none is chunked.
        let mut response = tiny_http::Response::new(
            StatusCode(self.status),
            Vec::new(),
            Cursor::new(body),
            Some(body.len()),
            None,
        )
        .with_chunked_threshold(usize::MAX);
        for (field, value) in [
            ("Content-Type", Some(self.content_type)),
            ("Allow", self.allow),
        ] {
            if let Some(Ok(header)) = value.map(|value| Header::from_bytes(field, value)) {
                response.add_header(header);
            }
        }
        let version = request.map_or(HTTPVersion(1, 1), Request::version);
        let connection = match persistence {
            Persistence::Close => "Connection: close\r\n",
            Persistence::KeepAlive if version < HTTPVersion(1, 1) => "Connection: keep-alive\r\n",
            Persistence::KeepAlive => "",
        };
        let mut bytes = Vec::with_capacity(256 + body.len());
        let is_head = request.is_some_and(Request::is_head);
        // Writing into a Vec does not fail. The request's headers are withheld: tiny_http would only use `TE: chunked`.
        let _ = response.raw_print(&mut bytes, version, &[], is_head, None);
        // tiny_http drops a `Connection` header that is added to a response: insert it behind the status line.
        if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            bytes.splice(end + 1..=end, connection.bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::request::Parsed;
    use super::*;

    #[track_caller]
    fn check(request: &str, persistence: Persistence, start: &str, end: &str) {
        let Parsed::Complete(request, _) = Request::parse(request.as_bytes()) else {
            unreachable!()
        };
        let response = Response {
            allow: Some("POST"),
            ..Response::new(405, "text/plain", "no".to_owned())
        };
        let bytes = response.serialize(Some(&request), persistence);
        let bytes = String::from_utf8(bytes).unwrap();
        assert!(bytes.starts_with(start) && bytes.ends_with(end), "{bytes}");
        for header in [
            "Allow: POST\r\n",
            "Content-Length: 2\r\n",
            "Content-Type: text/plain\r\n",
            "Date: ",
        ] {
            assert!(bytes.contains(&format!("\r\n{header}")), "{bytes}");
        }
        assert!(!bytes.contains("chunked"), "{bytes}");
    }

    #[test]
    fn serializes_responses() {
        let status = "HTTP/1.1 405 Method Not Allowed\r\n";
        check(
            "GET / HTTP/1.1\r\nTE: chunked\r\n\r\n",
            Persistence::KeepAlive,
            &format!("{status}Server"),
            "\r\n\r\nno",
        );
        check(
            "GET / HTTP/1.1\r\n\r\n",
            Persistence::Close,
            &format!("{status}Connection: close\r\n"),
            "\r\n\r\nno",
        );
        check(
            "HEAD / HTTP/1.1\r\n\r\n",
            Persistence::KeepAlive,
            status,
            "\r\n\r\n",
        );
        check(
            "GET / HTTP/1.0\r\n\r\n",
            Persistence::KeepAlive,
            "HTTP/1.0 405 Method Not Allowed\r\nConnection: keep-alive\r\n",
            "\r\n\r\nno",
        );
    }
}
