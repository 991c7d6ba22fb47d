# Faults of brokers. Sourced by `run`, as `process.sh` is.

# The broker stops in order and starts again; the router waits for it, alive.
broker_stopped() { restarts broker_stopped TERM "broker: stopped, started again"; }
# It is killed.
broker_killed() { restarts broker_killed KILL "broker: kill -9, started again"; }
restarts() {
    local name=$1 signal=$2 times
    times=$(pick 10 2)
    stream "$name" 4
    router "$name"
    ready
    feed "$name"
    for ((i = 0; i < times; i++)); do
        routed_on "$name" $((RANDOM % 20000))
        kill "-$signal" "$(cat "$data/pid")"
        until_true 60 not broker_runs || fail "the broker does not end"
        until_true 30 not probe readiness || fail "ready without a broker"
        probe liveness || fail "dead without a broker"
        broker_start
        ready
    done
    fed
    check "$name" "$3" "$times" 0
    stop
}

