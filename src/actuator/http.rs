//! From bytes to a request, and from a reply to bytes, by tiny_http: the only file that names its types.
//!
//! tiny_http parses method and header fields and writes every response. Its `Server` is not used: it reads without a limit of time,
//! size or connections, and its accept thread ends for good at the first failed `accept`. What that server does around its parser,
//! to find where a request ends, is done here within limits. Pure: no socket, no clock but the `Date` header's.

use std::io::Cursor;

use tiny_http::{HTTPVersion, Header, Method, Response, StatusCode};

use super::reply::Reply;

/// Longest request line plus header fields: a probe has 200 bytes, Data Flow's call 400; Tomcat's limit (`server.max-http-request-header-size`) is the same 8 KiB.
pub(crate) const MAX_HEAD: usize = 8 * 1024;
/// Longest body: no endpoint reads one, `POST /shutdown` may bring `{}`.
pub(crate) const MAX_BODY: usize = 8 * 1024;
/// What a connection buffers at most: with it filled, the first request in it is complete or refused, never partial.
pub(crate) const MAX_REQUEST: usize = MAX_HEAD + MAX_BODY;

/// A request whose every byte has arrived.
pub(crate) struct Request {
    method: Method,
    target: String,
    version: HTTPVersion,
    headers: Vec<Header>,
}

/// What the bytes received so far begin with.
pub(crate) enum Received {
    /// The beginning of a request.
    Partial,
    /// A whole request, and how many bytes it takes, its body's among them.
    Complete(Request, usize),
    /// Nothing that can be served; the HTTP status that says why. What follows it cannot be told apart, so the connection has to close.
    Refused(u16),
}

/// What becomes of the connection after a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Another request may come.
    KeepAlive,
    /// It closes.
    Close,
}

/// Looks for one request at the beginning of `input`. Lines end in LF or CR LF (RFC 9112, 2.2); empty lines before it are the caller's to skip.
pub(crate) fn receive(input: &[u8]) -> Received {
    let Some(head) = head_length(input) else {
        return if input.len() > MAX_HEAD {
            Received::Refused(431)
        } else {
            Received::Partial
        };
    };
    if head > MAX_HEAD {
        return Received::Refused(431);
    }
    let request = match parse(&input[..head]) {
        Ok(request) => request,
        Err(status) => return Received::Refused(status),
    };
    match request.body_length() {
        Err(status) => Received::Refused(status),
        Ok(body) if input.len() < head + body => Received::Partial,
        Ok(body) => Received::Complete(request, head + body),
    }
}

/// The bytes of `reply` to `request`; none where the request could not be read.
pub(crate) fn respond(reply: &Reply, request: Option<&Request>, after: After) -> Vec<u8> {
    let body = reply.body.as_bytes();
    // A threshold that is never reached: every reply has a length, none is chunked.
    let mut response = Response::new(
        StatusCode(reply.status),
        Vec::new(),
        Cursor::new(body),
        Some(body.len()),
        None,
    )
    .with_chunked_threshold(usize::MAX);
    for (field, value) in [
        ("Content-Type", Some(reply.content_type)),
        ("Allow", reply.allow),
    ] {
        if let Some(Ok(header)) = value.map(|value| Header::from_bytes(field, value)) {
            response.add_header(header);
        }
    }
    let version = request.map_or(HTTPVersion(1, 1), |request| request.version.clone());
    let head_only = request.is_some_and(|request| request.method == Method::Head);
    let connection = match after {
        After::Close => "Connection: close\r\n",
        After::KeepAlive if version < HTTPVersion(1, 1) => "Connection: keep-alive\r\n",
        After::KeepAlive => "",
    };
    let mut bytes = Vec::with_capacity(256 + body.len());
    // Writing into a Vec does not fail. The request's headers are held back: all that tiny_http would take from them is `TE: chunked`.
    let _ = response.raw_print(&mut bytes, version, &[], head_only, None);
    // tiny_http leaves `Connection` to its server and takes none in a response: it goes behind the status line.
    if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        bytes.splice(end + 1..=end, connection.bytes());
    }
    bytes
}

