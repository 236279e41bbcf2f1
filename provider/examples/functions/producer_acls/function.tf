resource "lockgate_acl" "billing_writes_bills" {
  for_each = provider::lockgate::producer_acls("User:billing", "bills")

  principal     = each.value.principal
  resource_type = each.value.resource_type
  resource_name = each.value.resource_name
  operations    = each.value.operations
}
