//! Kafka's record format v2 (KIP-98; "Record Batch" in Kafka's protocol guide): batch headers, records and headers. Pure.
//!
//! Records are read as borrowed views and written directly in their wire form, so that no record is ever an object of its own.
//! Malformed input yields `None`, never a panic.

mod batch_header;
mod headers;
mod record_view;
mod varint;

pub(crate) use batch_header::{
    BATCH_HEADER_SIZE, BatchHeader, HeaderFields, NO_TIMESTAMP, ParsedHeader, TRANSACTIONAL,
};
pub(crate) use headers::{Headers, HeadersBuffer};
pub(crate) use record_view::{RecordView, write_record};
pub(crate) use varint::{Writer, varint_len};
