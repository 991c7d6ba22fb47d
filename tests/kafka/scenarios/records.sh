# Scenarios of records: what topics may hold that is rare, and in which form the outputs are written. Sourced by `run`, as `basic.sh` is.

# Two routers, one of each client, on the same topics full of oddities (`Oddities.java`), before and while they are written. What each of
# them makes of it is what Java's consumer says, and the two are equal record by record, in order, dead letters included. Two things are
# not: a timestamp of 0 is none for librdkafka and becomes the current time, which `same` and `check` let pass; and the build's librdkafka
# reads no zstd, which therefore has topics of its own and only the other client.
differential() {
    local seed=${SEED:-$(date +%s)} codecs=none,gzip,snappy,lz4 large=max.message.bytes=12000000 kind topic fidelity routers=() differing=()
    # Batches may be larger here than in the outputs, and than what a client wants of a fetch.
    judge topic "$broker" diff-plain 1 "$large"
    judge topic "$broker" diff-zstd 1 "$large"
    judge topic "$broker" diff-append 1 "$large" message.timestamp.type=LogAppendTime
    judge topic "$broker" diff-compact 1 cleanup.policy=compact segment.ms=5000 min.cleanable.dirty.ratio=0.001
    judge compacted "$broker" diff-compact "$seed" "$codecs" || fail "not compacted"
    for kind in plain append; do judge oddities "$broker" "diff-$kind" "$seed" "$codecs" || fail "produce"; done
    for kind in plain append compact; do
        differ "$kind" native
        differ "$kind" librdkafka
    done
    for kind in plain append; do judge oddities "$broker" "diff-$kind" $((seed + 1)) "$codecs" || fail "produce"; done
    judge oddities "$broker" diff-zstd "$seed" zstd || fail "produce"
    differ zstd native
    judge oddities "$broker" diff-zstd $((seed + 1)) zstd,none || fail "produce"
    for topic in "${differing[@]}"; do
        kind=${topic#diff-} kind=${kind%-*} fidelity=full
        [ "${topic##*-}" = librdkafka ] && fidelity=librdkafka
        judge check "$broker" "diff-$kind" "$topic-even" "$topic-odd" error "$topic" once "$fidelity" || fail "judged"
    done
    for kind in plain append compact; do
        for topic in even odd; do
            judge same "$broker" "diff-$kind-native-$topic" "diff-$kind-librdkafka-$topic" || fail "the clients differ"
        done
        judge same "$broker" "error.diff-$kind.diff-$kind-native" "error.diff-$kind.diff-$kind-librdkafka" || fail "the clients differ"
    done
    routers_stop "${routers[@]}"
}

# Starts a router of a client on the topic of a kind.
differ() {
    router "$default_bin" "diff-$1-$2" "--parity-router.client=$2" "--spring.cloud.stream.bindings.input.destination=diff-$1"
    routers+=("$router_pid:$router_log")
    differing+=("diff-$1-$2")
}

# What is sent is compressed as it was asked for.
codecs() {
    local codec lane name all=(none gzip snappy lz4 zstd) routers=() producer=producer.compressionType
    # The build's librdkafka has no zstd.
    [ "$client" = librdkafka ] && all=(none gzip snappy lz4)
    judge topic "$broker" codecs-in 1
    produce codecs-in 0 20000 0
    for codec in "${all[@]}"; do
        router "$default_bin" "codecs-$codec" --spring.cloud.stream.bindings.input.destination=codecs-in \
            "--spring.cloud.stream.kafka.bindings.even.$producer=$codec" "--spring.cloud.stream.kafka.bindings.odd.$producer=$codec"
        routers+=("$router_pid:$router_log")
    done
    produce codecs-in 20000 20000 0
    for codec in "${all[@]}"; do
        name=codecs-$codec
        judge check "$broker" codecs-in "$name-even" "$name-odd" error "$name" once full || fail "judged"
        for lane in even odd; do judge codec "$data/logs/$name-$lane-0" "$codec" || fail "not the codec $codec"; done
    done
    routers_stop "${routers[@]}"
}

# Outputs of six partitions: keys are where Java's producer puts them, so that both sides of a mixed system agree; the others are spread.
keyed() {
    judge topic "$broker" keyed-in 1
    for topic in even odd; do judge topic "$broker" "keyed-$topic" 6; done
    produce keyed-in 0 100000 0
    router "$default_bin" keyed
    judge random "$broker" keyed-in "${SEED:-$(date +%s)}" 10000 || fail "produce"
    produce keyed-in 100000 200000 100000
    check keyed once
    for topic in even odd; do judge keyed "$broker" "keyed-$topic" || fail "judged"; done
    router_stop
}

# The message formats before 0.11, v0 and v1, plain and compressed: routed, or refused with a sentence that names the topic.
old_format() {
    local format name
    for format in 0.9.0 0.10.2; do
        name=old-$format
        judge topic "$broker" "$name-in" 1 "message.format.version=$format"
        judge plain "$broker" "$name-in" none,gzip,snappy,lz4 || fail "produce"
        router "$default_bin" "$name"
        done_with() { [ "$(judge count "$broker" "$name-even,$name-odd")" -ge 4000 ] || grep -Eq "$name-in.*format" "$router_log"; }
        until_true 60 done_with || fail "neither routed nor refused"
        if grep -Eq "$name-in.*format" "$router_log"; then
            grep -E "$name-in.*format" "$router_log" | head -1
            kill -9 "$router_pid" 2>/dev/null || true
            forget "$router_pid"
        else
            check "$name" once
            router_stop
        fi
    done
}
