data "lockgate_acls" "billing" {
  principal = "User:billing"
}

output "billing_may" {
  description = "What one user may do, and may not."
  value       = [for acl in data.lockgate_acls.billing.acls : "${acl.permission} ${acl.operation} ${acl.resource_type} ${acl.resource_name}"]
}
