//! The roles of the program: what a record means to each of them.

pub(crate) mod log;
pub(crate) mod router;
pub(crate) mod time;
