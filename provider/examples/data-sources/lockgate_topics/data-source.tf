data "lockgate_topics" "billing" {
  name_prefix = "billing-"
  internal    = false
}

output "billing_topics" {
  description = "Names of the topics of one team."
  value       = data.lockgate_topics.billing.names
}
