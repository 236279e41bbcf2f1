data "lockgate_quotas" "billing" {
  user = "billing"
}

output "billing_quotas" {
  description = "The quotas of one user, alone and together with client ids."
  value       = data.lockgate_quotas.billing.quotas
}
