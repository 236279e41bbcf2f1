//! Generates the wire types and services of the plugin protocol, without needing `protoc` on the machine.

use std::error::Error;

const PROTOS: [&str; 3] = ["proto/tfplugin6.proto", "proto/go_plugin.proto", "proto/health.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["."])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
