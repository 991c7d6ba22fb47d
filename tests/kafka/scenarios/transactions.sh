# Scenarios of exactly once. Sourced by `run`, which calls each by its name in a shell of its own. The judge reads what is committed.

TRANSACTIONS=--spring.cloud.stream.kafka.binder.transaction.transaction-id-prefix

# A million records at full speed, in transactions.
transactions() { a_million "$default_bin" transactions "$TRANSACTIONS=tx-"; }

# Killed in mid-stream, twice, then stopped in order, and joined by another one: every record once all the same. (The group waits for the
# one that is gone as long as its session's timeout; and for what it has left open, that long at most, too.)
exactly_once() {
    local options=("$TRANSACTIONS=tx-" "--$CONSUMER.session.timeout.ms=6000")
    judge topic "$broker" once-in 4
    produce once-in 0 1000000 100000 &
    local producer=$! first
    for count in 100000 300000; do
        router "$default_bin" once "${options[@]}"
        routed once "$count"
        router_kill
    done
    router "$default_bin" once "${options[@]}"
    routed once 500000
    router_stop
    router "$default_bin" once "${options[@]}"
    routed once 600000
    first=$router_pid:$router_log
    router "$default_bin" once "${options[@]}"
    wait "$producer" || fail "the producer"
    check once once
    router_stop
    routers_stop "$first"
}
