//! The rule: where a value goes by the parity of its last digit, and what is written in front of it. Pure; the bytes are those of
//! the recipe's sources (spring-cloud-dataflow-samples, polyglot-python-app), whose even prefix ends in a blank and whose odd one does not.

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the output's topic, its prefix in front of the value.
    To(Output),
    /// Nowhere: a tombstone, a record without a value.
    Skip,
    /// It has no parity.
    Invalid(Reason),
}

/// The two ways out, each with a producer thread of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// The last digit is 0, 2, 4, 6 or 8.
    Even,
    /// The last digit is 1, 3, 5, 7 or 9.
    Odd,
}

/// Why a record has no parity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A value of no bytes.
    Empty,
    /// The last byte is none of the ASCII digits.
    NoDigit,
}

/// Where a record with this value goes; `None` is a tombstone.
pub(crate) fn route(value: Option<&[u8]>) -> Route {
    match value.map(<[u8]>::last) {
        None => Route::Skip,
        Some(None) => Route::Invalid(Reason::Empty),
        // ASCII digits have the parity of their digit: '0' is 48.
        Some(Some(byte @ b'0'..=b'9')) if byte % 2 == 0 => Route::To(Output::Even),
        Some(Some(b'0'..=b'9')) => Route::To(Output::Odd),
        Some(Some(_)) => Route::Invalid(Reason::NoDigit),
    }
}

impl Output {
    /// What is written in front of the value.
    pub(crate) fn prefix(self) -> &'static [u8] {
        match self {
            Self::Even => b"Even timestamp: ",
            Self::Odd => b"Odd timestamp:",
        }
    }
}

impl Reason {
    /// For logs and for the dead letter's header.
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
        // A digit of another script is several bytes, the last of which is no ASCII digit.
        check("٤", Route::Invalid(Reason::NoDigit));
    }

    #[test]
    fn prefixes_are_the_recipes() {
        assert_eq!(Output::Even.prefix(), b"Even timestamp: ");
        assert_eq!(Output::Odd.prefix(), b"Odd timestamp:");
    }
}
