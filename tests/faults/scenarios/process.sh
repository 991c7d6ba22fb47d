# Faults of the router's own process. Sourced by `run`, which calls each by its name in a shell of its own.

CONSUMER=spring.cloud.stream.kafka.binder.consumerProperties

# SIGKILL every two seconds. A static member has its partitions back at once: another one would wait for the session of the one that is gone.
# Routed again is at most what the last commit did not have, by the broker's account.
killed() {
    local times allowed
    times=$(pick 30 5)
    stream killed 4
    fill killed "$records"
    feed killed 0
    for ((i = 0; i < times; i++)); do
        router killed "--$CONSUMER.group.instance.id=one"
        # The fault is the time.
        sleep 2
        router_kill
    done
    allowed=$(faults uncommitted "$broker" killed killed-in killed-even killed-odd error.killed-in.killed)
    router killed "--$CONSUMER.group.instance.id=one"
    fed
    say "kill -9: $allowed records routed, but not committed"
    check killed "router: kill -9" "$times" "$allowed"
    stop
}

# Stops in order in mid-stream, and starts again: nothing is routed twice.
stopped() {
    local times
    times=$(pick 30 5)
    stream stopped 4
    feed stopped
    for ((i = 0; i < times; i++)); do
        router stopped
        ready
        # Anywhere in the stream.
        routed_on stopped $((RANDOM % 20000))
        stop
    done
    router stopped
    fed
    check stopped "router: SIGTERM, started again" "$times" 0
    stop
}

# Waits until so many records more are routed.
routed_on() {
    local there
    there=$(judge count "$broker" "$1-even,$1-odd")
    judge await "$broker" "$1-even,$1-odd" $((there + $2)) || fail "nothing more is routed"
}

# Routers come and go, up to six on twelve partitions, every third one that goes by SIGKILL.
storm() {
    local changes kills=0 routers=() counts=(1 6 2 4) target i
    changes=$(pick 20 6)
    stream storm 12
    fill storm "$records"
    feed storm 0
    for ((i = 0; i < changes; i++)); do
        target=${counts[i % 4]}
        while [ ${#routers[@]} -lt "$target" ]; do
            router storm "--$CONSUMER.session.timeout.ms=6000" "--$CONSUMER.heartbeat.interval.ms=1000"
            routers+=("$router_pid:$router_log:$router_port")
        done
        while [ ${#routers[@]} -gt "$target" ]; do
            # The oldest: it can be the group's leader.
            of "${routers[0]}"
            routers=("${routers[@]:1}")
            if [ $((RANDOM % 3)) = 0 ]; then
                router_kill
                kills=$((kills + 1))
            else
                stop
            fi
        done
        # Now and then the next change comes while the group still settles.
        [ $((RANDOM % 2)) = 0 ] || { of "${routers[-1]}"; ready; }
    done
    fed
    check storm "rebalance storm, $kills kill -9 in it" "$changes" "$([ "$kills" = 0 ] && echo 0 || echo $ANY)"
    for i in "${routers[@]}"; do of "$i"; stop; done
}

# The router of an entry as `process id:log:port`.
of() { IFS=: read -r router_pid router_log router_port <<<"$1"; }

# One of two is frozen for longer than its session: the other has its partitions, and when it goes on it must not write over that.
frozen() {
    local times first second i
    times=$(pick 5 1)
    stream frozen 4
    router frozen "--$CONSUMER.session.timeout.ms=6000" "--$CONSUMER.heartbeat.interval.ms=1000"
    ready
    first=$router_pid:$router_log:$router_port
    router frozen "--$CONSUMER.session.timeout.ms=6000" "--$CONSUMER.heartbeat.interval.ms=1000"
    ready
    second=$router_pid:$router_log:$router_port
    feed frozen
    for ((i = 0; i < times; i++)); do
        until_true 60 has_members frozen 2 || fail "not two in the group"
        routed_on frozen 10000
        of "$first"
        kill -STOP "$router_pid"
        until_true 60 has_members frozen 1 || fail "the frozen one is still in the group"
        routed_on frozen 10000
        kill -CONT "$router_pid"
    done
    until_true 60 has_members frozen 2 || fail "it does not come back"
    fed
    check frozen "router: frozen beyond its session" "$times" $ANY
    of "$first"
    stop
    of "$second"
    stop
}
has_members() { [ "$(faults members "$broker" "$1")" = "$2" ]; }

# One record in ten is nobody's.
poison() {
    stream poison 4
    fill poison $((records / 2)) 10
    router poison
    feed poison $((records / 2)) 0 10
    fed
    check poison "poison records" $((records / 10)) 0
    stop
    local lines
    lines=$(grep -c 'dead-letter topic' "$router_log")
    [ "$lines" -lt 120 ] || fail "$lines lines about dead letters"
}
