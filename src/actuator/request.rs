//! HTTP requests, parsed by tiny_http from the bytes that a connection has received. No I/O.
//!
//! tiny_http parses the method and the header fields. Its `Server` is not used: it reads without limits of time, size or connections, and
//! its accept thread ends at the first failed `accept`. This file finds the end of a request, within limits.

use tiny_http::{HTTPVersion, Header, Method};

/// Longest request line with header fields. A probe sends 200 bytes, Data Flow 400; Tomcat has the same limit
/// (`server.max-http-request-header-size`).
const MAX_HEAD: usize = 8 * 1024;
/// Longest body. No endpoint reads it; `POST /shutdown` may send `{}`.
const MAX_BODY: usize = 8 * 1024;
/// Size of a connection's receive buffer: a full one never starts with a partial request.
pub(super) const MAX_REQUEST: usize = MAX_HEAD + MAX_BODY;

/// A request that has been received completely.
pub(super) struct Request {
    method: Method,
    target: String,
    version: HTTPVersion,
    headers: Vec<Header>,
}

/// Result of parsing the start of the received bytes.
pub(super) enum Parsed {
    /// The request is not complete.
    Partial,
    /// A request, and its length in bytes including the body.
    Complete(Request, usize),
    /// Not a request that can be handled, and the status code for it. The end of the request is unknown, so the connection must close.
    Invalid(u16),
}

/// Persistence of a connection after a response (RFC 9112, 9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Persistence {
    KeepAlive,
    Close,
}

impl Request {
    /// Parses the request at the start of `input`. Lines end in LF or CR LF (RFC 9112, 2.2); the caller skips empty lines before it.
    pub(super) fn parse(input: &[u8]) -> Parsed {
        let Some(head) = head_length(input) else {
            return if input.len() > MAX_HEAD {
                Parsed::Invalid(431)
            } else {
                Parsed::Partial
            };
        };
        if head > MAX_HEAD {
            return Parsed::Invalid(431);
        }
        let request = match parse_head(&input[..head]) {
            Ok(request) => request,
            Err(status) => return Parsed::Invalid(status),
        };
        match request.body_length() {
            Err(status) => Parsed::Invalid(status),
            Ok(body) if input.len() < head + body => Parsed::Partial,
            Ok(body) => Parsed::Complete(request, head + body),
        }
    }

    pub(super) fn method(&self) -> &str {
        self.method.as_str()
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == Method::Head
    }

    /// The request target: path and query.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    pub(super) fn version(&self) -> HTTPVersion {
        self.version.clone()
    }

    /// The values of the `Accept` headers, joined by commas (RFC 9110, 5.3).
    pub(super) fn accept(&self) -> Option<String> {
        let values: Vec<&str> = self.values("Accept").collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// HTTP/1.1 keeps a connection open unless the client sends `close`; HTTP/1.0 closes it unless the client sends `keep-alive`.
    pub(super) fn persistence(&self) -> Persistence {
        let has_option = |option: &str| {
            self.values("Connection")
                .flat_map(|value| value.split(','))
                .any(|token| token.trim().eq_ignore_ascii_case(option))
        };
        if has_option("close") || (self.version < HTTPVersion(1, 1) && !has_option("keep-alive")) {
            Persistence::Close
        } else {
            Persistence::KeepAlive
        }
    }

    fn values(&self, field: &'static str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |header| header.field.equiv(field))
            .map(|header| header.value.as_str())
    }

    /// Returns the length of the body in bytes, or the status code of an invalid one.
    fn body_length(&self) -> Result<usize, u16> {
        // A chunked body does not announce its length, so it cannot be checked against the limit; no endpoint needs one.
        if self.values("Transfer-Encoding").next().is_some() {
            return Err(411);
        }
        let mut values = self.values("Content-Length");
        let Some(value) = values.next() else {
            return Ok(0);
        };
        // Two different lengths are an attempt at request smuggling (RFC 9112, 6.3).
        if values.any(|other| other != value)
            || value.is_empty()
            || !value.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(400);
        }
        // The value has digits only, so parsing fails only if it overflows.
        value
            .parse()
            .ok()
            .filter(|length| *length <= MAX_BODY)
            .ok_or(413)
    }
}

/// Returns the length of the request line and the header fields, including the empty line that ends them.
fn head_length(input: &[u8]) -> Option<usize> {
    let mut start = 0;
    while let Some(length) = input[start..].iter().position(|byte| *byte == b'\n') {
        let line = &input[start..start + length];
        start += length + 1;
        if line.is_empty() || line == b"\r" {
            return Some(start);
        }
    }
    None
}