impl Request {
    /// The method as it was sent.
    pub(crate) fn method(&self) -> &str {
        self.method.as_str()
    }

    /// The request target: path and query.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// The `Accept` fields' values, joined as RFC 9110, 5.3 says.
    pub(crate) fn accept(&self) -> Option<String> {
        let values: Vec<&str> = self.values("Accept").collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// RFC 9112, 9.3: HTTP/1.1 goes on unless told to close, HTTP/1.0 closes unless told to go on.
    pub(crate) fn after(&self) -> After {
        let says = |option: &str| {
            self.values("Connection")
                .flat_map(|value| value.split(','))
                .any(|token| token.trim().eq_ignore_ascii_case(option))
        };
        if says("close") || (self.version < HTTPVersion(1, 1) && !says("keep-alive")) {
            After::Close
        } else {
            After::KeepAlive
        }
    }

    fn values(&self, field: &'static str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |header| header.field.equiv(field))
            .map(|header| header.value.as_str())
    }

    /// The body's length in bytes, else the status to refuse with.
    fn body_length(&self) -> Result<usize, u16> {
        // A chunked body has no length to hold against a limit, and no endpoint wants one.
        if self.values("Transfer-Encoding").next().is_some() {
            return Err(411);
        }
        let mut values = self.values("Content-Length");
        let Some(value) = values.next() else {
            return Ok(0);
        };
        // Two lengths that differ are an attempt to smuggle a request (RFC 9112, 6.3).
        if values.any(|other| other != value)
            || value.is_empty()
            || !value.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(400);
        }
        // All digits: what does not fit a number is too large.
        value
            .parse()
            .ok()
            .filter(|length| *length <= MAX_BODY)
            .ok_or(413)
    }
}

/// Length of request line and header fields with the empty line that ends them.
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

