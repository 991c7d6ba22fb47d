# Faults of the router's own process. Sourced by `run`, which calls each scenario by its name in a subshell.

BINDER=spring.cloud.stream.kafka.binder.configuration
CONSUMER=spring.cloud.stream.kafka.binder.consumerProperties
PRODUCER=spring.cloud.stream.kafka.binder.producerProperties
SHORT_SESSION=("--$CONSUMER.session.timeout.ms=6000" "--$CONSUMER.heartbeat.interval.ms=1000")
METADATA_AGE=("--$BINDER.metadata.max.age.ms=2000")

# SIGKILL every two seconds. A static member gets its partitions back at once; any other one would wait for the killed member's session
# timeout. At most the records above the offsets committed at the broker are routed again.
killed() {
    local times allowed
    times=$(pick 30 5)
    stream 4
    fill "$records"
    feed 0
    for ((i = 0; i < times; i++)); do
        router "--$CONSUMER.group.instance.id=one"
        # The time is part of the fault.
        sleep 2
        router_kill
    done
    allowed=$(uncommitted)
    router "--$CONSUMER.group.instance.id=one"
    fed
    say "kill -9: $allowed records were routed but not committed"
    check "router: kill -9" "$times" "$allowed"
    stop
}

# SIGTERM in the middle of the stream and a restart: nothing is routed twice.
stopped() {
    local times
    times=$(pick 30 5)
    stream 4
    feed
    for ((i = 0; i < times; i++)); do
        router
        ready
        # At any point of the stream.
        routed_on $((RANDOM % 20000))
        stop
    done
    router
    fed
    check "router: SIGTERM, started again" "$times" 0
    stop
}

