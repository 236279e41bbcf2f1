//! The plugin host's own services: streams that stay open and empty, a health check, and the call to end.

use std::pin::Pin;

use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::proto::health::health_server::Health;
use super::proto::health::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus};
use super::proto::plugin::grpc_broker_server::GrpcBroker;
use super::proto::plugin::grpc_controller_server::GrpcController;
use super::proto::plugin::grpc_stdio_server::GrpcStdio;
use super::proto::plugin::{ConnInfo, Empty, StdioData};

/// All of them. `stop` ends the open streams, and is what the host's shutdown call triggers.
#[derive(Clone)]
pub(super) struct PluginServices {
    pub(super) stop: CancellationToken,
}

impl PluginServices {
    /// A stream without items, which ends when the plugin does: the host takes an early end for a fault.
    fn silence<T: Send + 'static>(&self) -> Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>> {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sender.closed() => {}
            }
        });
        Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))
    }
}

#[async_trait]
impl GrpcStdio for PluginServices {
    type StreamStdioStream = Pin<Box<dyn Stream<Item = Result<StdioData, Status>> + Send>>;

    /// Nothing is printed to stdout after the handshake, and the host reads stderr itself.
    async fn stream_stdio(&self, _: Request<Empty>) -> Result<Response<Self::StreamStdioStream>, Status> {
        Ok(Response::new(self.silence()))
    }
}

#[async_trait]
impl GrpcBroker for PluginServices {
    type StartStreamStream = Pin<Box<dyn Stream<Item = Result<ConnInfo, Status>> + Send>>;

    /// Side channels are never offered, and what the host says about them is not read.
    async fn start_stream(&self, _: Request<Streaming<ConnInfo>>) -> Result<Response<Self::StartStreamStream>, Status> {
        Ok(Response::new(self.silence()))
    }
}

#[async_trait]
impl GrpcController for PluginServices {
    async fn shutdown(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        self.stop.cancel();
        Ok(Response::new(Empty {}))
    }
}

#[async_trait]
impl Health for PluginServices {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        match request.into_inner().service.as_str() {
            "" | "plugin" => Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() })),
            other => Err(Status::not_found(format!("no service is called {other:?}"))),
        }
    }
}
