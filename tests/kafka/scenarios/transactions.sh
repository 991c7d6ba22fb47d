# Scenarios of exactly once. Sourced by `run`, which calls each scenario by its name in a subshell. The checks read committed records only.

TRANSACTIONS=--spring.cloud.stream.kafka.binder.transaction.transaction-id-prefix

# Routes at full speed in transactions.
transactions() { stream_of "$(scaled 1000000)" "$default_bin" transactions "$TRANSACTIONS=tx-"; }

# Is killed twice in the middle of the stream, then stopped, and then joined by a second router: every record arrives exactly once. The
# group waits for a killed member until its session times out, and for its open transactions at most as long.
exactly_once() {
    local options=("$TRANSACTIONS=tx-" "--$CONSUMER.session.timeout.ms=6000") first count
    judge topic "$broker" once-in 4
    start_producing once-in 0 "$(scaled 1000000)" "$(scaled 100000)"
    for count in 100000 300000; do
        router "$default_bin" once "${options[@]}"
        routed once "$(scaled "$count")"
        router_kill
    done
    router "$default_bin" once "${options[@]}"
    routed once "$(scaled 500000)"
    router_stop
    router "$default_bin" once "${options[@]}"
    routed once "$(scaled 600000)"
    first=$router_pid:$router_log
    router "$default_bin" once "${options[@]}"
    produced
    check once once
    router_stop
    routers_stop "$first"
}
