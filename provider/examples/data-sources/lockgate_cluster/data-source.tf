data "lockgate_cluster" "this" {}

output "bootstrap_servers" {
  description = "Addresses for Kafka clients."
  value       = join(",", data.lockgate_cluster.this.bootstrap_servers)
}
