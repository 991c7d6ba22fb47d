//! The roles of the program: router, time source and log sink. Each handles records in its own way; everything else is common to them.

pub(crate) mod log;
pub(crate) mod router;
pub(crate) mod time;
