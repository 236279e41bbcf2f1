//! Transactions: their producers, and operators who look at them or end them.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    EndTxnRequest, ListTransactionsRequest, TransactionalId, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
};

use crate::auth::{Access, Guarded, Refusal};
use crate::catalog::acl::{CLUSTER_NAME, Operation, ResourceType};

fn may_write(access: &Access, id: &str) -> Result<(), Refusal> {
    match access.allows(Operation::Write, ResourceType::TransactionalId, id) {
        true => Ok(()),
        false => Err(Refusal(ResponseError::TransactionalIdAuthorizationFailed)),
    }
}

fn may_read_group(access: &Access, group: &str) -> Result<(), Refusal> {
    match access.allows(Operation::Read, ResourceType::Group, group) {
        true => Ok(()),
        false => Err(Refusal(ResponseError::GroupAuthorizationFailed)),
    }
}

fn on_cluster(access: &Access, operation: Operation) -> bool {
    access.allows(operation, ResourceType::Cluster, CLUSTER_NAME)
}

impl Guarded for AddPartitionsToTxnRequest {
    type Denied = ();

    /// The batched form (version 4 on) is for brokers. Topics are judged by the service, because one that is refused
    /// keeps the others from being attempted.
    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        if self.transactions.is_empty() {
            return may_write(access, &self.v3_and_below_transactional_id);
        }
        match on_cluster(access, Operation::ClusterAction) {
            true => Ok(()),
            false => Err(Refusal(ResponseError::ClusterAuthorizationFailed)),
        }
    }
}

impl Guarded for AddOffsetsToTxnRequest {
    type Denied = ();

    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        may_write(access, &self.transactional_id)?;
        may_read_group(access, &self.group_id)
    }
}

impl Guarded for EndTxnRequest {
    type Denied = ();

    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        may_write(access, &self.transactional_id)
    }
}

impl Guarded for TxnOffsetCommitRequest {
    type Denied = Vec<TxnOffsetCommitRequestTopic>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        may_write(access, &self.transactional_id)?;
        may_read_group(access, &self.group_id)?;
        let denied =
            |topic: &mut TxnOffsetCommitRequestTopic| !access.allows(Operation::Read, ResourceType::Topic, &topic.name);
        Ok(self.topics.extract_if(.., denied).collect())
    }
}

impl Guarded for WriteTxnMarkersRequest {
    type Denied = ();

    /// Brokers, and administrators who end a hanging transaction (KIP-664).
    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        match on_cluster(access, Operation::ClusterAction) || on_cluster(access, Operation::Alter) {
            true => Ok(()),
            false => Err(Refusal(ResponseError::ClusterAuthorizationFailed)),
        }
    }
}

impl Guarded for DescribeProducersRequest {
    type Denied = Vec<TopicRequest>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        let denied = |topic: &mut TopicRequest| !access.allows(Operation::Read, ResourceType::Topic, &topic.name);
        Ok(self.topics.extract_if(.., denied).collect())
    }
}

impl Guarded for DescribeTransactionsRequest {
    type Denied = Vec<TransactionalId>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        let denied = |id: &mut TransactionalId| !access.allows(Operation::Describe, ResourceType::TransactionalId, id);
        Ok(self.transactional_ids.extract_if(.., denied).collect())
    }
}

impl Guarded for ListTransactionsRequest {
    type Denied = ();

    /// The list leaves out what may not be described.
    fn guard(&mut self, _: &Access) -> Result<(), Refusal> {
        Ok(())
    }
}