/// Parses a complete head; returns the status code if it is invalid.
fn parse_head(head: &[u8]) -> Result<Request, u16> {
    let head = std::str::from_utf8(head)
        .ok()
        .filter(|head| head.is_ascii())
        .ok_or(400_u16)?;
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(400);
    };
    if method.is_empty() || target.is_empty() {
        return Err(400);
    }
    let version = match version {
        "HTTP/1.0" => HTTPVersion(1, 0),
        "HTTP/1.1" => HTTPVersion(1, 1),
        other if other.starts_with("HTTP/") => return Err(505),
        _ => return Err(400),
    };
    Ok(Request {
        method: method.parse().map_err(|()| 400_u16)?,
        target: target.to_owned(),
        version,
        headers: lines
            .take_while(|line| !line.is_empty())
            .map(str::parse)
            .collect::<Result<_, ()>>()
            .map_err(|()| 400_u16)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The result as text: "partial", "invalid <status>", or "complete <method> <target> <bytes> <KeepAlive|Close>".
    fn parse(input: &[u8]) -> String {
        match Request::parse(input) {
            Parsed::Partial => "partial".to_owned(),
            Parsed::Invalid(status) => format!("invalid {status}"),
            Parsed::Complete(request, length) => {
                format!(
                    "complete {} {} {length} {:?}",
                    request.method(),
                    request.target(),
                    request.persistence()
                )
            }
        }
    }

    #[track_caller]
    fn check(input: &str, expected: &str) {
        assert_eq!(parse(input.as_bytes()), expected, "{input:?}");
    }

    #[test]
    fn requests() {
        check("", "partial");
        check("GET", "partial");
        check("GET / HTTP/1.1\r\n", "partial");
        check("GET / HTTP/1.1\r\n\r", "partial");
        check("GET / HTTP/1.1\r\n\r\n", "complete GET / 18 KeepAlive");
        check("GET / HTTP/1.1\n\n", "complete GET / 16 KeepAlive");
        check(
            "GET /a?b HTTP/1.1\r\nHost: x\r\n\r\nGET",
            "complete GET /a?b 30 KeepAlive",
        );
        check("BREW / HTTP/1.1\r\n\r\n", "complete BREW / 19 KeepAlive");
    }

    #[test]
    fn persistence() {
        check("GET / HTTP/1.0\r\n\r\n", "complete GET / 18 Close");
        check(
            "GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n",
            "complete GET / 42 KeepAlive",
        );
        check(
            "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
            "complete GET / 37 Close",
        );
        check(
            "GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n",
            "complete GET / 40 Close",
        );
        check(
            "GET / HTTP/1.1\r\nConnection: x\r\nConnection: close\r\n\r\n",
            "complete GET / 52 Close",
        );
    }

    #[test]
    fn bodies() {
        check("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{", "partial");
        check(
            "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
            "complete POST / 40 KeepAlive",
        );
        check(
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n{}",
            "complete POST / 38 KeepAlive",
        );
        check(
            "POST / HTTP/1.1\r\ncontent-length:2\r\nContent-Length: 2\r\n\r\n{}",
            "complete POST / 58 KeepAlive",
        );
        check(
            "POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            "invalid 400",
        );
        check(
            "POST / HTTP/1.1\r\nContent-Length: -2\r\n\r\n{}",
            "invalid 400",
        );
        check(
            "POST / HTTP/1.1\r\nContent-Length: +2\r\n\r\n{}",
            "invalid 400",
        );
        check(
            "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n{}",
            "invalid 400",
        );
        check("POST / HTTP/1.1\r\nContent-Length: 8192\r\n\r\n", "partial");
        check(
            "POST / HTTP/1.1\r\nContent-Length: 8193\r\n\r\n",
            "invalid 413",
        );
        check(
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            "invalid 413",
        );
        check(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "invalid 411",
        );
    }

    #[test]
    fn invalid_requests() {
        check("\r\n\r\n", "invalid 400");
        check("GET /\r\n\r\n", "invalid 400");
        check("GET  HTTP/1.1\r\n\r\n", "invalid 400");
        check("GET / x HTTP/1.1\r\n\r\n", "invalid 400");
        check("GET / HTTQ/1.1\r\n\r\n", "invalid 400");
        check("GET / HTTP/2.0\r\n\r\n", "invalid 505");
        check("GET / HTTP/1.1\r\nno colon\r\n\r\n", "invalid 400");
        check(
            "GET / HTTP/1.1\r\nA: b\r\n folded: c\r\n\r\n",
            "invalid 400",
        );
        check("GET /ä HTTP/1.1\r\n\r\n", "invalid 400");
        check("GET / HTTP/1.1\r\nX: ä\r\n\r\n", "invalid 400");
        assert_eq!(parse(b"GET / HTTP/1.1\r\nX: \xff\r\n\r\n"), "invalid 400");
    }

    #[test]
    fn limits() {
        let head =
            |length: usize| format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(length - 23));
        check(&head(MAX_HEAD), "complete GET / 8192 KeepAlive");
        check(&head(MAX_HEAD + 1), "invalid 431");
        check(&"x".repeat(MAX_HEAD), "partial");
        check(&"x".repeat(MAX_HEAD + 1), "invalid 431");
        check(&"x:\n".repeat(MAX_HEAD / 3 + 1), "invalid 431");
    }

    #[test]
    fn accept_headers_are_joined() {
        let Parsed::Complete(request, _) =
            Request::parse(b"GET / HTTP/1.1\r\nAccept: a/b\r\naccept: c/d\r\n\r\n")
        else {
            unreachable!()
        };
        assert_eq!(request.accept().as_deref(), Some("a/b, c/d"));
        let Parsed::Complete(request, _) = Request::parse(b"GET / HTTP/1.1\r\n\r\n") else {
            unreachable!()
        };
        assert_eq!(request.accept(), None);
    }

    proptest! {
        #[test]
        fn any_bytes(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::parse(&input);
        }

        /// Lines that resemble a request reach more code than random bytes; bytes behind a complete request do not change the result.
        #[test]
        fn any_lines(
            line in "[A-Z]{0,4} ?[/a-z?%]{0,9} ?HTTP/[0-9].[0-9]",
            fields in prop::collection::vec("[ -~\u{e9}\t]{0,30}", 0..6),
            rest in any::<Vec<u8>>(),
        ) {
            let mut input = format!("{line}\r\n{}\r\n\r\n", fields.join("\r\n")).into_bytes();
            let before = parse(&input);
            input.extend(rest);
            if before.starts_with("complete") {
                prop_assert_eq!(parse(&input), before);
            }
        }

        #[test]
        fn a_full_buffer_is_never_partial(
            input in prop::collection::vec(
                prop::sample::select(b"GET /\r\n: HTTP/1.1".to_vec()),
                MAX_REQUEST..=MAX_REQUEST,
            ),
        ) {
            prop_assert_ne!(parse(&input), "partial");
        }
    }
}