# Routers join and leave, up to six on twelve partitions, a third of the leaving ones by SIGKILL; with the classic group protocol, and with
# that of KIP-848, whose timeouts are set at the broker.
storm() { storm_with "" "${SHORT_SESSION[@]}"; }
storm_kip848() { storm_with " by KIP-848" "--$CONSUMER.group.protocol=consumer"; }
storm_with() {
    local how=$1 membership=("${@:2}")
    local changes kills=0 allowed=0 routers=() counts=(1 6 2 4) target i
    changes=$(pick 20 6)
    stream 12
    fill "$records"
    feed 0
    for ((i = 0; i < changes; i++)); do
        target=${counts[i % 4]}
        while [ ${#routers[@]} -lt "$target" ]; do
            router "${membership[@]}"
            routers+=("$router_pid:$router_log:$router_port")
        done
        while [ ${#routers[@]} -gt "$target" ]; do
            # The oldest one, which may be the group's leader.
            use_router "${routers[0]}"
            routers=("${routers[@]:1}")
            if [ $((RANDOM % 3)) = 0 ]; then
                router_kill
                kills=$((kills + 1))
                allowed=$((allowed + $(uncommitted)))
            else
                stop
            fi
        done
        # In half of the cases the next change comes during the rebalance.
        [ $((RANDOM % 2)) = 0 ] || { use_router "${routers[-1]}"; ready; }
    done
    fed
    check "rebalance storm$how, $kills kill -9 in it" "$changes" "$allowed"
    for i in "${routers[@]}"; do use_router "$i"; stop; done
}

# Selects a router, given as "process id:log:port".
use_router() { IFS=: read -r router_pid router_log router_port <<<"$1"; }

# One of two routers is frozen for longer than its session timeout and the other one takes over its partitions. When the frozen one resumes,
# it must not overwrite the committed offsets.
frozen() {
    local times first second i
    times=$(pick 5 1)
    stream 4
    router "${SHORT_SESSION[@]}"
    ready
    first=$router_pid:$router_log:$router_port
    router "${SHORT_SESSION[@]}"
    ready
    second=$router_pid:$router_log:$router_port
    feed
    for ((i = 0; i < times; i++)); do
        until_true 60 has_members 2 || fail "the group does not have two members"
        routed_on 10000
        use_router "$first"
        kill -STOP "$router_pid"
        until_true 60 has_members 1 || fail "the frozen router is still in the group"
        routed_on 10000
        kill -CONT "$router_pid"
    done
    until_true 60 has_members 2 || fail "the frozen router does not rejoin"
    fed
    check "router: frozen beyond its session" "$times" $ANY
    use_router "$first"
    stop
    use_router "$second"
    stop
}
has_members() { [ "$(faults members "$broker" "$scenario")" = "$1" ]; }

# Fewer and fewer file descriptors: the router works, or ends with a message.
descriptors() { scant "router: too few file descriptors" nofile 1024 96 95 64 16 8 5 4; }
# A smaller and smaller limit of mapped memory.
memory() { scant "router: too little memory" as 1000000000 60000000 40000000 30000000 24000000 20000000 16000000 12000000 8000000; }

# Starts a router with each of the limits in turn: it routes and stops cleanly, or ends by itself with a message.
scant() {
    local fault=$1 resource=$2 limit worked=0 ended=0 status
    shift 2
    stream 4
    for limit; do
        fill $((records / 8))
        router_log=$(new_log "$scenario")
        env -i prlimit "--$resource=$limit" "$default_bin" --server.port=0 "--spring.cloud.stream.kafka.binder.brokers=$broker" \
            "${bindings[@]}" >"$router_log" 2>&1 &
        router_pid=$!
        started+=("$router_pid")
        until_true 60 ended_or_routed || fail "with $limit it neither routes nor ends"
        if ! has_ended; then
            stop
            worked=$((worked + 1))
        else
            router_wait
            [ "$status" != 0 ] || fail "with $limit it ends with status 0"
            [ -s "$router_log" ] || fail "with $limit it ends with $status and without a message"
            ended=$((ended + 1))
        fi
    done
    [ "$worked" -gt 0 ] || fail "no limit is large enough"
    [ "$ended" -gt 0 ] || fail "no limit is too small"
    router
    # A limit may have ended it after it had sent records.
    check "$fault: $worked times it works, $ended times it ends with a message" "$((worked + ended))" $ANY
    stop
}
ended_or_routed() { has_ended || is_committed; }
# An ended process stays in the process table, as a zombie, until this shell waits for it.
has_ended() { [ ! -e "/proc/$router_pid" ] || grep -q '^State:.*zombie' "/proc/$router_pid/status"; }

# The wall clock jumps two hours forward and back, once a second.
clock() {
    local library shift
    [ -n "$(find /usr/lib -name libfaketime.so.1)" ] || install_packages faketime
    library=$(find /usr/lib -name libfaketime.so.1 | head -1)
    stream 4
    echo +0 >"$work/clock"
    under LD_PRELOAD="$library" "FAKETIME_TIMESTAMP_FILE=$work/clock" FAKETIME_NO_CACHE=1 DONT_FAKE_MONOTONIC=1 -- \
        "${SHORT_SESSION[@]}"
    ready
    feed
    for ((i = 0; i < $(pick 30 6); i++)); do
        shift=$([ $((i % 2)) = 0 ] && echo +2h || echo -2h)
        echo "$shift" >"$work/clock"
        sleep 1
        routed_on 1000
        probe readiness || fail "not ready after a clock jump"
    done
    fed
    [ "$(joined)" = 1 ] || fail "the router left the group"
    check "router: clock jumps by two hours" "$(pick 30 6)" 0
    stop
}

# A long run at 20,000 records per second, in slices. A backlog before it lets the buffers grow to the size that full speed needs, which
# would otherwise happen at a random moment. After it, memory, threads and descriptors must not grow.
soak() {
    local slices=$(($(pick 7200 600) / 100)) memory threads descriptors now i total=0 row=$table
    rate=20000
    stream 4
    router
    ready
    kill -STOP "$router_pid"
    fill 1000000
    kill -CONT "$router_pid"
    routed_all
    memory=$(resident) threads=$(threads) descriptors=$(descriptors_open)
    say "after a backlog: $memory KiB, $threads threads, $descriptors descriptors"
    table=
    for ((i = 1; i <= slices; i++)); do
        faults empty "$broker" "$scenario-in" "$scenario-even" "$scenario-odd"
        next=0
        fill_at_rate $((rate * 100))
        check "slice $i of $slices" 1 0
        total=$((total + next))
        now=$(resident)
        say "$now KiB, $(threads) threads, $(descriptors_open) descriptors"
        [ "$now" -le $((memory + 512)) ] || fail "memory grew from $memory KiB after the backlog to $now KiB"
    done
    [ "$(threads)" = "$threads" ] || fail "threads grew from $threads to $(threads)"
    [ "$(descriptors_open)" -le "$descriptors" ] || fail "descriptors grew from $descriptors to $(descriptors_open)"
    [ -z "$row" ] || printf '| %s | %s | %s | 0 | 0 | 0 |\n' \
        "none: soak at $rate records/s for $((slices * 100)) s, then $now KiB, $memory KiB at first" 1 "$total" >>"$row"
    stop
}

fill_at_rate() {
    next=$(faults feed "$broker" "$scenario-in" "$next" "$1" "$rate" 0) || fail "the producer failed"
}
resident() { awk '/^VmRSS/ { print $2 }' "/proc/$router_pid/status"; }
threads() { awk '/^Threads/ { print $2 }' "/proc/$router_pid/status"; }
descriptors_open() { ls "/proc/$router_pid/fd" | wc -l; }
