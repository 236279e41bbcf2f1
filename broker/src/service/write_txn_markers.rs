//! WriteTxnMarkers: ends a producer's transaction in partitions. On one broker it comes from administrators who end a
//! hanging transaction.

use futures_util::future::join_all;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};

use super::transactions::LocalMarkers;
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::log::EndMarker;

impl Service for WriteTxnMarkersRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> WriteTxnMarkersResponse {
        let (request, (), _) = request.into_parts();
        let markers = LocalMarkers {
            catalog: services.catalog.clone(),
            logs: services.logs.clone(),
            groups: services.groups.clone(),
        };
        let mut results = Vec::with_capacity(request.markers.len());
        for marker in &request.markers {
            let topics = join_all(marker.topics.iter().map(|topic| write(&markers, marker, topic))).await;
            results.push(WritableTxnMarkerResult::default().with_producer_id(marker.producer_id).with_topics(topics));
        }
        WriteTxnMarkersResponse::default().with_markers(results)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> WriteTxnMarkersResponse {
        let topic = |topic: &WritableTxnMarkerTopic| {
            let partitions = topic.partition_indexes.iter().map(|index| result(*index, refusal.0.code()));
            WritableTxnMarkerTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        };
        let marker = |marker: &WritableTxnMarker| {
            let topics = marker.topics.iter().map(topic).collect();
            WritableTxnMarkerResult::default().with_producer_id(marker.producer_id).with_topics(topics)
        };
        WriteTxnMarkersResponse::default().with_markers(request.markers.iter().map(marker).collect())
    }
}

async fn write(
    markers: &LocalMarkers,
    marker: &WritableTxnMarker,
    topic: &WritableTxnMarkerTopic,
) -> WritableTxnMarkerTopicResult {
    let end = EndMarker {
        producer_id: marker.producer_id.0,
        producer_epoch: marker.producer_epoch,
        coordinator_epoch: marker.coordinator_epoch,
        commit: marker.transaction_result,
    };
    let written = topic.partition_indexes.iter().map(|&index| async move {
        let written = markers.try_write(&topic.name, index, end).await;
        result(index, written.err().map_or(0, |error| error.code().code()))
    });
    let partitions = join_all(written).await;
    WritableTxnMarkerTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions)
}

fn result(index: i32, code: i16) -> WritableTxnMarkerPartitionResult {
    WritableTxnMarkerPartitionResult::default().with_partition_index(index).with_error_code(code)
}
