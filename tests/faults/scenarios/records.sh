# Faults of topics and records. Sourced by `run`, as `process.sh` is.

# One record in ten is nobody's.
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
    [ "$lines" -lt 120 ] || fail "$lines lines about dead letters"
}

# The broker's access control lists forbid what the router needs, a topic of its after the other: it ends, with a message that names the
# topic, and what is not there is not committed. When it is allowed again, it is started again.
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
        faults deny "$broker" "$topic" "$operation" || fail "not denied"
        until_true 60 has_ended || fail "$denied is denied, and it does not end"
        router_wait
        [ "$status" = 1 ] || fail "$denied is denied, and it ends with $status"
        grep -q "ERROR.*$topic" "$router_log" || fail "it does not name $topic"
        faults allow "$broker" "$topic" || fail "not allowed"
        allowed=$((allowed + $(uncommitted)))
        ends=$((ends + 1))
    done
    router
    fed
    check "topics: access denied by the broker" "$ends" "$allowed"
    stop
}

# What was not read yet is deleted while the router is frozen. It goes on at the earliest record that is left, or at the latest, and says how
# many it has missed: no more and no less.
retention() {
    local gone missed
    stream 4
    router
    ready
    fill 4000
    routed 4000
    kill -STOP "$router_pid"
    fill "$records"
    gone=$(faults delete "$broker" "$scenario-in" 1000)
    kill -CONT "$router_pid"
    fill "$records"
    check "input: $gone records deleted before they were read" 1 0
    missed=$(counter missed)
    [ "$missed" -gt 0 ] || fail "it does not count what it has missed"
    [ $(($(counter input) + missed)) = "$next" ] || fail "$(counter input) read and $missed missed, of $next"
    grep -q 'out of range.*records missed' "$router_log" || fail "it does not say so"
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
    until_true 60 has_missed || fail "it does not count what it has missed"
    missed=$(counter missed)
    fill 4000
    until_true 60 adds_up || fail "$(counter input) read and $(counter missed) missed, of $next"
    [ "$(counter missed)" = "$missed" ] || fail "it misses what comes later"
    stop
}
has_missed() { [ "$(counter missed)" -gt 0 ]; }
adds_up() { [ $(($(counter input) + $(counter missed))) = "$next" ]; }

# The input is deleted and made again while it is read, and gets more partitions.
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
    check "input: deleted, made again, partitions added" "$(pick 5 1)" 0
    stop
}

# An output is deleted while records come: they wait, and the router says for what, until it is made again. (What was in it is gone, so that
# it is judged by what comes from then on.)
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
        until_true 30 not probe readiness || fail "ready without an output"
        probe liveness || fail "dead without an output"
        until_true 10 grep -q "WARN.*$scenario-even-0: UNKNOWN_TOPIC_OR_PARTITION" "$router_log" || fail "it does not say what is missing"
        until_true 10 grep -q "WARN.*stalled: no progress for 2s: .*$scenario-in-[0-3] " "$router_log" || fail "it does not name what is stalled"
        judge topic "$broker" "$scenario-even" 1 || fail "topic"
        routed_all
        ready
    done
    fill "$records"
    routed_all
    check "output: deleted, made again" "$(pick 5 1)" 0
    stop
}

# The even topic is throttled to a hundredth of what comes: the odd records wait with it, but no memory is filled and the group is not left.
slow() {
    local before after
    stream 4
    # Bytes a second: a hundredth of what comes in half the records of 44 bytes; in the short form more, for the broker lets wait for long.
    faults quota "$broker" parity-router-producer-even $((rate * 22 * $(pick 1 5) / 100))
    router "${SHORT_SESSION[@]}"
    ready
    feed
    routed_on 1000
    before=$(joined)
    sleep "$(pick 60 10)"
    has_members 1 || fail "the group is left"
    [ "$(joined)" = "$before" ] || fail "the group was left in between"
    after=$(resident)
    [ "$after" -lt 26000 ] || fail "$after KiB of memory"
    routed_on 100
    probe liveness || fail "dead because of a slow topic"
    faults quota "$broker" parity-router-producer-even none
    fed
    check "even topic: throttled to $(pick 1 5) % for $(pick 60 10) s, $after KiB of memory" 1 0
    stop
}
joined() { grep -c 'of generation' "$router_log" || true; }
