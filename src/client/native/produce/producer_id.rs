//! The producer id that the broker gives (KIP-98), for partitions that have none yet.

use std::time::Instant;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::InitProducerIdRequest;

use super::error_class::{ErrorClass, classify};
use super::in_flight::ProducerIdentity;
use super::{Producer, Tag, failure};
use crate::client::Error;
use crate::client::native::backoff::backoff;
use crate::client::native::error_name::kafka_name;
use crate::client::native::network::Node;
use crate::client::native::response::Response;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct ProducerIdState {
    /// None where it is wanted.
    pub(super) known: Option<ProducerIdentity>,
    is_asked: bool,
    failures: u32,
    /// It is not asked for before.
    pub(super) not_before: Option<Instant>,
}

/// Attempts at a producer id that fail without a warning: with Kafka's back-off about five seconds.
const QUIET_FAILURES: u32 = 8;

impl Producer {
    /// Asks for a producer id where one is wanted.
    pub(super) fn ask_identity(&mut self, now: Instant) -> Result<(), Error> {
        if let Some(part) = &self.transaction {
            // The consumer has asked for it.
            self.producer_id.known = part.transaction.identity();
            return Ok(());
        }
        let soon = self.producer_id.not_before.is_some_and(|at| now < at);
        if !self.settings.idempotent
            || self.producer_id.known.is_some()
            || self.producer_id.is_asked
            || soon
        {
            return Ok(());
        }
        let Some(peer) = self.metadata.connect_any(&mut self.network) else {
            return Ok(());
        };
        self.network
            .version::<InitProducerIdRequest>(peer)
            .map_err(|error| failure(format!("a producer id (enable.idempotence): {error}")))?;
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(i32::MAX)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        self.network.send(peer, &request, Tag::ProducerIdentity);
        self.producer_id.is_asked = true;
        Ok(())
    }

    pub(super) fn identified(
        &mut self,
        peer: Node,
        response: &Response<Tag>,
        now: Instant,
    ) -> Result<(), Error> {
        let answer = match response.decode::<InitProducerIdRequest>() {
            Ok(answer) => answer,
            Err(error) => {
                self.identity_failed(now);
                self.network.disconnect(peer, &error.to_string());
                return Ok(());
            }
        };
        match ResponseError::try_from_code(answer.error_code) {
            None => {
                self.producer_id.is_asked = false;
                self.producer_id.failures = 0;
                self.producer_id.known = Some((answer.producer_id.0, answer.producer_epoch));
                Ok(())
            }
            Some(error) if classify(Some(error)) == ErrorClass::Final => Err(failure(format!(
                "a producer id (enable.idempotence): {}",
                kafka_name(error)
            ))),
            Some(error) => {
                let error = kafka_name(error);
                self.identity_failed(now);
                // A cluster that has begun a moment ago has to load first: no reason for a warning, unless it takes long.
                if self.producer_id.failures > QUIET_FAILURES {
                    self.warn(now, &format!("a producer id: {error}"));
                } else {
                    log::debug!("a producer id: {error}");
                }
                Ok(())
            }
        }
    }

    pub(super) fn identity_failed(&mut self, now: Instant) {
        let (first, longest) = self.network.settings().retry_backoff;
        self.producer_id.is_asked = false;
        self.producer_id.not_before =
            Some(now + backoff(first, longest, self.producer_id.failures));
        self.producer_id.failures = self.producer_id.failures.saturating_add(1);
    }
}
