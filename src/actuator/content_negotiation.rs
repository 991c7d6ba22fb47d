//! Content negotiation: chooses the representation of a response by the request's `Accept` header (RFC 9110, 12.5.1). No I/O.

/// Spring Boot's media type for actuator responses; the default.
pub(super) const ACTUATOR_JSON: &str = "application/vnd.spring-boot.actuator.v3+json";
/// Data Flow requests this media type.
pub(super) const JSON: &str = "application/json";
/// The recipe's script responds with this media type.
pub(super) const TEXT: &str = "text/plain;charset=UTF-8";

/// Representation of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Representation {
    /// JSON with this content type.
    Json(&'static str),
    /// Text with the content type [`TEXT`].
    Text,
}

/// Returns the representation that the value of `Accept` prefers: text only if its quality is higher than that of JSON.
///
/// A client that accepts neither gets JSON instead of 406, because a probe needs only the status code and 406 would fail it.
pub(super) fn negotiate(accept: Option<&str>) -> Representation {
    let ranges: Vec<MediaRange<'_>> = accept
        .unwrap_or("*/*")
        .split(',')
        .filter_map(MediaRange::parse)
        .collect();
    let (actuator, json, text) = (
        quality(&ranges, ACTUATOR_JSON),
        quality(&ranges, JSON),
        quality(&ranges, "text/plain"),
    );
    if text > actuator.max(json) {
        return Representation::Text;
    }
    let is_listed = |media_type: &str| {
        ranges
            .iter()
            .any(|range| range.quality > 0 && range.media_type().eq_ignore_ascii_case(media_type))
    };
    if json > actuator || (json == actuator && is_listed(JSON) && !is_listed(ACTUATOR_JSON)) {
        Representation::Json(JSON)
    } else {
        Representation::Json(ACTUATOR_JSON)
    }
}

/// One element of an `Accept` header, for example `text/*;q=0.5`.
struct MediaRange<'a> {
    text: &'a str,
    /// Thousandths, 0 to 1000.
    quality: u16,
}

impl<'a> MediaRange<'a> {
    /// Returns `None` if the quality is invalid: the element is then ignored.
    fn parse(text: &'a str) -> Option<Self> {
        let mut quality = 1000;
        for parameter in text.split(';').skip(1) {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("q")
            {
                let value = value
                    .trim()
                    .parse::<f32>()
                    .ok()
                    .filter(|value| (0.0..=1.0).contains(value))?;
                quality = (value * 1000.0) as u16;
            }
        }
        Some(Self { text, quality })
    }

    fn media_type(&self) -> &str {
        self.text.split(';').next().unwrap_or_default().trim()
    }

    /// Returns 3 if the range names `media_type` exactly, 2 for `type/*`, 1 for `*/*`, and `None` if it does not match.
    fn specificity(&self, media_type: &str) -> Option<u8> {
        let (range_type, range_subtype) = self.media_type().split_once('/')?;
        let (main_type, subtype) = media_type.split_once('/')?;
        match (range_type.eq_ignore_ascii_case(main_type), range_subtype) {
            (true, range_subtype) if range_subtype.eq_ignore_ascii_case(subtype) => Some(3),
            (true, "*") => Some(2),
            (false, "*") if range_type == "*" => Some(1),
            _ => None,
        }
    }
}

/// Returns the quality that the most specific matching range gives to `media_type`, 0 if no range matches.
fn quality(ranges: &[MediaRange<'_>], media_type: &str) -> u16 {
    let matches = ranges.iter().filter_map(|range| {
        range
            .specificity(media_type)
            .map(|specificity| (specificity, range.quality))
    });
    matches.max().map_or(0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(accept: &str, expected: Representation) {
        assert_eq!(negotiate(Some(accept)), expected, "{accept:?}");
    }

    #[test]
    fn representations() {
        let (actuator, json) = (
            Representation::Json(ACTUATOR_JSON),
            Representation::Json(JSON),
        );
        assert_eq!(negotiate(None), actuator);
        for accept in [
            "",
            "*/*",
            "application/*",
            "image/png",
            "text/plain;q=0",
            "nonsense",
            "text/html, */*;q=0.8",
        ] {
            check(accept, actuator);
        }
        for accept in [
            "application/json",
            "APPLICATION/JSON",
            "application/json, text/plain",
            "text/plain;q=0.5, application/json",
        ] {
            check(accept, json);
        }
        for accept in [
            "text/plain",
            "text/*",
            "Text/Plain; charset=utf-8",
            "text/plain, application/json;q=0.9",
            "text/plain, */*;q=0.1",
        ] {
            check(accept, Representation::Text);
        }
        check(
            "application/json, application/vnd.spring-boot.actuator.v3+json",
            actuator,
        );
        check(
            "application/json;q=0.9, application/vnd.spring-boot.actuator.v3+json;q=0.8",
            json,
        );
        check(
            "application/vnd.spring-boot.actuator.v3+json;q=0.1, text/plain;q=0.2",
            Representation::Text,
        );
        // The more specific range decides, not the higher quality.
        check("text/*, text/plain;q=0, */*;q=0.1", actuator);
        check("*/*, application/*;q=0.2", Representation::Text);
        // An element with an invalid quality is ignored.
        check("text/plain;q=2, */*", actuator);
        check("text/plain;q=nan, */*", actuator);
        check("text/plain;q=x", actuator);
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(accept in ".{0,60}") {
            let _ = negotiate(Some(&accept));
        }

        #[test]
        fn any_ranges_are_accepted(accept in "([a-z*]{1,5}/[a-z*+]{1,5}(;q=[0-9.]{1,4})?[, ]{0,2}){0,4}") {
            let _ = negotiate(Some(&accept));
        }
    }
}
