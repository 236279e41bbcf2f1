data "lockgate_topic" "orders" {
  name = "orders"
}

output "retention_ms" {
  description = "How long records stay, whether the topic or the broker's default says so."
  value       = data.lockgate_topic.orders.effective_config["retention.ms"]
}
