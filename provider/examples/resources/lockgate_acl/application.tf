# All that an application needs

locals {
  application = "User:billing"

  # Who consumes also needs its group, and who writes in transactions also its transactional ids.
  grants = {
    reads_orders   = { type = "Topic", name = "orders", pattern = "Literal", operations = ["Describe", "Read"] }
    writes_bills   = { type = "Topic", name = "bills", pattern = "Literal", operations = ["Describe", "Write"] }
    joins_groups   = { type = "Group", name = "billing-", pattern = "Prefixed", operations = ["Describe", "Read"] }
    runs_exactonce = { type = "TransactionalId", name = "billing-", pattern = "Prefixed", operations = ["Describe", "Write"] }
  }
}

resource "lockgate_acl" "billing" {
  for_each = local.grants

  principal     = local.application
  resource_type = each.value.type
  resource_name = each.value.name
  pattern_type  = each.value.pattern
  operations    = each.value.operations
}
