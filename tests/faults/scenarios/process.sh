# Faults of the router's own process. Sourced by `run`, which calls each by its name in a shell of its own.

BINDER=spring.cloud.stream.kafka.binder.configuration
CONSUMER=spring.cloud.stream.kafka.binder.consumerProperties
PRODUCER=spring.cloud.stream.kafka.binder.producerProperties
SHORT_SESSION=("--$CONSUMER.session.timeout.ms=6000" "--$CONSUMER.heartbeat.interval.ms=1000")
METADATA_AGE=("--$BINDER.metadata.max.age.ms=2000")

# SIGKILL every two seconds. A static member has its partitions back at once: another one would wait for the session of the one that is gone.
# Routed again is at most what the last commit did not have, by the broker's account.
killed() {
    local times allowed
    times=$(pick 30 5)
    stream 4
    fill "$records"
    feed 0
    for ((i = 0; i < times; i++)); do
        router "--$CONSUMER.group.instance.id=one"
        # The fault is the time.
        sleep 2
        router_kill
    done
    allowed=$(uncommitted)
    router "--$CONSUMER.group.instance.id=one"
    fed
    say "kill -9: $allowed records routed, but not committed"
    check "router: kill -9" "$times" "$allowed"
    stop
}

# Stops in order in mid-stream, and starts again: nothing is routed twice.
stopped() {
    local times
    times=$(pick 30 5)
    stream 4
    feed
    for ((i = 0; i < times; i++)); do
        router
        ready
        # Anywhere in the stream.
        routed_on $((RANDOM % 20000))
        stop
    done
    router
    fed
    check "router: SIGTERM, started again" "$times" 0
    stop
}

# Routers come and go, up to six on twelve partitions, every third one that goes by SIGKILL. By the group protocol of old, and by that of
# KIP-848, whose timeouts are the broker's.
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
            # The oldest: it can be the group's leader.
            of "${routers[0]}"
            routers=("${routers[@]:1}")
            if [ $((RANDOM % 3)) = 0 ]; then
                router_kill
                kills=$((kills + 1))
                allowed=$((allowed + $(uncommitted)))
            else
                stop
            fi
        done
        # Now and then the next change comes while the group still settles.
        [ $((RANDOM % 2)) = 0 ] || { of "${routers[-1]}"; ready; }
    done
    fed
    check "rebalance storm$how, $kills kill -9 in it" "$changes" "$allowed"
    for i in "${routers[@]}"; do of "$i"; stop; done
}

# The router of an entry as `process id:log:port`.
of() { IFS=: read -r router_pid router_log router_port <<<"$1"; }

# One of two is frozen for longer than its session: the other has its partitions, and when it goes on it must not write over that.
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
        until_true 60 has_members 2 || fail "not two in the group"
        routed_on 10000
        of "$first"
        kill -STOP "$router_pid"
        until_true 60 has_members 1 || fail "the frozen one is still in the group"
        routed_on 10000
        kill -CONT "$router_pid"
    done
    until_true 60 has_members 2 || fail "it does not come back"
    fed
    check "router: frozen beyond its session" "$times" $ANY
    of "$first"
    stop
    of "$second"
    stop
}
has_members() { [ "$(faults members "$broker" "$scenario")" = "$1" ]; }

# File descriptors enough for some of what the router opens, and less and less: it works, or ends with a sentence.
descriptors() { scant "router: too few file descriptors" nofile 1024 96 95 64 16 8 5 4; }
# Memory that it may map: what it works in, and less and less.
memory() { scant "router: too little memory" as 1000000000 60000000 40000000 30000000 24000000 20000000 16000000 12000000 8000000; }

# Starts a router with each of these limits in turn: it routes and stops in order, or ends by itself with a message.
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
        until_true 60 ended_or_routed || fail "with $limit it neither works nor ends"
        if ! has_ended; then
            stop
            worked=$((worked + 1))
        else
            router_wait
            [ "$status" != 0 ] || fail "with $limit it ends as if all were well"
            [ -s "$router_log" ] || fail "with $limit it ends with $status and without a word"
            ended=$((ended + 1))
        fi
    done
    [ "$worked" -gt 0 ] || fail "it never works"
    [ "$ended" -gt 0 ] || fail "there is always enough"
    router
    # The limits that it ended with may have ended it after it had sent something.
    check "$fault: $worked times it works, $ended times it ends with a message" "$((worked + ended))" $ANY
    stop
}
ended_or_routed() { has_ended || is_committed; }
# A process that nobody has waited for yet is still there, as a zombie.
has_ended() { [ ! -e "/proc/$router_pid" ] || grep -q '^State:.*zombie' "/proc/$router_pid/status"; }

# The wall clock jumps, two hours to and fro, once a second.
clock() {
    local library shift
    install_package faketime
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
        probe readiness || fail "unready because of the clock"
    done
    fed
    [ "$(joined)" = 1 ] || fail "the group was left"
    check "router: clock jumps by two hours" "$(pick 30 6)" 0
    stop
}

# A long time at 20,000 records a second, in slices. A backlog comes first, so that buffers have the size that full speed needs: when
# a busy machine has them grow is a matter of chance. From then on there is no more memory, and there are no more threads and descriptors.
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
        [ "$now" -le $((memory + 512)) ] || fail "more memory: $now KiB, $memory KiB after the backlog"
    done
    [ "$(threads)" = "$threads" ] || fail "$(threads) threads, $threads at first"
    [ "$(descriptors_open)" -le "$descriptors" ] || fail "$(descriptors_open) descriptors, $descriptors at first"
    [ -z "$row" ] || printf '| %s | %s | %s | 0 | 0 | 0 |\n' \
        "none: soak at $rate records/s for $((slices * 100)) s, then $now KiB, $memory KiB at first" 1 "$total" >>"$row"
    stop
}

fill_at_rate() {
    next=$(faults feed "$broker" "$scenario-in" "$next" "$1" "$rate" 0) || fail "the feeder"
}
resident() { awk '/^VmRSS/ { print $2 }' "/proc/$router_pid/status"; }
threads() { awk '/^Threads/ { print $2 }' "/proc/$router_pid/status"; }
descriptors_open() { ls "/proc/$router_pid/fd" | wc -l; }
