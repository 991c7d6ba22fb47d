# Faults of the network between router and broker, made by `proxy.py`. Sourced by `run`, which calls each scenario by its name in a
# subshell.

# Starts a router whose connections go through the proxy, which forwards everything at first.
router_behind() {
    local broker=$behind
    network pass
    router "$@"
    ready
}

network() {
    local answer
    exec 3<>"/dev/tcp/127.0.0.1/$control"
    printf '%s\n' "$*" >&3
    read -r answer <&3
    exec 3>&-
    [ "$answer" = ok ] || fail "the proxy refuses the fault $*"
}

# Connections are closed and new ones refused. 60 s are longer than the session timeout: the group revokes the partitions, and records
# without a committed offset are routed again.
network_cut() {
    if [ -z "$short" ]; then
        outages "network: cut for 1, 10 and 60 s" cut $ANY 1 10 60
    else
        outages "network: cut for 1 and 10 s" cut 0 1 10
    fi
}

# Connections stay open, but nothing passes any more, until the router's requests time out.
network_half_open() {
    if [ -z "$short" ]; then
        outages "network: half-open for 60 s" half-open $ANY 60
    else
        outages "network: half-open for 10 s" half-open 0 10 "--$BINDER.request.timeout.ms=4000"
    fi
}

outages() {
    local fault=$1 mode=$2 allowed=$3 times=() seconds
    shift 3
    while [[ ${1:-} =~ ^[0-9]+$ ]]; do times+=("$1"); shift; done
    stream 4
    router_behind "$@"
    feed
    for seconds in "${times[@]}"; do
        routed_on 10000
        network "$mode"
        # The time is part of the fault.
        sleep "$seconds"
        if [ "$seconds" -ge 10 ]; then
            until_true 30 not probe readiness || fail "ready without a network"
        fi
        probe liveness || fail "not live without a network"
        network pass
        routed_on 10000
        ready
    done
    fed
    check "$fault" "${#times[@]}" "$allowed"
    stop
}

# Data arrives late: the router makes progress and stays ready.
network_loss() { hampered "network: 10 % lost" loss 10; }
network_delay() { hampered "network: 200 ms of delay" delay 200; }
hampered() {
    stream 4
    router_behind
    feed
    for ((i = 0; i < $(pick 3 1); i++)); do
        routed_on 10000
        network "$2" "$3"
        routed_on 1000
        sleep "$(pick 20 5)"
        routed_on 1000
        probe readiness || fail "not ready although it makes progress"
        network pass
    done
    fed
    check "$1" "$(pick 3 1)" 0
    stop
}

# 64 kbit/s for a while. Requests are limited in size, as a user would do for such a network.
network_slow() {
    stream 4
    router_behind "--$CONSUMER.fetch.max.bytes=20000" "--$PRODUCER.batch.size=20000"
    feed
    routed_on 10000
    network rate 8000
    sleep "$(pick 60 10)"
    routed_on 200
    probe liveness || fail "not live because of a slow network"
    network pass
    routed_on 10000
    fed
    check "network: 64 kbit/s for $(pick 60 10) s" 1 0
    stop
}
