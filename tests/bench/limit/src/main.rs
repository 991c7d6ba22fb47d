//! The lower limit of the cost of routing one partition: records are never taken out of their batches. The bench suite compares the router
//! with it; it is not usable otherwise (no group, no retries, one broker, uncompressed batches).
//! Environment: BROKERS, IN, EVEN, ODD (existing topics with one partition), N (number of records), FLUSH=1 to send after each fetch.
//! After N records it waits until it is killed, so that its CPU time and memory can still be read.

use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use limit::{Connection, NewBatch, Record, Result, next_batch, variable};

/// Size at which a batch is sent: brokers accept up to 1 MiB, and one more record of 1 KiB must fit.
const BATCH_SIZE: usize = 900_000;
const BATCH_CAPACITY: usize = 1 << 20;
/// Batches queued for a producer thread; and its requests in flight.
const QUEUE: usize = 4;
const IN_FLIGHT: usize = 3;

fn main() -> Result<()> {
    let broker = variable("BROKERS")?;
    let input = variable("IN")?;
    let count: i64 = variable("N")?.parse()?;
    let flush = variable("FLUSH").is_ok();
    let mut even = Output::start(&broker, variable("EVEN")?, b"Even timestamp: ")?;
    let mut odd = Output::start(&broker, variable("ODD")?, b"Odd timestamp:")?;
    let mut connection = Connection::open(&broker)?;
    // The next fetch is in flight while the records of the last one are routed: two sets of buffers, one connection.
    let mut reader = connection.share()?;
    let mut routed = 0;
    connection.send_fetch(&input, 0)?;
    let mut offset = 0;
    while routed < count {
        let fetched = reader.receive_fetch()?;
        let mut ahead = fetched;
        while let Some(batch) = next_batch(&mut ahead) {
            offset = batch.next_offset();
        }
        connection.send_fetch(&input, offset)?;
        let mut batches = fetched;
        while let Some(batch) = next_batch(&mut batches) {
            for record in batch.records()? {
                routed += 1;
                match record.value.last() {
                    Some(last) if last & 1 == 0 => even.push(&record)?,
                    Some(_) => odd.push(&record)?,
                    None => return Err("a record without a value".into()),
                }
            }
        }
        if flush || routed >= count {
            even.send()?;
            odd.send()?;
        }
    }
    even.finish()?;
    odd.finish()?;
    loop {
        thread::park();
    }
}

/// One of the outputs, with its producer thread.
struct Output {
    prefix: &'static [u8],
    batch: NewBatch,
    batches: Sender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    producer: JoinHandle<Result<()>>,
}

impl Output {
    fn start(broker: &str, topic: String, prefix: &'static [u8]) -> Result<Self> {
        let mut connection = Connection::open(broker)?;
        let (batches, received) = bounded::<Vec<u8>>(QUEUE);
        let (give_back, empty) = bounded(QUEUE);
        let producer = thread::spawn(move || {
            let mut in_flight = 0;
            for batch in received {
                connection.send_produce(&topic, &batch)?;
                // If the channel is full, there are enough empty buffers.
                let _ = give_back.try_send(batch);
                in_flight += 1;
                if in_flight >= IN_FLIGHT {
                    connection.receive_produce()?;
                    in_flight -= 1;
                }
            }
            for _ in 0..in_flight {
                connection.receive_produce()?;
            }
            Ok(())
        });
        Ok(Self {
            prefix,
            batch: NewBatch::new(Vec::new(), BATCH_CAPACITY),
            batches,
            empty,
            producer,
        })
    }

    #[inline(always)]
    fn push(&mut self, record: &Record<'_>) -> Result<()> {
        self.batch.push(record, self.prefix);
        if self.batch.size() > BATCH_SIZE {
            self.send()?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let next = NewBatch::new(self.empty.try_recv().unwrap_or_default(), BATCH_CAPACITY);
        let batch = std::mem::replace(&mut self.batch, next);
        Ok(self.batches.send(batch.finish())?)
    }

    fn finish(self) -> Result<()> {
        drop(self.batches);
        self.producer.join().map_err(|_| "a producer panicked")?
    }
}
