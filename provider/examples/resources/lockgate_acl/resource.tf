resource "lockgate_acl" "billing_reads_orders" {
  principal     = "User:billing"
  resource_type = "Topic"
  resource_name = "orders"
  operations    = ["Describe", "Read"]
}
