data "lockgate_consumer_group" "billing" {
  group_id = "billing"
}

output "lag" {
  description = "Records that the group has yet to read."
  value       = sum([for offset in data.lockgate_consumer_group.billing.offsets : offset.lag])
}
