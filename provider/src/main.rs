//! `terraform-provider-lockgate`: started by Terraform, which it serves until Terraform is done.

use std::process::ExitCode;

use terraform_provider_lockgate::provider::LockgateProvider;
use terraform_provider_lockgate::tfplugin::serve;

#[tokio::main]
async fn main() -> ExitCode {
    match serve(LockgateProvider::default()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
