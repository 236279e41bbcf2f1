data "lockgate_cluster" "this" {}

output "cluster_id" {
  description = "Id of the cluster."
  value       = data.lockgate_cluster.this.id
}

output "bootstrap_servers" {
  description = "Addresses for Kafka clients."
  value       = join(",", data.lockgate_cluster.this.bootstrap_servers)
}

output "topic" {
  description = "The topic that the producer writes and the consumer reads."
  value       = lockgate_topic.orders.name
}

output "producer" {
  description = "Name of the user who writes."
  value       = lockgate_user.producer.username
}

output "consumer" {
  description = "Name of the user who reads."
  value       = lockgate_user.consumer.username
}
