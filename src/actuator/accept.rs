//! Which media type a client prefers, by its `Accept` header (RFC 9110, 12.5.1). Pure; the actuator has one form in JSON and one in text.

/// Spring Boot's media type for actuator replies: the default.
pub(crate) const ACTUATOR_JSON: &str = "application/vnd.spring-boot.actuator.v3+json";
/// What Data Flow asks for.
pub(crate) const JSON: &str = "application/json";
/// What the recipe's script answers.
pub(crate) const TEXT: &str = "text/plain;charset=UTF-8";

/// The form of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// JSON, under this content type.
    Json(&'static str),
    /// Text, under the content type [`TEXT`].
    Text,
}

/// The form that `accept` prefers: text only where it is wanted more than JSON. Who accepts neither gets JSON: a probe wants the
/// status, and 406 would fail it.
pub(crate) fn prefer(accept: Option<&str>) -> Form {
    let ranges: Vec<Range<'_>> = accept
        .unwrap_or("*/*")
        .split(',')
        .filter_map(range)
        .collect();
    let (actuator, json, text) = (
        quality(&ranges, ACTUATOR_JSON),
        quality(&ranges, JSON),
        quality(&ranges, "text/plain"),
    );
    if text > actuator.max(json) {
        return Form::Text;
    }
    let named = |name: &str| {
        ranges
            .iter()
            .any(|range| range.quality > 0 && range.media_type().eq_ignore_ascii_case(name))
    };
    if json > actuator || (json == actuator && named(JSON) && !named(ACTUATOR_JSON)) {
        Form::Json(JSON)
    } else {
        Form::Json(ACTUATOR_JSON)
    }
}

/// One element of an `Accept` header, as `text/*;q=0.5`.
struct Range<'a> {
    text: &'a str,
    /// Thousandths, 0 to 1000.
    quality: u16,
}

impl Range<'_> {
    fn media_type(&self) -> &str {
        self.text.split(';').next().unwrap_or_default().trim()
    }

    /// How closely it names `media_type`: 3 exactly, 2 its type, 1 any; none if not at all.
    fn specificity(&self, media_type: &str) -> Option<u8> {
        let (kind, subtype) = self.media_type().split_once('/')?;
        let (wanted_kind, wanted_subtype) = media_type.split_once('/')?;
        match (kind.eq_ignore_ascii_case(wanted_kind), subtype) {
            (true, subtype) if subtype.eq_ignore_ascii_case(wanted_subtype) => Some(3),
            (true, "*") => Some(2),
            (false, "*") if kind == "*" => Some(1),
            _ => None,
        }
    }
}

/// An element with a quality that can be read; others count as not sent.
fn range(text: &str) -> Option<Range<'_>> {
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
    Some(Range { text, quality })
}

/// The quality that the most specific range gives to `media_type`; 0 where none does.
fn quality(ranges: &[Range<'_>], media_type: &str) -> u16 {
    let matching = ranges.iter().filter_map(|range| {
        range
            .specificity(media_type)
            .map(|specificity| (specificity, range.quality))
    });
    matching.max().map_or(0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(accept: &str, expected: Form) {
        assert_eq!(prefer(Some(accept)), expected, "{accept:?}");
    }

    #[test]
    fn preferences() {
        let (actuator, json) = (Form::Json(ACTUATOR_JSON), Form::Json(JSON));
        assert_eq!(prefer(None), actuator);
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
            check(accept, Form::Text);
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
            Form::Text,
        );
        // The more specific range decides, not the greater quality.
        check("text/*, text/plain;q=0, */*;q=0.1", actuator);
        check("*/*, application/*;q=0.2", Form::Text);
        // A quality that is none: the element counts as not sent.
        check("text/plain;q=2, */*", actuator);
        check("text/plain;q=nan, */*", actuator);
        check("text/plain;q=x", actuator);
    }

    proptest! {
        #[test]
        fn any_text(accept in ".{0,60}") {
            let _ = prefer(Some(&accept));
        }

        #[test]
        fn any_ranges(accept in "([a-z*]{1,5}/[a-z*+]{1,5}(;q=[0-9.]{1,4})?[, ]{0,2}){0,4}") {
            let _ = prefer(Some(&accept));
        }
    }
}
