# Removal in two steps

# A topic is protected, so that nothing deletes its records by mistake. To delete it, first apply this, and then apply once
# more without the resource, or run terraform destroy.
resource "lockgate_topic" "orders" {
  name                = "orders"
  partitions          = 3
  deletion_protection = false
}
