//! `make bench-kafka`.

fn main() -> anyhow::Result<()> {
    lockgate_tests::bench_kafka::run(&std::env::args().skip(1).collect::<Vec<_>>())
}
