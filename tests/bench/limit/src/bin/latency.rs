//! Measures the latency that a running router adds: sends records that contain the time of their sending, at a constant rate, and reads
//! them from the input topic and from both outputs, with one clock.
//! Environment: BROKERS, IN, EVEN, ODD (one partition each), IN_OFFSET, EVEN_OFFSET, ODD_OFFSET (start offsets), RATE (records per second),
//! SECONDS, WARM_UP (seconds before those that are measured). Prints one line of JSON, times in microseconds.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use limit::{Connection, NewBatch, Record, Result, next_batch, variable};

/// Longest wait for outstanding records after the last one is sent. Records that arrive later count as lost.
const PATIENCE: Duration = Duration::from_secs(20);
const VALUE: usize = 17;

/// Time at which each record arrived, by the time at which it was sent, both in nanoseconds since the start.
type Arrivals = HashMap<u64, u64>;

fn main() -> Result<()> {
    let broker = variable("BROKERS")?;
    let rate: u64 = variable("RATE")?.parse()?;
    let seconds: u64 = variable("SECONDS")?.parse()?;
    let warm_up: u64 = variable("WARM_UP")?.parse()?;
    let start = Instant::now();
    let deadline = start + Duration::from_secs(warm_up + seconds) + PATIENCE;
    let count = rate * (warm_up + seconds);
    let outputs_seen = Arc::new(AtomicU64::new(0));
    let input_seen = Arc::new(AtomicU64::new(0));
    let mut readers = Vec::new();
    for (topic, seen) in [
        ("IN", &input_seen),
        ("EVEN", &outputs_seen),
        ("ODD", &outputs_seen),
    ] {
        let connection = Connection::open(&broker)?;
        let name = variable(topic)?;
        let offset = variable(&format!("{topic}_OFFSET"))?.parse()?;
        let seen = Arc::clone(seen);
        readers.push(thread::spawn(move || {
            read(connection, &name, offset, start, deadline, &seen, count)
        }));
    }
    let sent = send(&broker, rate, count, start)?;
    let mut seen = Vec::new();
    for reader in readers {
        seen.push(reader.join().map_err(|_| "a reader panicked")??);
    }
    let counted_from = warm_up * 1_000_000_000;
    let (mut at_input, mut at_output, mut added) = (Vec::new(), Vec::new(), Vec::new());
    let mut lost = 0;
    for stamp in sent.into_iter().filter(|stamp| *stamp >= counted_from) {
        let input = seen[0].get(&stamp);
        let output = seen[1].get(&stamp).or_else(|| seen[2].get(&stamp));
        match (input, output) {
            (Some(input), Some(output)) => {
                at_input.push(input.saturating_sub(stamp) as i64);
                at_output.push(output.saturating_sub(stamp) as i64);
                added.push(*output as i64 - *input as i64);
            }
            _ => lost += 1,
        }
    }
    let line = format!(
        "{{\"records\": {}, \"lost\": {lost}, \"input\": {}, \"output\": {}, \"added\": {}}}\n",
        added.len(),
        percentiles(&mut at_input),
        percentiles(&mut at_output),
        percentiles(&mut added),
    );
    io::stdout().write_all(line.as_bytes())?;
    Ok(())
}

/// Sends each record when it is due, even if earlier ones are not acknowledged yet, so that a slow broker does not lower the rate.
fn send(broker: &str, rate: u64, count: u64, start: Instant) -> Result<Vec<u64>> {
    let topic = variable("IN")?;
    let mut connection = Connection::open(broker)?;
    let mut acknowledged = connection.share()?;
    let acknowledgements = thread::spawn(move || -> Result<()> {
        for _ in 0..count {
            acknowledged.receive_produce()?;
        }
        Ok(())
    });
    let mut sent = Vec::with_capacity(count as usize);
    let mut bytes = Vec::new();
    for number in 0..count {
        let due = Duration::from_nanos(number * 1_000_000_000 / rate);
        thread::sleep(due.saturating_sub(start.elapsed()));
        let stamp = start.elapsed().as_nanos() as u64;
        let value = format!("{stamp:0VALUE$}");
        let mut batch = NewBatch::new(bytes, 128);
        batch.push(
            &Record {
                timestamp: 1_700_000_000_000,
                key: None,
                value: value.as_bytes(),
                headers: &[0],
            },
            &[],
        );
        bytes = batch.finish();
        connection.send_produce(&topic, &bytes)?;
        sent.push(stamp);
    }
    acknowledgements
        .join()
        .map_err(|_| "the producer panicked")??;
    Ok(sent)
}

/// Reads until all readers of a side together have `count` records, or until the deadline.
fn read(
    mut connection: Connection,
    topic: &str,
    mut offset: i64,
    start: Instant,
    deadline: Instant,
    seen_by_side: &AtomicU64,
    count: u64,
) -> Result<Arrivals> {
    let mut seen = Arrivals::with_capacity(count as usize);
    while seen_by_side.load(Ordering::Relaxed) < count && Instant::now() < deadline {
        connection.send_fetch(topic, offset)?;
        let mut batches = connection.receive_fetch()?;
        let now = start.elapsed().as_nanos() as u64;
        while let Some(batch) = next_batch(&mut batches) {
            offset = batch.next_offset();
            for record in batch.records()? {
                let digits = &record.value[record.value.len().saturating_sub(VALUE)..];
                let stamp = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|digits| digits.parse().ok());
                // Only the first copy counts. A value without a time is one that was sent to see that the router is up.
                if let Some(stamp) = stamp
                    && seen.insert(stamp, now).is_none()
                {
                    seen_by_side.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
    Ok(seen)
}

fn percentiles(nanoseconds: &mut [i64]) -> String {
    nanoseconds.sort_unstable();
    let at = |share: f64| match nanoseconds.len() {
        0 => "null".into(),
        length => format!(
            "{:.1}",
            nanoseconds[((length - 1) as f64 * share) as usize] as f64 / 1e3
        ),
    };
    format!(
        "{{\"p50\": {}, \"p90\": {}, \"p99\": {}, \"p999\": {}, \"max\": {}}}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    )
}