/// The request that a whole head says, else the status to refuse with.
fn parse(head: &[u8]) -> Result<Request, u16> {
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
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    /// `received` as text: "partial", "refused 431", or "complete <method> <target> <bytes> <keep-alive|close>".
    fn outcome(input: &[u8]) -> String {
        match receive(input) {
            Received::Partial => "partial".to_owned(),
            Received::Refused(status) => format!("refused {status}"),
            Received::Complete(request, length) => {
                format!(
                    "complete {} {} {length} {:?}",
                    request.method(),
                    request.target(),
                    request.after()
                )
            }
        }
    }

    #[track_caller]
    fn check(input: &str, expected: &str) {
        assert_eq!(outcome(input.as_bytes()), expected, "{input:?}");
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
    fn connection() {
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
            "refused 400",
        );
        check(
            "POST / HTTP/1.1\r\nContent-Length: -2\r\n\r\n{}",
            "refused 400",
        );
        check(
            "POST / HTTP/1.1\r\nContent-Length: +2\r\n\r\n{}",
            "refused 400",
        );
        check(
            "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n{}",
            "refused 400",
        );
        check("POST / HTTP/1.1\r\nContent-Length: 8192\r\n\r\n", "partial");
        check(
            "POST / HTTP/1.1\r\nContent-Length: 8193\r\n\r\n",
            "refused 413",
        );
        check(
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            "refused 413",
        );
        check(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "refused 411",
        );
    }

    #[test]
    fn refused() {
        check("\r\n\r\n", "refused 400");
        check("GET /\r\n\r\n", "refused 400");
        check("GET  HTTP/1.1\r\n\r\n", "refused 400");
        check("GET / x HTTP/1.1\r\n\r\n", "refused 400");
        check("GET / HTTQ/1.1\r\n\r\n", "refused 400");
        check("GET / HTTP/2.0\r\n\r\n", "refused 505");
        check("GET / HTTP/1.1\r\nno colon\r\n\r\n", "refused 400");
        check(
            "GET / HTTP/1.1\r\nA: b\r\n folded: c\r\n\r\n",
            "refused 400",
        );
        check("GET /ä HTTP/1.1\r\n\r\n", "refused 400");
        check("GET / HTTP/1.1\r\nX: ä\r\n\r\n", "refused 400");
        assert_eq!(outcome(b"GET / HTTP/1.1\r\nX: \xff\r\n\r\n"), "refused 400");
    }

    #[test]
    fn limits() {
        let head =
            |length: usize| format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(length - 23));
        check(&head(MAX_HEAD), "complete GET / 8192 KeepAlive");
        check(&head(MAX_HEAD + 1), "refused 431");
        check(&"x".repeat(MAX_HEAD), "partial");
        check(&"x".repeat(MAX_HEAD + 1), "refused 431");
        check(&"x:\n".repeat(MAX_HEAD / 3 + 1), "refused 431");
    }

    #[test]
    fn accepts() {
        let Received::Complete(request, _) =
            receive(b"GET / HTTP/1.1\r\nAccept: a/b\r\naccept: c/d\r\n\r\n")
        else {
            unreachable!()
        };
        assert_eq!(request.accept().as_deref(), Some("a/b, c/d"));
        let Received::Complete(request, _) = receive(b"GET / HTTP/1.1\r\n\r\n") else {
            unreachable!()
        };
        assert_eq!(request.accept(), None);
    }

    #[track_caller]
    fn check_respond(request: &str, after: After, begins: &str, ends: &str) {
        let Received::Complete(request, _) = receive(request.as_bytes()) else {
            unreachable!()
        };
        let reply = Reply {
            status: 405,
            content_type: "text/plain",
            body: "no".to_owned(),
            allow: Some("POST"),
            stop: false,
        };
        let bytes = String::from_utf8(respond(&reply, Some(&request), after)).unwrap();
        assert!(
            bytes.starts_with(begins) && bytes.ends_with(ends),
            "{bytes}"
        );
        assert!(
            bytes.contains("\r\nAllow: POST\r\n")
                && bytes.contains("\r\nDate: ")
                && bytes.contains("\r\nContent-Length: 2\r\n")
        );
        assert!(
            bytes.contains("\r\nContent-Type: text/plain\r\n") && !bytes.contains("chunked"),
            "{bytes}"
        );
    }

    #[test]
    fn responses() {
        let status = "HTTP/1.1 405 Method Not Allowed\r\n";
        check_respond(
            "GET / HTTP/1.1\r\nTE: chunked\r\n\r\n",
            After::KeepAlive,
            &format!("{status}Server"),
            "\r\n\r\nno",
        );
        check_respond(
            "GET / HTTP/1.1\r\n\r\n",
            After::Close,
            &format!("{status}Connection: close\r\n"),
            "\r\n\r\nno",
        );
        check_respond(
            "HEAD / HTTP/1.1\r\n\r\n",
            After::KeepAlive,
            status,
            "\r\n\r\n",
        );
        let old = "HTTP/1.0 405 Method Not Allowed\r\nConnection: keep-alive\r\n";
        check_respond(
            "GET / HTTP/1.0\r\n\r\n",
            After::KeepAlive,
            old,
            "\r\n\r\nno",
        );
    }

    proptest! {
        #[test]
        fn any_bytes(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = receive(&input);
        }

        /// Lines that look like a request find more than noise does; and what is complete says nothing of what follows.
        #[test]
        fn any_lines(line in "[A-Z]{0,4} ?[/a-z?%]{0,9} ?HTTP/[0-9].[0-9]", fields in prop::collection::vec("[ -~\u{e9}\t]{0,30}", 0..6), rest in any::<Vec<u8>>()) {
            let mut input = format!("{line}\r\n{}\r\n\r\n", fields.join("\r\n")).into_bytes();
            let before = outcome(&input);
            input.extend(rest);
            if before.starts_with("complete") {
                prop_assert_eq!(outcome(&input), before);
            }
        }

        /// Once a buffer is full, there is nothing to wait for.
        #[test]
        fn full_is_decided(input in prop::collection::vec(prop::sample::select(b"GET /\r\n: HTTP/1.1".to_vec()), MAX_REQUEST..=MAX_REQUEST)) {
            prop_assert_ne!(outcome(&input), "partial");
        }
    }
}
