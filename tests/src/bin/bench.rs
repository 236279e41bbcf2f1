//! `bench [MIB]` prints all tables; `bench throughput [MIB]`, `bench lone`, `bench transactions [TRANSACTIONS]`, `bench
//! groups [MEMBERS]` and `bench partitions [PARTITIONS]` print one.

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    lockgate_tests::bench::run(&args)
}
