resource "lockgate_acl" "billing_reads_orders" {
  for_each = provider::lockgate::consumer_acls("User:billing", "orders", "billing")

  principal     = each.value.principal
  resource_type = each.value.resource_type
  resource_name = each.value.resource_name
  operations    = each.value.operations
}
