//! The routing rule: the parity of the last digit of a value selects the output and its prefix. No I/O.
//!
//! The prefixes are byte for byte those of the recipe (spring-cloud-dataflow-samples, polyglot-python-app): the even prefix ends with a
//! blank, the odd one does not.

/// Result of the rule for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// The record goes to the topic of this output, with the prefix in front of its value.
    To(Output),
    /// The record is not routed: it is a tombstone, a record without a value.
    Skip,
    /// The record has no parity and becomes a dead letter, is skipped, or stops the router (`parity-router.invalid`).
    Invalid(Reason),
}

/// The two outputs. Each has its own producer thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// The last digit is 0, 2, 4, 6 or 8.
    Even,
    /// The last digit is 1, 3, 5, 7 or 9.
    Odd,
}

/// Reason why a record has no parity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The value has no bytes.
    Empty,
    /// The last byte is not an ASCII digit.
    NoDigit,
}

/// Applies the rule to a value; `None` is a tombstone.
pub(crate) fn route(value: Option<&[u8]>) -> Route {
    match value.map(<[u8]>::last) {
        None => Route::Skip,
        Some(None) => Route::Invalid(Reason::Empty),
        // The code of an ASCII digit has the parity of the digit, because '0' is 48.
        Some(Some(byte @ b'0'..=b'9')) if byte % 2 == 0 => Route::To(Output::Even),
        Some(Some(b'0'..=b'9')) => Route::To(Output::Odd),
        Some(Some(_)) => Route::Invalid(Reason::NoDigit),
    }
}

impl Output {
    /// Returns the bytes that are written in front of the value.
    pub(crate) fn prefix(self) -> &'static [u8] {
        match self {
            Self::Even => b"Even timestamp: ",
            Self::Odd => b"Odd timestamp:",
        }
    }
}

impl Reason {
    /// Returns the text for the log and for the dead letter's `x-exception-message`.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Empty => "the value is empty",
            Self::NoDigit => "the last byte of the value is not a digit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: impl AsRef<[u8]>, expected: Route) {
        assert_eq!(route(Some(value.as_ref())), expected);
    }

    #[test]
    fn digits() {
        for digit in b'0'..=b'9' {
            let output = if (digit - b'0').is_multiple_of(2) {
                Output::Even
            } else {
                Output::Odd
            };
            check([digit], Route::To(output));
            check(
                [b"11/23/26 17:56:3".as_slice(), &[digit]].concat(),
                Route::To(output),
            );
        }
    }

    #[test]
    fn everything_else() {
        assert_eq!(route(None), Route::Skip);
        check("", Route::Invalid(Reason::Empty));
        for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
            check([b'4', byte], Route::Invalid(Reason::NoDigit));
        }
        // The UTF-8 form of another script's digit ends with a byte that is not an ASCII digit.
        check("٤", Route::Invalid(Reason::NoDigit));
    }

    #[test]
    fn prefixes_are_the_recipes() {
        assert_eq!(Output::Even.prefix(), b"Even timestamp: ");
        assert_eq!(Output::Odd.prefix(), b"Odd timestamp:");
    }
}
