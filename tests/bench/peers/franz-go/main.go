// A router written with franz-go, which the bench suite compares with ours.
//
// At least once, as its documentation describes: a group consumer with autocommit of marked offsets, which are marked when the records are
// acknowledged. In a rebalance, records in flight are awaited and committed before the partitions are revoked. The producer is idempotent
// with acks=all, its default. Environment: BROKERS, GROUP, IN, EVEN, ODD. SIGTERM drains, commits and ends it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// Records of one poll, and polls whose records are in flight at the same time.
	maxPolled  = 25_000
	maxBatches = 4
)

var (
	evenPrefix = []byte("Even timestamp: ")
	oddPrefix  = []byte("Odd timestamp:")
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The records of one poll: the next offsets of their partitions, valid when all records are acknowledged.
type pollBatch struct {
	acknowledged sync.WaitGroup
	next         map[string]map[int32]kgo.EpochOffset
}

type router struct {
	client    *kgo.Client
	even, odd string
	batches   chan *pollBatch
	inFlight  sync.WaitGroup
	fail      context.CancelCauseFunc
}

func run() error {
	// Records in flight continue after the polling has stopped. Only a failure cancels them.
	work, fail := context.WithCancelCause(context.Background())
	defer fail(nil)
	polling, stop := signal.NotifyContext(work, syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	r := &router{even: os.Getenv("EVEN"), odd: os.Getenv("ODD"), batches: make(chan *pollBatch, maxBatches), fail: fail}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("BROKERS")),
		kgo.ConsumerGroup(os.Getenv("GROUP")),
		kgo.ConsumeTopics(os.Getenv("IN")),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitMarks(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsRevoked(func(ctx context.Context, _ *kgo.Client, _ map[string][]int32) {
			if err := r.drain(ctx); err != nil {
				fail(fmt.Errorf("commit at a rebalance: %w", err))
			}
		}),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		// Records are sent at once; under load, batches fill while others are in flight.
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(maxPolled*maxBatches),
	)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	r.client = client
	go r.mark(work)

	for polling.Err() == nil {
		fetches := client.PollRecords(polling, maxPolled)
		if polling.Err() != nil {
			break
		}
		for _, failure := range fetches.Errors() {
			fail(fmt.Errorf("fetching %s/%d: %w", failure.Topic, failure.Partition, failure.Err))
		}
		r.route(work, fetches)
		client.AllowRebalance()
	}
	if work.Err() != nil {
		return context.Cause(work)
	}
	ending, cancel := context.WithTimeout(work, 20*time.Second)
	defer cancel()
	return r.drain(ending)
}

// Produces the records of a poll: the same objects, with another topic and value.
func (r *router) route(ctx context.Context, fetches kgo.Fetches) {
	polled := &pollBatch{next: make(map[string]map[int32]kgo.EpochOffset)}
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			// The batch stays unacknowledged, so that no later offset is marked.
			r.fail(fmt.Errorf("producing: %w", err))
			return
		}
		polled.acknowledged.Done()
	}
	fetches.EachPartition(func(partition kgo.FetchTopicPartition) {
		records := partition.Records
		if len(records) == 0 {
			return
		}
		last := records[len(records)-1]
		if polled.next[partition.Topic] == nil {
			polled.next[partition.Topic] = make(map[int32]kgo.EpochOffset)
		}
		polled.next[partition.Topic][partition.Partition] = kgo.EpochOffset{Epoch: last.LeaderEpoch, Offset: last.Offset + 1}
		polled.acknowledged.Add(len(records))
	})
	if len(polled.next) == 0 {
		return
	}
	r.inFlight.Add(1)
	select {
	case r.batches <- polled:
	case <-ctx.Done():
		return
	}
	fetches.EachPartition(func(partition kgo.FetchTopicPartition) {
		// One allocation for all values of a partition.
		size := 0
		for _, record := range partition.Records {
			size += len(evenPrefix) + len(record.Value)
		}
		values := make([]byte, 0, size)
		for _, record := range partition.Records {
			topic, prefix := r.even, evenPrefix
			var last byte
			if len(record.Value) > 0 {
				last = record.Value[len(record.Value)-1]
			}
			if last < '0' || last > '9' {
				// Neither even nor odd: skipped.
				polled.acknowledged.Done()
				continue
			}
			if last&1 == 1 {
				topic, prefix = r.odd, oddPrefix
			}
			start := len(values)
			values = append(append(values, prefix...), record.Value...)
			record.Topic, record.Value = topic, values[start:len(values):len(values)]
			r.client.Produce(ctx, record, done)
		}
	})
}

// Marks acknowledged polls, in order.
func (r *router) mark(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case polled := <-r.batches:
			polled.acknowledged.Wait()
			r.client.MarkCommitOffsets(polled.next)
			r.inFlight.Done()
		}
	}
}

// Waits for the records in flight and commits.
func (r *router) drain(ctx context.Context) error {
	arrived := make(chan struct{})
	go func() {
		r.inFlight.Wait()
		close(arrived)
	}()
	select {
	case <-arrived:
	case <-ctx.Done():
	}
	return r.client.CommitMarkedOffsets(ctx)
}
