# Faults of topics and records. Sourced by `run`, which calls each scenario by its name in a subshell.

# One record in ten cannot be routed.
poison() {
    stream 4
    fill $((records / 2)) 10
    router
    feed $((records / 2)) 10
    fed
    check "poison records" $((records / 10)) 0
    stop
    local lines
    lines=$(grep -c 'dead-letter topic' "$router_log")
    [ "$lines" -lt 120 ] || fail "$lines log lines about dead letters"
}

# The broker's access control lists deny the router one of its topics after the other: it ends with a message that names the topic, and does
# not commit what it could not write. Then access is allowed again and the router is restarted.
refused() {
    local allowed=0 ends=0 denied topic operation status
    broker_config
    cat >>"$data/server.properties" <<P
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
P
    broker_start
    started+=("$(cat "$data/pid")")
    stream 4
    feed "$records" 1000
    for denied in "WRITE $scenario-even" "WRITE error.$scenario-in.$scenario" "WRITE $scenario-odd" "READ $scenario-in" "ALL $scenario-even" \
        "ALL error.$scenario-in.$scenario"; do
        read -r operation topic <<<"$denied"
        router
        ready
        routed_on 10000
        faults deny "$broker" "$topic" "$operation" || fail "access could not be denied"
        until_true 60 has_ended || fail "$denied is denied, and the router does not end"
        router_wait
        [ "$status" = 1 ] || fail "$denied is denied, and the router ends with $status"
        grep -q "ERROR.*$topic" "$router_log" || fail "the log does not name $topic"
        faults allow "$broker" "$topic" || fail "access could not be allowed"
        allowed=$((allowed + $(uncommitted)))
        ends=$((ends + 1))
    done
    router
    fed
    check "topics: access denied by the broker" "$ends" "$allowed"
    stop
}

# Unread records are deleted while the router is frozen. It continues at the earliest record, or at the latest, and reports exactly the
# number of records that it missed.
retention() {
    local deleted missed
    stream 4
    router
    ready
    fill 4000
    routed 4000
    kill -STOP "$router_pid"
    fill "$records"
    deleted=$(faults delete "$broker" "$scenario-in" 1000)
    kill -CONT "$router_pid"
    fill "$records"
    check "input: $deleted records deleted before they were read" 1 0
    missed=$(counter missed)
    [ "$missed" -gt 0 ] || fail "missed records are not counted"
    [ $(($(counter input) + missed)) = "$next" ] || fail "$(counter input) read and $missed missed, of $next"
    grep -q 'out of range.*records lost' "$router_log" || fail "missed records are not logged"
    stop
}
retention_latest() {
    local missed
    stream 4
    router --spring.cloud.stream.kafka.bindings.input.consumer.startOffset=latest
    ready
    fill 4000
    routed 4000
    kill -STOP "$router_pid"
    fill "$records"
    faults delete "$broker" "$scenario-in" 1000 >/dev/null
    kill -CONT "$router_pid"
    until_true 60 has_missed || fail "missed records are not counted"
    missed=$(counter missed)
    fill 4000
    until_true 60 adds_up || fail "$(counter input) read and $(counter missed) missed, of $next"
    [ "$(counter missed)" = "$missed" ] || fail "later records are missed too"
    stop
}
has_missed() { [ "$(counter missed)" -gt 0 ]; }
adds_up() { [ $(($(counter input) + $(counter missed))) = "$next" ]; }

# The input topic is deleted, recreated and extended by partitions while it is read.
topics() {
    local i
    stream 2
    router "${METADATA_AGE[@]}" --spring.cloud.stream.kafka.binder.autoCreateTopics=false
    ready
    for ((i = 0; i < $(pick 5 1); i++)); do
        fill $((records / 4))
        routed_all
        judge delete-topic "$broker" "$scenario-in" || fail "delete"
        judge topic "$broker" "$scenario-in" 2 || fail "topic"
        fill $((records / 4))
        routed_all
        judge grow "$broker" "$scenario-in" 4 || fail "new partitions"
        fill $((records / 4))
        routed_all
    done
    check "input: deleted, recreated, partitions added" "$(pick 5 1)" 0
    stop
}

# An output topic is deleted while records arrive: they wait, and the router logs for what, until the topic is recreated. The check covers
# only records from then on, because the earlier outputs are deleted with the topic.
outputs() {
    local i
    stream 4
    router "${METADATA_AGE[@]}" --parity-router.stall-timeout=2s
    ready
    for ((i = 0; i < $(pick 5 1); i++)); do
        fill $((records / 4))
        routed_all
        faults empty "$broker" "$scenario-in" "$scenario-even" "$scenario-odd"
        judge delete-topic "$broker" "$scenario-even" || fail "delete"
        fill $((records / 4))
        until_true 30 not probe readiness || fail "ready without an output topic"
        probe liveness || fail "not live without an output topic"
        until_true 10 grep -q "WARN.*produce $scenario-even-0 failed: UNKNOWN_TOPIC_OR_PARTITION" "$router_log" || fail "the log does not name the missing topic"
        until_true 10 grep -q "WARN.*stalled: no progress for 2s: .*$scenario-in-[0-3] " "$router_log" || fail "the log does not name the stalled partition"
        judge topic "$broker" "$scenario-even" 1 || fail "topic"
        routed_all
        ready
    done
    fill "$records"
    routed_all
    check "output: deleted, recreated" "$(pick 5 1)" 0
    stop
}

# The even topic is throttled to a hundredth of the input rate: the odd records wait too, but memory stays bounded and the router stays in
# the group.
slow() {
    local before after
    stream 4
    # Bytes per second: a hundredth of half the records of 44 bytes. In the short form more, because the broker's throttle times are long.
    faults quota "$broker" parity-router-producer-even $((rate * 22 * $(pick 1 5) / 100))
    router "${SHORT_SESSION[@]}"
    ready
    feed
    routed_on 1000
    before=$(joined)
    sleep "$(pick 60 20)"
    has_members 1 || fail "the router left the group"
    [ "$(joined)" = "$before" ] || fail "the router left the group meanwhile"
    after=$(resident)
    [ "$after" -lt 26000 ] || fail "$after KiB of memory"
    routed_on 100
    probe liveness || fail "not live because of a slow topic"
    faults quota "$broker" parity-router-producer-even none
    fed
    check "even topic: throttled to $(pick 1 5) % for $(pick 60 20) s, $after KiB of memory" 1 0
    stop
}
joined() { grep -c 'joined group' "$router_log" || true; }
