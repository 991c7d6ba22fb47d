//! What the program is besides the router.

#[cfg(feature = "librdkafka")]
pub(crate) mod demo;
pub(crate) mod log;
pub(crate) mod probe;
pub(crate) mod time;

#[cfg(not(feature = "librdkafka"))]
pub(crate) mod demo {
    //! `parity-router demo` in a build without the client that has the embedded broker.

    use crate::cli::DemoSettings;
    use crate::error::{Error, Problem};

    /// Tells which build can.
    pub(crate) fn run(_settings: &DemoSettings, _given: Vec<String>) -> Result<(), Error> {
        Err(Error::Config(vec![Problem {
            property: "command".to_owned(),
            origin: "argument".to_owned(),
            message: "demo: its embedded broker is in the default build (cargo feature librdkafka); allowed here: router, time, log, probe".to_owned(),
        }]))
    }
}
