//! Commands that are not roles: the demo, and the probe for the image's health check.

#[cfg(feature = "librdkafka")]
pub(crate) mod demo;
pub(crate) mod probe;

#[cfg(not(feature = "librdkafka"))]
pub(crate) mod demo {
    //! `parity-router demo` in a build without librdkafka, which has the embedded broker.

    use crate::cli::DemoSettings;
    use crate::error::{Error, Problem};

    /// Returns an error that names the build with the demo.
    pub(crate) fn run(_settings: &DemoSettings, _given: Vec<String>) -> Result<(), Error> {
        Err(Error::Config(vec![Problem {
            property: "command".to_owned(),
            origin: "argument".to_owned(),
            message: "demo: its embedded broker is in the default build (cargo feature librdkafka); allowed here: router, time, log, probe".to_owned(),
        }]))
    }
}
