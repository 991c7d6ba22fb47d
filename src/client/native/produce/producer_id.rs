//! Runs on the producer thread: requests a producer id and epoch (`InitProducerId`, KIP-98) for the partitions that have none.

use std::time::Instant;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use super::error_class::ErrorClass;
use super::in_flight::ProducerIdentity;
use super::{Producer, RequestTag, failure};
use crate::client::Error;
use crate::client::native::backoff::Backoff;
use crate::client::native::error_name::kafka_name;

#[derive(Debug, Default)]
pub(super) struct ProducerId {
    /// `None` while a new one is needed.
    pub(super) identity: Option<ProducerIdentity>,
    is_requested: bool,
    pub(super) backoff: Backoff,
}

/// Consecutive failures without a warning: about five seconds with Kafka's back-off. A cluster that has just started needs that long.
const QUIET_FAILURES: u32 = 8;

impl Producer {
    /// Requests a producer id if one is needed.
    pub(super) fn request_producer_id(&mut self, now: Instant) -> Result<(), Error> {
        if let Some(manager) = &self.transaction_manager {
            // The consumer requests the producer id of the transactions.
            self.producer_id.identity = manager.transaction.producer_identity();
            return Ok(());
        }
        if !self.settings.idempotent
            || self.producer_id.identity.is_some()
            || self.producer_id.is_requested
            || self.producer_id.backoff.is_waiting(now)
        {
            return Ok(());
        }
        let Some(node) = self.metadata.connect_any(&mut self.network) else {
            return Ok(());
        };
        self.network
            .version::<InitProducerIdRequest>(node)
            .map_err(|error| failure(format!("InitProducerId (enable.idempotence): {error}")))?;
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(i32::MAX)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        self.network
            .send(node, &request, RequestTag::InitProducerId);
        self.producer_id.is_requested = true;
        Ok(())
    }

    pub(super) fn handle_producer_id_response(
        &mut self,
        response: &InitProducerIdResponse,
        now: Instant,
    ) -> Result<(), Error> {
        let Some(error) = ResponseError::try_from_code(response.error_code) else {
            self.producer_id.is_requested = false;
            self.producer_id.backoff.clear_failures();
            self.producer_id.identity = Some((response.producer_id.0, response.producer_epoch));
            return Ok(());
        };
        let name = kafka_name(error);
        if ErrorClass::of(error) == ErrorClass::Fatal {
            let reason = format!("InitProducerId (enable.idempotence): {name}");
            return Err(failure(reason));
        }
        self.retry_producer_id(now);
        let message = format!("InitProducerId failed: {name}, retrying");
        if self.producer_id.backoff.failures() > QUIET_FAILURES {
            self.warn(now, &message);
        } else {
            log::debug!("{message}");
        }
        Ok(())
    }

    /// Sends the request again after a back-off.
    pub(super) fn retry_producer_id(&mut self, now: Instant) {
        let range = self.network.settings().retry_backoff;
        self.producer_id.is_requested = false;
        self.producer_id.backoff.fail(now, range);
    }
}
