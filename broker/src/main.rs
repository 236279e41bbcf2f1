<<<<<<< HEAD
use clap::Parser;
#[derive(Parser)]
enum Cli {
    Serve(lockgate::cli::serve::ServeArgs),
}
fn main() -> std::process::ExitCode {
    let Cli::Serve(args) = Cli::parse();
    lockgate::cli::serve::run(args)
=======
fn main() -> std::process::ExitCode {
    lockgate::cli::run()
>>>>>>> client
}
