# Scenarios of records: what topics may hold that is rare, and in which form the outputs are written. Sourced by `run`, as `basic.sh` is.

# Two routers, one of each client, on the same topics full of oddities (`Oddities.java`), before and while they are written. What each of
# them makes of it is what Java's consumer says, and the two are equal record by record, in order, dead letters included. Two things are
# not: a timestamp of 0 is none for librdkafka and becomes the current time, which `same` and `check` let pass; and the build's librdkafka
# reads no zstd, which therefore has topics of its own and only the other client.
differential() {
    local seed=${SEED:-$(date +%s)} codecs=none,gzip,snappy,lz4 large=max.message.bytes=12000000 kind topic routers=() differing=()
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
    if [ "$native" != librdkafka ]; then
        judge oddities "$broker" diff-zstd "$seed" zstd || fail "produce"
        differ zstd native
        judge oddities "$broker" diff-zstd $((seed + 1)) zstd,none || fail "produce"
    fi
    for topic in "${differing[@]}"; do
        kind=${topic#diff-} kind=${kind%-*}
        judge check "$broker" "diff-$kind" "$topic-even" "$topic-odd" error "$topic" once "$(fidelity_of "${topic##*-}")" || fail "judged"
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
    router "$default_bin" "diff-$1-$2" "--parity-router.client=$(client_of "$2")" "--spring.cloud.stream.bindings.input.destination=diff-$1"
    routers+=("$router_pid:$router_log")
    differing+=("diff-$1-$2")
}

client_of() { if [ "$1" = native ]; then echo "$native"; else echo "$1"; fi; }
fidelity_of() { if [ "$(client_of "$1")" = librdkafka ]; then echo librdkafka; else echo full; fi; }
